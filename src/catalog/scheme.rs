//! The part of a row that says how to verify.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::handshake::Condition;
use super::row::SettingName;
use super::text::{duration, one_or_many};

/// One way to verify.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// As receivers and logs call it; unique within the row.
    pub name: String,
    /// Its kind.
    pub verify: VerifyBy,
    /// A setting without which there is no such scheme.
    #[serde(default)]
    pub needs: Option<SettingName>,
    /// A setting with which there is none.
    #[serde(default)]
    pub unless: Option<SettingName>,
    /// `named`: which of the schemes that are code, such as `paddle-classic`.
    #[serde(default)]
    pub scheme: String,
    /// Only used when the receiver asks for it by `schemes`: outdated and unverified ones.
    #[serde(default)]
    pub on_request: bool,
    /// It accepts signed handshakes only: what it verifies isn't an event.
    #[serde(default)]
    pub handshakes_only: bool,
    /// A JSON pointer such as `/items/*`: the scheme is applied to each of these values as if it were the body,
    /// and each must pass.
    #[serde(default)]
    pub each: String,
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
    /// What is signed: a template, or several of which any may match. One that is a setting and nothing else
    /// has the setting's value for its text.
    #[serde(default, deserialize_with = "one_or_many")]
    pub message: Vec<String>,
    /// How the key is made of the secret.
    #[serde(default)]
    pub key: KeyRule,
    /// How what is inside is decrypted, once the signature over the encrypted text is right.
    #[serde(default)]
    pub decrypt: Option<Decrypt>,
    /// Where the provider publishes its keys; used while the receiver has no secret, which is then the key.
    #[serde(default)]
    pub keys: Option<KeysFrom>,
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
    /// `token` and `jwt`: whether the prefix may be left out.
    #[serde(default)]
    pub prefix_optional: bool,
    /// `token`: how many of the first bytes are the credential, of it and of the secret: what follows is a checksum
    /// that may be left out. 0: all.
    #[serde(default)]
    pub significant: usize,
    /// `jwt`: which of `HS256`, `HS384`, `HS512`, `RS256`, `RS384`, `RS512`, `ES256` are accepted.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// `jwt`: claims and what they must be; parameters of the signature in `http-message-signatures`.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// `jwt`: the oldest acceptable `iat`; empty for none.
    #[serde(default)]
    pub max_age: String,
}

/// The kinds of schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
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
    /// Code of its own, since data can't say it.
    Named,
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
            Self::Named => "named",
            Self::None => "none",
        }
    }
}

/// A rule of old: what an authentic event is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strict {
    /// No event name.
    Event,
    /// None of the row's content types; of JSON and XML the `+json` and `text/` kin count too.
    ContentType,
}

/// Where a signature is and what it looks like.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
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
    /// `pairs`: whether values stand in double quotes.
    pub quoted: bool,
    /// `list`: what a candidate starts with; other items are passed over.
    pub item_prefix: String,
}

/// How candidates are found in a signature's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRule {
    /// Prefixes of which the first that fits is taken off; a secret without one is taken whole.
    #[serde(deserialize_with = "one_or_many")]
    pub strip_prefix: Vec<String>,
    /// `utf8` (the default: the bytes as given), `nfkd` (text in that normal form), `base64`, `base64url`, `hex`.
    pub decode: String,
    /// `sha1` or `sha256`: the key is the raw digest of the decoded secret.
    pub hash: String,
    /// What is added at the end.
    pub suffix: String,
}

/// An encrypted text, AES-256 in CBC mode; names and ids are read from what it decrypts to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Decrypt {
    /// Its source, base64; a request without it is taken as it is.
    pub from: String,
    /// How it is put together.
    pub framing: Framing,
    /// `tencent`: the 43 characters of the AES key; `lark` makes its key of the secret.
    #[serde(default)]
    pub key: String,
    /// `tencent`: the id that stands at the end; empty for any.
    #[serde(default)]
    pub receiver: String,
    /// `tencent` with `hash`: whether bodies of answers are encrypted and signed in turn, in JSON.
    #[serde(default)]
    pub seals_answers: bool,
}

/// How an encrypted text is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// Feishu, Lark: the key is the secret's SHA-256, the first block the initialisation vector.
    Lark,
    /// WeCom, WeChat, DingTalk: 16 random bytes, the length, the text, the receiver's id; padded to 32.
    Tencent,
}

/// Where public keys are published: a JSON Web Key set, a certificate, or a key in PEM.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysFrom {
    /// A setting without which they aren't fetched.
    pub needs: Option<SettingName>,
    /// Used beside the receiver's secrets, which are other schemes'.
    pub besides: bool,
    /// Their address, `https` only. `{key_id}` in it is the id of the key that the request names.
    pub url: String,
    /// Members of the JSON that is posted there; none given: it is a GET. `{key_id}` in them as in the address.
    pub post: BTreeMap<String, String>,
    /// What a token is exchanged for, where one must be shown there.
    pub token: Option<ClientCredentials>,
    /// The source of their address, when the request names it.
    pub from: String,
    /// Hosts that may be asked; `*` stands for one label, as in `*.example.com`, `$region` for a region of AWS.
    #[serde(deserialize_with = "one_or_many")]
    pub hosts: Vec<String>,
    /// Names of which the fetched certificate must have one, with a chain to a root that the system trusts.
    /// None given: what the host's TLS proves is enough.
    #[serde(deserialize_with = "one_or_many")]
    pub certificate_of: Vec<String>,
    /// The source of the key's id; a token has its own.
    pub key_id: String,
}

/// An OAuth client's credentials (RFC 6749, 4.4), which a bearer token is exchanged for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentials {
    /// The token's address, of one of the keys' hosts.
    pub url: String,
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// What the token is for.
    pub scope: String,
}

/// The signed time.
#[derive(Clone, Debug, Deserialize, Serialize)]
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

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Within(tolerance) => serializer.collect_str(&format_args!("{}ms", tolerance.as_millis())),
            Self::Unbounded => serializer.serialize_str("none"),
        }
    }
}

/// A claim of a JSON Web Token.
#[derive(Clone, Debug, Deserialize, Serialize)]
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
