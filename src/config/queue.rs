//! `[queue]` and `[spool]`: which queue, how to reach it, and what only one backend has.
//!
//! The section of a backend that isn't selected is checked for its spelling and has no effect, so that one
//! file serves several deployments that differ in `--queue`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use sluiced_queue::{Ack, Format};
use toml::Spanned;
use zeroize::Zeroizing;

use super::ConfigError;
use super::file::{At, OneOrMany, Setting, Text};
use super::source::{Source, readable_by_others};
use crate::units::{ByteSize, HumanDuration};

/// Which queue; all that `work`, `dead` and `drain` need to know. Its `Debug` shows no credentials.
#[derive(Clone)]
pub struct QueueConfig {
    /// The backend's name.
    pub backend: String,
    /// Where the broker is, with credentials; empty for the embedded queue.
    pub url: Vec<Zeroizing<String>>,
    /// The queue's name.
    pub name: String,
    /// The form in which webhooks go into it.
    pub format: Format,
    /// Where the daemon keeps its files.
    pub data_dir: PathBuf,
    /// What an answer waits for.
    pub ack: Ack,
    /// For how long it waits for the broker.
    pub ack_deadline: Duration,
    /// Whether there is a spool in front of a broker.
    pub spool: bool,
    /// Bytes that the spool may hold.
    pub spool_bytes_max: u64,
    /// Bytes that the embedded queue may hold.
    pub embedded_bytes_max: u64,
    /// Bytes of one message in the embedded queue.
    pub embedded_message_bytes_max: u64,
    /// What only RabbitMQ has.
    pub rabbitmq: RabbitMq,
    /// What only NATS has.
    pub nats: Nats,
    /// What only Azure has.
    pub azure: Azure,
}

impl QueueConfig {
    /// Whether a broker is behind it, so that there can be a spool.
    pub fn is_remote(&self) -> bool {
        self.backend != "embedded"
    }

    /// The spool's directory.
    pub fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }

    /// The secrets with which the broker is reached, URL included, as they are now.
    ///
    /// # Errors
    /// Names the one that can't be read.
    pub fn secrets(&self) -> Result<Vec<Zeroizing<String>>, ConfigError> {
        let read = |setting: &Setting| read_setting(Some(setting.clone()));
        let settings: Result<Vec<_>, String> = self.settings().into_iter().map(read).collect();
        let settings = settings.map_err(|e| ConfigError(format!("queue.{}: {e}", self.backend)))?;
        Ok(self.url.iter().cloned().chain(settings.into_iter().flatten()).collect())
    }

    /// Warnings about files with secrets of this backend that every user of the machine can read.
    pub(super) fn exposures(&self) -> Vec<String> {
        let (rabbitmq, nats) = (&self.rabbitmq, &self.nats);
        let files = match self.backend.as_str() {
            "rabbitmq" => vec![&rabbitmq.client_key_file],
            "nats" => vec![&nats.nkey_file, &nats.creds_file, &nats.client_key_file],
            _ => Vec::new(),
        };
        let files = files.into_iter().flatten().filter_map(|path| readable_by_others(path));
        let settings = self.settings().into_iter().filter_map(Setting::exposure);
        files.chain(settings).map(|why| format!("a secret of queue.{}: {why}", self.backend)).collect()
    }

    fn settings(&self) -> Vec<&Setting> {
        match self.backend.as_str() {
            "nats" => self.nats.secrets().collect(),
            "azure" => self.azure.client_secret.iter().collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Debug for QueueConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueConfig")
            .field("backend", &self.backend)
            .field("name", &self.name)
            .field("data_dir", &self.data_dir)
            .field("rabbitmq", &self.rabbitmq)
            .field("nats", &self.nats)
            .field("azure", &self.azure)
            .finish_non_exhaustive()
    }
}

/// `[queue]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    pub(super) backend: At<String>,
    pub(super) url: Option<Spanned<OneOrMany<Url>>>,
    pub(super) name: At<String>,
    pub(super) format: At<Format>,
    pub(super) ack: At<Ack>,
    pub(super) ack_deadline: At<HumanDuration>,
    #[serde(default)]
    pub(super) embedded: EmbeddedQueue,
    #[serde(default)]
    pub(super) rabbitmq: RabbitMq,
    #[serde(default)]
    pub(super) nats: Nats,
    #[serde(default)]
    pub(super) azure: Azure,
}

