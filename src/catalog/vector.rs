//! Vectors: requests that come with a row, and what must become of them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A signed request and what becomes of it. Its secret is made up or published, never one in use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What it shows.
    pub name: String,
    /// `published` and `sdk` prove the row; `computed` ones test the code only.
    #[serde(default = "computed")]
    pub origin: String,
    /// Where it is from.
    #[serde(default)]
    pub source: String,
    /// Set where the refusal follows from a policy of ours.
    #[serde(default)]
    pub policy: Option<String>,
    /// The receiver's secret; empty for none.
    #[serde(default)]
    pub secret: String,
    /// The receiver's settings.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// The schemes that the receiver names.
    #[serde(default)]
    pub schemes: Option<Vec<String>>,
    /// Documents that schemes fetch, by their addresses.
    #[serde(default)]
    pub fetched: BTreeMap<String, String>,
    /// The whole URL at the sender, where that isn't `url`.
    #[serde(default)]
    pub public_url: Option<String>,
    /// When it arrives, in Unix seconds.
    pub now: i64,
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// The URL that it is sent to.
    pub url: String,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// `event`, `answer`, or the reason of a refusal.
    pub expect: String,
    /// The event's names.
    #[serde(default)]
    pub actions: Option<Vec<String>>,
    /// The delivery's id.
    #[serde(default)]
    pub delivery_id: Option<String>,
    /// The status of the answer, to an event too, or of the refusal.
    #[serde(default)]
    pub reply_status: Option<u16>,
    /// Headers of the answer, the content type among them.
    #[serde(default)]
    pub reply_headers: BTreeMap<String, String>,
    /// The body of the answer.
    #[serde(default)]
    pub reply_body: Option<String>,
    /// Several signatures are there, or their header holds more than them: changing that leaves the signature.
    #[serde(default)]
    pub several: bool,
}

fn post() -> String {
    "POST".to_owned()
}

fn computed() -> String {
    "computed".to_owned()
}
