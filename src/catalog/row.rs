//! A catalogue row: everything the daemon knows of a provider, as data.
//!
//! The rows of the catalogue and a user's own `[[providers]]` have this one schema. Two little languages
//! stand in its strings, both defined in [`crate::verify`]: *sources* say where a value is
//! (`header:X-Signature`), *templates* how bytes are put together (`{timestamp}.{body}`). A plain field
//! may hold `{set:NAME}`, which is replaced by the receiver's setting of that name; a field that is empty
//! after that is taken as absent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

/// The name of a setting, as in `--receiver-set NAME.KEY=…`.
pub type SettingName = String;

/// One provider.
#[derive(Clone, Debug, Deserialize)]
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
    /// The status of a refusal for want of authenticity, where the provider wants another than the reason's.
    #[serde(default)]
    pub refusal_status: Option<u16>,
    /// Ways to verify; any of them suffices.
    pub schemes: Vec<Scheme>,
    /// Requests that are no events and want an answer of their own.
    #[serde(default)]
    pub handshakes: Vec<Handshake>,
}

/// How sure a row's facts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Debug, Default, Deserialize)]
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
#[derive(Clone, Debug, Deserialize)]
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
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acknowledgement {
    /// The status.
    pub status: u16,
    /// The content type; empty for none.
    pub content_type: String,
    /// The body, verbatim.
    pub body: String,
}

impl Default for Acknowledgement {
    fn default() -> Self {
        Self { status: 200, content_type: String::new(), body: String::new() }
    }
}

/// One way to verify.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// As receivers and logs call it; unique within the row.
    pub name: String,
    /// Its kind.
    pub verify: VerifyBy,
    /// Only used when the receiver asks for it by `schemes`: outdated and unverified ones.
    #[serde(default)]
    pub on_request: bool,
    /// Rules of old that even an authentic event must keep.
    #[serde(default)]
    pub strict: Vec<Strict>,
    /// `mac`: `hmac-sha1`, `hmac-sha256`, `hmac-sha384`, `hmac-sha512`. `hash`: `sha1`, `sha256`, `sha512`.
    /// `public-key`: `ed25519`, `ecdsa-p256-sha256`, `rsa-sha1`, `rsa-sha256`, `rsa-sha512`.
    #[serde(default)]
    pub algorithm: String,
    /// Where the signature is and what it looks like.
    #[serde(default)]
    pub signature: Signature,
    /// What is signed: a template, or several of which any may match.
    #[serde(default, deserialize_with = "one_or_many")]
    pub message: Vec<String>,
    /// How the key is made of the secret.
    #[serde(default)]
    pub key: KeyRule,
    /// The signed time.
    #[serde(default)]
    pub timestamp: Option<TimestampRule>,
    /// What must hold for the scheme to apply at all.
    #[serde(default)]
    pub require: Vec<Condition>,
    /// `token`, `basic` and `jwt`: where the credential is; the first source that yields one counts.
    #[serde(default, deserialize_with = "one_or_many")]
    pub from: Vec<String>,
    /// `token` and `jwt`: what stands before the credential, such as `Bearer `; case doesn't matter.
    #[serde(default)]
    pub prefix: String,
    /// `jwt`: which of `HS256`, `HS384`, `HS512`, `RS256`, `RS384`, `RS512`, `ES256` are accepted.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// `jwt`: claims and what they must be.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// `jwt`: the oldest acceptable `iat`; empty for none.
    #[serde(default)]
    pub max_age: String,
}

/// The kinds of schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyBy {
    /// A message authentication code.
    Mac,
    /// A plain hash with the secret inside the message.
    Hash,
    /// A signature under a public key.
    PublicKey,
    /// A JSON Web Token.
    Jwt,
    /// A secret sent as it is.
    Token,
    /// HTTP Basic: the secret is `user:password`.
    Basic,
    /// No verification.
    None,
}

impl VerifyBy {
    /// Whether it can cover the body at all: what is sent as it is can't.
    pub fn covers_body(self) -> bool {
        !matches!(self, Self::Token | Self::Basic | Self::None)
    }

    /// As it is written in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Hash => "hash",
            Self::PublicKey => "public-key",
            Self::Jwt => "jwt",
            Self::Token => "token",
            Self::Basic => "basic",
            Self::None => "none",
        }
    }
}

