//! The part of a row that says what is no event, and what to answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::SettingName;
use super::text::{one_or_many, post};

/// A condition on a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// A source.
    pub from: String,
    /// What it must be: a template. `None`: it must be there. Empty after settings: the condition is dropped.
    #[serde(default)]
    pub equals: Option<String>,
    /// What it must look like.
    #[serde(default)]
    pub like: Option<Like>,
    /// Turned round: nothing may be there.
    #[serde(default)]
    pub absent: bool,
}

/// What a value looks like. Answers that are made with the key are given for such values only as can't be an
/// event's message too: else whoever asks for them could sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Like {
    /// At most 256 letters, digits, `-` and `_`.
    Token,
    /// It starts as a JSON object or array does, so it is no token.
    Json,
}

/// A request that is no event and wants an answer of its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// As logs call it.
    pub name: String,
    /// Its methods.
    #[serde(default = "post")]
    pub methods: Vec<String>,
    /// A setting without which there is no such handshake.
    #[serde(default)]
    pub needs: Option<SettingName>,
    /// Whether it is signed like an event; then it is answered after verification only.
    #[serde(default)]
    pub signed: bool,
    /// What makes a request this handshake: all of it must hold.
    #[serde(default, rename = "match")]
    pub matches: Vec<Condition>,
    /// What a request that is this handshake must prove: else it is refused.
    #[serde(default)]
    pub require: Vec<Condition>,
    /// The status of that refusal, where the provider wants another than the reason's.
    #[serde(default)]
    pub refusal_status: Option<u16>,
    /// The source of a secret that the sender hands over and that becomes the key.
    #[serde(default)]
    pub capture: Option<String>,
    /// What is called, after the answer and outside of it, to confirm.
    #[serde(default)]
    pub visit: Option<Visit>,
    /// The answer.
    #[serde(default)]
    pub respond: Respond,
}

/// An address that the sender wants called: once, with GET.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// The source of the address.
    pub from: String,
    /// Hosts that may be called; `*` stands for one label, `$region` for a region of AWS.
    #[serde(deserialize_with = "one_or_many")]
    pub hosts: Vec<String>,
}

/// The answer to a handshake; body and header values are templates.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Respond {
    /// The status.
    pub status: u16,
    /// The content type; empty for none.
    pub content_type: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, content_type: String::new(), headers: BTreeMap::new(), body: String::new() }
    }
}
