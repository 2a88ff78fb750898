//! The configuration file as TOML has it: every key optional, unknown ones refused with the nearest
//! known one, line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use toml::Spanned;
use zeroize::Zeroizing;

use super::handlers::Handler;
use super::queue::{Queue, Spool};
use super::source::Source;
use super::{ConfigError, front_door};
use crate::bounds::CONFIG_BYTES_MAX;
use crate::catalog::Row;
use crate::http::forwarded::ForwardedHeader;
use crate::http::rate::Rate;
use crate::log::{Format, Level};
use crate::networks::Networks;
use crate::units::{ByteSize, HumanDuration};

/// A value and where in the file it stands.
pub type At<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub(super) listen: At<String>,
    pub(super) ops_listen: At<String>,
    pub(super) public_url: At<String>,
    pub(super) base_path: At<String>,
    pub(super) trusted_proxies: At<Networks>,
    pub(super) forwarded_header: At<ForwardedHeader>,
    pub(super) proxy_protocol: At<bool>,
    pub(super) tls: At<front_door::TlsConfig>,
    #[serde(default)]
    pub(super) listeners: Vec<Spanned<front_door::Listener>>,
    pub(super) data_dir: At<String>,
    pub(super) drain_delay: At<HumanDuration>,
    pub(super) drain_timeout: At<HumanDuration>,
    #[serde(default)]
    pub(super) queue: Queue,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) receivers: Vec<Spanned<Receiver>>,
    #[serde(default)]
    pub(super) providers: Vec<Spanned<Row>>,
    pub(super) default_queue: At<bool>,
    #[serde(default)]
    pub(super) handlers: Vec<Spanned<Handler>>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) log: Log,
}

impl File {
    /// Whether secrets stand in the file itself.
    pub(super) fn holds_secrets(&self) -> bool {
        let receivers = self.receivers.iter().flat_map(|receiver| receiver.as_ref().secret.as_slice());
        let mut urls = self.queue.url.iter().flat_map(|url| url.as_ref().as_slice());
        receivers.into_iter().any(|source| matches!(source, Source::Text(_)))
            || urls.any(|url| url.has_credentials())
            || self.queue.secrets().any(|setting| matches!(setting, Setting::Plain(_)))
    }
}

/// `[[receivers]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receiver {
    pub(super) name: String,
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) secret: OneOrMany<Source>,
    #[serde(default)]
    pub(super) set: BTreeMap<String, Setting>,
    pub(super) path: Option<String>,
    pub(super) body_max: Option<ByteSize>,
    pub(super) tolerance: Option<HumanDuration>,
    pub(super) raw_body: Option<bool>,
    pub(super) mask: Option<bool>,
    pub(super) allow: Option<Networks>,
    pub(super) rate: Option<Rate>,
}

/// What a scheme needs besides secrets: a plain value, or where it comes from.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// Stands in the file.
    Plain(#[serde(deserialize_with = "zeroizing")] Zeroizing<String>),
    /// Stands elsewhere.
    From(Source),
}

impl Setting {
    /// A warning, if others can read the file that it comes from.
    pub(super) fn exposure(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::From(source) => source.exposure(),
        }
    }
}

/// It may be a secret.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("***"),
            Self::From(source) => source.fmt(f),
        }
    }
}

fn zeroizing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// One, or a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a secret is one of { env = \"NAME\" }, { file = \"PATH\" }, { text = \"VALUE\" }, or a list of them"
)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }

    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) body_max: At<ByteSize>,
    pub(super) body_timeout: At<HumanDuration>,
    pub(super) body_rate_min: At<ByteSize>,
    pub(super) body_memory_max: At<ByteSize>,
    pub(super) headers_max: At<u64>,
    pub(super) headers_bytes_max: At<ByteSize>,
    pub(super) header_timeout: At<HumanDuration>,
    pub(super) idle_timeout: At<HumanDuration>,
    pub(super) connections_max: At<u64>,
    pub(super) connections_per_address_max: At<u64>,
    pub(super) address_rate: At<Rate>,
    pub(super) receiver_rate: At<Rate>,
    pub(super) in_flight_max: At<u64>,
}

/// `[log]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: At<Format>,
    pub(super) level: At<Level>,
}

/// A file that was read, for line numbers.
pub struct Text {
    path: PathBuf,
    /// Secrets may stand in it.
    text: Zeroizing<String>,
    /// Where its line ends are: each receiver asks for its line, and there may be ten thousand.
    line_ends: Vec<usize>,
}