impl Queue {
    /// Secrets of every backend's section.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Setting> {
        self.nats.secrets().chain(&self.azure.client_secret)
    }
}

/// `[spool]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) enabled: At<bool>,
    pub(super) max: At<ByteSize>,
}

/// `[queue.embedded]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbeddedQueue {
    pub(super) max: At<ByteSize>,
    pub(super) message_max: At<ByteSize>,
}

/// `[queue.rabbitmq]`; what isn't given is the backend's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct RabbitMq {
    pub exchange: Option<String>,
    pub routing_key: Option<String>,
    pub declare: Option<bool>,
    pub message_max: Option<ByteSize>,
    pub channels: Option<usize>,
    pub heartbeat: Option<HumanDuration>,
    pub delivery_limit: Option<u32>,
    pub ca_file: Option<PathBuf>,
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
}

/// `[queue.nats]`; what isn't given is the backend's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Nats {
    pub stream: Option<String>,
    pub subject: Option<String>,
    pub declare: Option<bool>,
    pub message_max: Option<ByteSize>,
    pub token: Option<Setting>,
    pub user: Option<String>,
    pub password: Option<Setting>,
    pub nkey: Option<Setting>,
    pub nkey_file: Option<PathBuf>,
    pub creds: Option<Setting>,
    pub creds_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub client_cert_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
    pub tls_first: Option<bool>,
    pub domain: Option<String>,
    pub inbox_prefix: Option<String>,
    pub ping_interval: Option<HumanDuration>,
    pub ack_timeout: Option<HumanDuration>,
    pub sync_always: Option<bool>,
    pub storage: Option<Storage>,
    pub replicas: Option<usize>,
    pub retention: Option<Retention>,
    pub duplicate_window: Option<HumanDuration>,
    pub max_bytes: Option<ByteSize>,
    pub max_messages: Option<u64>,
    pub max_age: Option<HumanDuration>,
    pub consumer: Option<String>,
    pub filter_subject: Option<String>,
}

impl Nats {
    fn secrets(&self) -> impl Iterator<Item = &Setting> {
        [&self.token, &self.password, &self.nkey, &self.creds].into_iter().flatten()
    }
}

/// Where a stream that is created keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Storage {
    File,
    Memory,
}

/// When a stream that is created deletes its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Retention {
    WorkQueue,
    Limits,
    Interest,
}

/// `[queue.azure]`; what isn't given is the backend's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Azure {
    pub declare: Option<bool>,
    pub message_max: Option<ByteSize>,
    pub concurrency: Option<usize>,
    pub credential: Option<String>,
    pub tenant_id: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<Setting>,
}

/// A broker's address as it stands in the file: plain, or where it comes from. Its `Debug` shows neither.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a queue's URL is a string, one of { env = \"NAME\" } and { file = \"PATH\" }, or a list of them"
)]
pub(super) enum Url {
    Plain(String),
    From(Source),
}

impl Url {
    /// Whether credentials stand in it.
    pub(super) fn has_credentials(&self) -> bool {
        match self {
            Self::Plain(text) if text.parse::<Source>().is_ok() => false,
            Self::Plain(text) => split(text).iter().any(|one| without_credentials(one) != *one),
            Self::From(source) => matches!(source, Source::Text(_)),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a queue's URL")
    }
}

/// A broker's address, read.
#[derive(Default)]
pub(super) struct Addresses {
    pub(super) urls: Vec<Zeroizing<String>>,
    /// Without credentials.
    pub(super) shown: String,
    /// Credentials stand in the command line or in the file itself.
    pub(super) credentials_in_sight: bool,
    /// Warnings about files that every user of the machine can read.
    pub(super) exposures: Vec<String>,
}

impl Addresses {
    /// Of the flag, or of its variable: a SOURCE, or the addresses themselves.
    pub(super) fn of_flag(text: &str) -> Result<Self, ConfigError> {
        let mut addresses = Self::default();
        addresses.add(&Url::Plain(text.to_owned())).map_err(|e| wrong("--queue-url", &e))?;
        Ok(addresses)
    }