/// A rule of old: what an authentic event is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strict {
    /// No event name.
    Event,
    /// None of the row's content types; of JSON and XML the `+json` and `text/` kin count too.
    ContentType,
}

/// Where a signature is and what it looks like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signature {
    /// Its sources; the values of all of them are candidates.
    #[serde(deserialize_with = "one_or_many")]
    pub from: Vec<String>,
    /// `hex`, `base64`, `base64-unpadded`, `base64url`, `base64url-unpadded`; a `base64` one must be padded.
    pub encoding: String,
    /// How candidates are found in the value.
    pub grammar: Grammar,
    /// `raw`: what stands before the signature.
    pub prefix: String,
    /// `raw`: whether it may be left out.
    pub prefix_optional: bool,
    /// `pairs`, `list`, `timestamp-first`: characters of which any separates items.
    pub separator: String,
    /// `pairs`: what stands between key and value.
    pub assign: String,
    /// `pairs`: the keys whose values are candidates; none given: all.
    pub keys: Vec<String>,
    /// `list`: what a candidate starts with; other items are passed over.
    pub item_prefix: String,
}

/// How candidates are found in a signature's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grammar {
    /// The value is one signature.
    #[default]
    Raw,
    /// `t=1,v1=aa,v1=bb`.
    Pairs,
    /// `v1,aa v1,bb`.
    List,
    /// `1,aa,bb`: the first item is the timestamp.
    TimestampFirst,
}

/// How a key is made of a secret: strip, decode, hash, add.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRule {
    /// Prefixes of which the first that fits is taken off; a secret without one is taken whole.
    #[serde(deserialize_with = "one_or_many")]
    pub strip_prefix: Vec<String>,
    /// `utf8` (the default: the bytes as given), `base64`, `base64url`, `hex`.
    pub decode: String,
    /// `sha1` or `sha256`: the key is the raw digest of the decoded secret.
    pub hash: String,
    /// What is added at the end.
    pub suffix: String,
}

/// The signed time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampRule {
    /// A source, or `signature:KEY` for a pair of the signature's own value, or `signature:` for the first
    /// item of a `timestamp-first` one. Empty: no timestamp.
    pub from: String,
    /// `s`, `ms`, `iso8601`, `rfc1123`.
    pub unit: String,
    /// How far off it may be; the daemon's five minutes when the row says nothing.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// Whether its absence is none of our business: then it is neither aged nor replaced.
    #[serde(default)]
    pub optional: bool,
}

/// How far off a timestamp may be, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// That long, the boundary included.
    Within(Duration),
    /// The provider's own timestamps can't be aged.
    Unbounded,
}

impl Tolerance {
    /// What most providers' libraries have.
    pub const DEFAULT: Self = Self::Within(Duration::from_secs(300));
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl<'de> Deserialize<'de> for Tolerance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "none" {
            return Ok(Self::Unbounded);
        }
        duration(&text)
            .map(Self::Within)
            .ok_or_else(|| de::Error::custom("expected \"5m\", \"30s\" or \"none\""))
    }
}

/// A claim of a JSON Web Token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What it must be: a template. `None`: it must be there. Empty after settings: the claim is dropped.
    #[serde(default)]
    pub equals: Option<String>,
    /// Whether it is required with a body, and refused without one.
    #[serde(default)]
    pub with_body: bool,
}

/// A condition on a request.
#[derive(Clone, Debug, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Like {
    /// At most 256 letters, digits, `-` and `_`.
    Token,
    /// It starts as a JSON object or array does, so it is no token.
    Json,
}

/// A request that is no event and wants an answer of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// As logs call it.
    pub name: String,
    /// Its methods.
    #[serde(default = "post")]
    pub methods: Vec<String>,
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
    /// The answer.
    #[serde(default)]
    pub respond: Respond,
}

/// The answer to a handshake; body and header values are templates.
#[derive(Clone, Debug, Deserialize)]
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

/// A duration as rows write it: `250ms`, `30s`, `5m`, `2h`, `3d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    let milliseconds_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(milliseconds_each)?))
}

fn post() -> Vec<String> {
    vec!["POST".to_owned()]
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
