//! A catalogue row: everything the daemon knows of a provider, as data.
//!
//! The rows of the catalogue and a user's own `[[providers]]` have this one schema. Two little languages
//! stand in its strings, both defined in [`crate::verify`]: *sources* say where a value is
//! (`header:X-Signature`), *templates* how bytes are put together (`{timestamp}.{body}`). A plain field
//! may hold `{set:NAME}`, which is replaced by the receiver's setting of that name; a field that is empty
//! after that is taken as absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::handshake::Handshake;
use super::scheme::Scheme;
use super::text::{one_or_many, post};
use super::vector::Vector;

/// The name of a setting, as in `--receiver-set NAME.KEY=…`.
pub type SettingName = String;

/// One provider.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Lower case; the file is called so.
    pub name: String,
    /// Other names that find it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// As people write it.
    pub title: String,
    /// The provider's page on its webhooks.
    #[serde(default)]
    pub docs: String,
    /// How sure the facts are.
    #[serde(default)]
    pub evidence: Evidence,
    /// Whether a captured request can be sent again.
    pub replay: Replay,
    /// How much of the body the verification covers.
    #[serde(default)]
    pub signs: Signs,
    /// What events come with. Handshakes bring methods of their own.
    #[serde(default = "post")]
    pub methods: Vec<String>,
    /// What events are sent as, the usual one first.
    #[serde(default)]
    pub content_types: Vec<String>,
    /// What to give as the secret; empty when none is needed.
    #[serde(default)]
    pub secret: String,
    /// Sources of the delivery's id: the first that yields one counts.
    #[serde(default, deserialize_with = "one_or_many")]
    pub delivery_id: Vec<String>,
    /// Sources of the events' names: the first that yields any counts.
    #[serde(default, deserialize_with = "one_or_many")]
    pub actions: Vec<String>,
    /// Sources whose values are credentials, besides those that a scheme reads.
    #[serde(default)]
    pub mask: Vec<String>,
    /// The largest body that the provider sends, in bytes; `None` leaves the daemon's own bound.
    #[serde(default)]
    pub body_max_bytes: Option<u64>,
    /// How to set it up: where to click, which secret, what to mind.
    #[serde(default)]
    pub guide: String,
    /// What surprises.
    #[serde(default)]
    pub quirks: Vec<String>,
    /// The sender's patience.
    #[serde(default)]
    pub sender: Sender,
    /// What a receiver may or must set besides its secret.
    #[serde(default)]
    pub settings: BTreeMap<SettingName, Setting>,
    /// What an accepted event is answered with.
    #[serde(default)]
    pub acknowledgement: Acknowledgement,
    /// The body of refusals and failures, where the provider reads another than a problem in JSON.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The status of a refusal for want of authenticity, where the provider wants another than the reason's.
    #[serde(default)]
    pub refusal_status: Option<u16>,
    /// Ways to verify; any of them suffices.
    pub schemes: Vec<Scheme>,
    /// Requests that are no events and want an answer of their own.
    #[serde(default)]
    pub handshakes: Vec<Handshake>,
    /// Requests and what must become of them. Those of the catalogue stay out of the binary.
    #[serde(default, skip_serializing)]
    pub vectors: Vec<Vector>,
}

impl Row {
    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }

    /// Whether it has that name or alias; case doesn't matter.
    pub fn answers_to(&self, name: &str) -> bool {
        self.names().any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl Row {
    /// Whether a sender hands its secret over.
    pub fn captures(&self) -> bool {
        self.handshakes.iter().any(|handshake| handshake.capture.is_some())
    }
}

/// How sure a row's facts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// A vector out of the provider's own library or documentation passes.
    Proven,
    /// The provider's library or documentation was read.
    Documented,
    /// Second-hand, or a user's own row.
    #[default]
    Unconfirmed,
}

impl Evidence {
    /// As it is written in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Documented => "documented",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// Whether a captured request can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// A timestamp is signed and aged, or a delivery id is signed.
    Protected,
    /// It can.
    Unprotected,
}

impl Replay {
    /// As it is written in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Unprotected => "unprotected",
        }
    }
}

/// How much of the body the verification covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signs {
    /// Every byte of it.
    Body,
    /// Some fields, or the decoded fields instead of the bytes.
    Part,
    /// Nothing of it: who knows one valid request can send any body.
    #[default]
    Nothing,
}

/// The sender's patience.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// How long it waits for an answer, in the provider's words; empty when unknown.
    #[serde(default)]
    pub timeout: String,
    /// How it tries again; empty when unknown.
    #[serde(default)]
    pub retries: String,
}

/// A declared setting.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// What it is.
    pub doc: String,
    /// Its value when the receiver sets none.
    #[serde(default)]
    pub default: String,
    /// Whether a receiver can't do without.
    #[serde(default)]
    pub required: bool,
}

/// The answer to an accepted event.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledgement {
    /// The status.
    pub status: u16,
    /// The content type; empty for none.
    pub content_type: String,
    /// Headers; their values are templates, and one without a value is left out.
    pub headers: BTreeMap<String, String>,
    /// The body, verbatim.
    pub body: String,
}

impl Default for Acknowledgement {
    fn default() -> Self {
        Self { status: 200, content_type: String::new(), headers: BTreeMap::new(), body: String::new() }
    }
}

/// The body of refusals and failures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The content type.
    pub content_type: String,
    /// The body; `{title}` in it is what the sender may know of the reason.
    pub body: String,
}