impl Text {
    /// Line and column of a byte, both from 1.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let lines_before = self.line_ends.partition_point(|end| *end < byte);
        let line_start = lines_before.checked_sub(1).map_or(0, |last| self.line_ends[last] + 1);
        (lines_before + 1, byte - line_start + 1)
    }

    /// `file:line` of a byte.
    pub fn place(&self, byte: usize) -> String {
        format!("{}:{}", self.path.display(), self.position(byte).0)
    }
}

/// Reads a configuration file.
///
/// # Errors
/// Names the file, line and column, and for an unknown key the nearest known one.
pub fn read(path: &Path) -> Result<(File, Text), ConfigError> {
    let cant = |e: String| ConfigError(format!("{}: {e}", path.display()));
    let length = std::fs::metadata(path).map_err(|e| cant(format!("can't be read: {e}")))?.len();
    if length > CONFIG_BYTES_MAX {
        return Err(cant(format!("has {length} bytes; a configuration has {CONFIG_BYTES_MAX} at most")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| cant(format!("can't be read: {e}")))?;
    let text = Zeroizing::new(text);
    let line_ends = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
    let text = Text { path: path.to_owned(), text, line_ends };
    match toml::from_str(&text.text) {
        Ok(file) => Ok((file, text)),
        Err(error) => {
            let (line, column) = error.span().map_or((1, 1), |span| text.position(span.start));
            let what = explain(error.message());
            Err(ConfigError(format!("{}:{line}:{column}: {what}", text.path.display())))
        }
    }
}

/// serde names every key and word that it knows; a person wants the nearest.
fn explain(message: &str) -> String {
    let unknown = [("unknown field ", "key"), ("unknown variant ", "value")];
    let found = unknown.iter().find_map(|(prefix, what)| Some((message.strip_prefix(prefix)?, what)));
    let Some((rest, what)) = found else { return message.to_owned() };
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    match nearest(unknown, names) {
        Some(known) => format!("unknown {what} `{unknown}`; did you mean `{known}`?"),
        None => format!("unknown {what} `{unknown}`"),
    }
}

/// The known name that takes the fewest edits to reach.
pub fn nearest<'n>(unknown: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known.min_by_key(|name| edits(&unknown.to_lowercase(), &name.to_lowercase()))
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        std::fs::write(&path, text).unwrap();
        let error = read(&path).err().expect("an error").0;
        error.replace(&path.display().to_string(), "s.toml")
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_nearest() {
        assert_eq!(error("\n lisen = \"x\""), "s.toml:2:2: unknown key `lisen`; did you mean `listen`?");
        assert_eq!(
            error("[[receivers]]\nname = \"github\"\nsecrte = { env = \"A\" }"),
            "s.toml:3:1: unknown key `secrte`; did you mean `secret`?"
        );
        assert_eq!(
            error("[limits]\nbody_mx = \"1MiB\""),
            "s.toml:2:1: unknown key `body_mx`; did you mean `body_max`?"
        );
    }

    #[test]
    fn so_does_an_unknown_key_or_word_of_a_provider() {
        let row = "[[providers]]\nname = \"own\"\ntitle = \"Own\"\nreplay = \"unprotected\"\n";
        assert_eq!(
            error(&format!("{row}guid = \"x\"")),
            "s.toml:5:1: unknown key `guid`; did you mean `guide`?"
        );
        assert_eq!(
            error(&row.replace("unprotected", "unprotect")),
            "s.toml:4:10: unknown value `unprotect`; did you mean `unprotected`?"
        );
        let scheme = format!("{row}[[providers.schemes]]\nname = \"v1\"\nverify = \"mac\"\n");
        assert_eq!(
            error(&format!("{scheme}signature = {{ form = \"header:X\" }}")),
            "s.toml:8:15: unknown key `form`; did you mean `from`?"
        );
        assert_eq!(
            error(&scheme.replace("\"mac\"", "\"hmac\"")),
            "s.toml:7:10: unknown value `hmac`; did you mean `mac`?"
        );
        assert_eq!(
            error(&format!("{scheme}message = 1")),
            "s.toml:8:11: expected a string, or an array of strings"
        );
        assert_eq!(error(&row.replace("title = \"Own\"\n", "")), "s.toml:1:1: missing field `title`");
    }

    #[test]
    fn a_wrong_value_names_its_place_and_the_way_out() {
        assert!(error("drain_delay = \"soon\"").starts_with("s.toml:1:15: `soon` is not a duration"));
        assert!(error("a = ").starts_with("s.toml:1:"));
        let plain = error("[[receivers]]\nname = \"github\"\nsecret = \"hunter2\"");
        assert!(plain.contains("{ env = \"NAME\" }") && !plain.contains("hunter2"), "{plain}");
    }
}