    /// Of the file.
    pub(super) fn of_file(
        urls: Option<Spanned<OneOrMany<Url>>>,
        text: Option<&Text>,
    ) -> Result<Option<(Self, String)>, ConfigError> {
        let Some(urls) = urls else { return Ok(None) };
        let origin = text.map_or_else(String::new, |text| text.place(urls.span().start));
        let mut addresses = Self::default();
        for url in urls.into_inner().into_vec() {
            addresses.add(&url).map_err(|e| wrong(&origin, &e))?;
        }
        Ok(Some((addresses, origin)))
    }

    fn add(&mut self, url: &Url) -> Result<(), String> {
        let source = match url {
            Url::From(source) => Some(source.clone()),
            Url::Plain(text) => text.parse().ok(),
        };
        let text = match (&source, url) {
            (Some(source), _) => read_text(source)?,
            (None, Url::Plain(text)) => Zeroizing::new(text.clone()),
            // The first arm has it.
            (None, Url::From(_)) => return Ok(()),
        };
        if text.trim().is_empty() {
            return Err("the URL is empty".into());
        }
        let exposure = source.as_ref().and_then(Source::exposure);
        self.exposures.extend(exposure.map(|why| format!("the queue's URL: {why}")));
        for one in split(&text) {
            let bare = without_credentials(one);
            let hidden = matches!(source, Some(Source::Env(_) | Source::File(_)));
            self.credentials_in_sight |= bare != one && !hidden;
            let origin = source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
            let comma = if self.shown.is_empty() { "" } else { ", " };
            self.shown += &format!("{comma}{bare}{origin}");
            self.urls.push(Zeroizing::new(one.to_owned()));
        }
        Ok(())
    }
}

fn wrong(origin: &str, what: &str) -> ConfigError {
    ConfigError(format!("{origin}: {}", what.replace("a secret is", "a URL is")))
}

/// A secret's text.
pub(super) fn read_text(source: &Source) -> Result<Zeroizing<String>, String> {
    let value = source.read()?;
    match std::str::from_utf8(&value) {
        Ok(text) => Ok(Zeroizing::new(text.trim().to_owned())),
        Err(_) => Err(format!("{source} isn't UTF-8")),
    }
}

/// A secret of a backend's section.
pub(crate) fn read_setting(setting: Option<Setting>) -> Result<Option<Zeroizing<String>>, String> {
    match setting {
        None => Ok(None),
        Some(Setting::Plain(text)) => Ok(Some(text)),
        Some(Setting::From(source)) => read_text(&source).map(Some),
    }
}

/// Several addresses of one cluster stand behind one another with commas between them. A comma inside an
/// address isn't followed by a scheme.
fn split(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        let scheme = text[at + 1..].trim_start().split("://").next().unwrap_or_default();
        let is_scheme = scheme.len() < text[at + 1..].trim_start().len()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+');
        if is_scheme {
            parts.push(text[start..at].trim());
            start = at + 1;
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// A broker's address for people: user, password, keys and signatures are left out.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| !scheme.contains([';', '=']))
    else {
        return connection_string(url);
    };
    // The last one: a password may hold any character, also one that it should not.
    let (stars, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let query = query.map_or_else(String::new, |query| format!("?{}", without_signature(query)));
    format!("{scheme}://{stars}{place}{query}")
}

/// The query of a shared access signature, or of anything else.
fn without_signature(query: &str) -> String {
    let secret = |name: &str| ["sig", "password", "token", "secret"].contains(&name.to_lowercase().as_str());
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if secret(name) => format!("{name}=***"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

/// Azure's `Name=value;Name=value`.
fn connection_string(text: &str) -> String {
    let plain = [
        "defaultendpointsprotocol",
        "accountname",
        "queueendpoint",
        "endpointsuffix",
        "usedevelopmentstorage",
    ];
    let parts = text.split(';').map(|part| match part.split_once('=') {
        Some((name, _)) if !plain.contains(&name.trim().to_lowercase().as_str()) => format!("{name}=***"),
        Some(_) => part.to_owned(),
        // No connection string at all: perhaps a password.
        None if part.trim().is_empty() => String::new(),
        None => "***".to_owned(),
    });
    parts.collect::<Vec<_>>().join(";")
}

/// What to write where a remote backend has no address.
pub(super) fn missing_url(backend: &str) -> ConfigError {
    let example = match backend {
        "rabbitmq" => "amqp://USER:PASSWORD@localhost:5672/%2f",
        "nats" => "nats://localhost:4222",
        _ => "UseDevelopmentStorage=true, or the connection string that the portal shows",
    };
    ConfigError(format!(
        "--queue {backend} needs the broker's address: --queue-url {example}; or, to keep it out of the process \
         list, --queue-url env:QUEUE_URL or file:/run/secrets/queue-url"
    ))
}

pub(super) fn no_broker(origin: &str) -> ConfigError {
    ConfigError(format!(
        "{origin} is a broker's address, and no broker is chosen; add --queue rabbitmq, nats or azure (in the file: \
         queue.backend), or --queue embedded to do without one"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_left_out_of_what_is_shown() {
        for (url, shown) in [
            ("amqp://user:pw@mq:5672/%2f?heartbeat=5", "amqp://***@mq:5672/%2f?heartbeat=5"),
            ("amqps://mq", "amqps://mq"),
            ("nats://t0ken@a:4222", "nats://***@a:4222"),
            ("amqp://user:p@ss/w?o@mq/v", "amqp://***@mq/v"),
            (
                "https://acc.queue.core.windows.net/?sv=1&sig=abc%3d",
                "https://acc.queue.core.windows.net/?sv=1&sig=***",
            ),
            (
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0==;EndpointSuffix=core.windows.net",
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=***;EndpointSuffix=core.windows.net",
            ),
            (
                "QueueEndpoint=https://a.queue.core.windows.net/;SharedAccessSignature=sv=1&sig=x",
                "QueueEndpoint=https://a.queue.core.windows.net/;SharedAccessSignature=***",
            ),
            ("UseDevelopmentStorage=true", "UseDevelopmentStorage=true"),
            ("hunter2", "***"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn debug_output_shows_no_secret_of_a_broker() {
        let nats: Nats = toml::from_str(
            "token = \"hunter2\"\npassword = \"hunter2\"\nnkey = { text = \"hunter2\" }\ncreds = \"hunter2\"",
        )
        .unwrap();
        let azure: Azure = toml::from_str("client_secret = \"hunter2\"").unwrap();
        let queue: Queue = toml::from_str("url = [\"amqp://u:hunter2@mq\", { text = \"hunter2\" }]").unwrap();
        let shown = format!("{nats:?} {azure:?} {queue:?}");
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
        assert!(queue.url.unwrap().as_ref().as_slice().iter().all(Url::has_credentials));
    }

    #[test]
    fn several_addresses_are_told_apart_from_commas_in_one() {
        assert_eq!(split("nats://a:1,nats://b:2, tls://c"), ["nats://a:1", "nats://b:2", "tls://c"]);
        assert_eq!(split("amqp://u:p,q@a/v"), ["amqp://u:p,q@a/v"]);
        assert_eq!(split("AccountName=a;AccountKey=b,c"), ["AccountName=a;AccountKey=b,c"]);
    }

    #[test]
    fn a_literal_with_credentials_is_noticed_and_one_from_a_file_is_not() {
        let literal = Addresses::of_flag("amqp://user:pw@mq").unwrap();
        assert!(literal.credentials_in_sight && literal.shown == "amqp://***@mq");
        assert!(!Addresses::of_flag("nats://127.0.0.1:4222").unwrap().credentials_in_sight);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "amqp://user:pw@mq\n").unwrap();
        let read = Addresses::of_flag(&format!("file:{}", file.path().display())).unwrap();
        assert!(
            !read.credentials_in_sight && read.shown.starts_with("amqp://***@mq (file:"),
            "{}",
            read.shown
        );
        assert_eq!(read.urls[0].as_str(), "amqp://user:pw@mq");
        assert!(Addresses::of_flag("env:SLUICED_TEST_NO_SUCH").is_err());
    }
}
