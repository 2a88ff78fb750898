//! What a user may choose.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use sluiced_queue::Format;

use crate::address;
use crate::bounds;
use crate::secret::Secret;

/// How the backend is to reach its servers, and where messages go. All of it has defaults.
///
/// Credentials that are given here take the place of those in a URL; two kinds of them side by side are an
/// error.
#[derive(Clone)]
pub struct Options {
    /// Servers: `nats://HOST:4222` or `tls://…`, with `USER:PASSWORD@` or `TOKEN@` before the host. One
    /// server is as good as several of a cluster; one text may hold several, separated by commas.
    pub url: Vec<String>,
    /// A token.
    pub token: Option<Secret>,
    /// A user, together with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// An nkey's seed (`SU…`).
    pub nkey: Option<Secret>,
    /// A file with an nkey's seed, read again for every connection.
    pub nkey_file: Option<PathBuf>,
    /// What a `.creds` file holds: a JWT and an nkey's seed.
    pub creds: Option<Secret>,
    /// A `.creds` file, read again for every connection.
    pub creds_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust, in place of the system's.
    pub tls_ca: Option<PathBuf>,
    /// PEM file of the client's certificate, together with `tls_key`. Read again for every connection.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub tls_key: Option<PathBuf>,
    /// The server speaks TLS from the first byte (`handshake_first`).
    pub tls_first: bool,
    /// A JetStream domain.
    pub domain: Option<String>,
    /// Prefix of the subjects on which answers come, where permissions ask for another one than `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// How often the server is asked whether it lives. A frozen one is noticed after three intervals.
    pub ping_interval: Duration,

    /// The queue. Subjects and the stream are named after it unless they are given.
    pub queue_name: String,
    /// The stream; `None`: the queue's name in upper case, `WEBHOOKS`.
    pub stream: Option<String>,
    /// The subject, with the variables `{receiver}`, `{id}` and `{action}`; `None`:
    /// `webhooks.{receiver}.{id}.{action}`.
    pub subject: Option<String>,
    /// The form in which webhooks go into the queue; workers read any.
    pub format: Format,
    /// Whether a missing stream is created.
    pub declare: bool,
    /// The handler that this is; `None` is the default queue handler, another one's name ends its message ids.
    pub handler: Option<String>,
    /// The longest message in bytes as encoded, until the server has told its `max_payload`: as configured,
    /// or what it said the last time.
    pub message_bytes_max: Option<usize>,
    /// When a publish ends at the latest.
    pub publish_deadline: Duration,
    /// How long one acknowledgement is waited for before the message is published again with the same id.
    pub ack_timeout: Duration,
    /// The servers run with `sync_interval: always`, which a client can't see: no warning about a stream
    /// with fewer than three replicas.
    pub sync_always: bool,

    /// Of a stream that is created: where messages are kept.
    pub storage: Storage,
    /// Of a stream that is created: how many servers keep each message.
    pub replicas: usize,
    /// Of a stream that is created: when messages are deleted.
    pub retention: Retention,
    /// Of a stream that is created: for how long message ids are remembered.
    pub duplicate_window: Duration,
    /// Of a stream that is created: its bound in bytes. A full one refuses messages.
    pub max_bytes: Option<u64>,
    /// Of a stream that is created: its bound in messages.
    pub max_messages: Option<u64>,
    /// Of a stream that is created: the age at which messages are deleted, worked off or not.
    pub max_age: Option<Duration>,

    /// Workers: the durable consumer's name; `None`: `sluiced`, and with `filter_subject` one named after it.
    pub consumer: Option<String>,
    /// Workers: which subjects of the stream to work off; `None`: all that `subject` can become.
    pub filter_subject: Option<String>,
}

/// Where a stream's messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory: a restart loses all of them.
    Memory,
}

/// When a stream's messages are deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// When a worker has acknowledged them.
    #[default]
    WorkQueue,
    /// When a limit of the stream says so.
    Limits,
    /// When all consumers have acknowledged them. Without a consumer a message is acknowledged to the
    /// sender and stored nowhere, so nothing is published while there is none.
    Interest,
}

/// Where a handler of its own sends messages to, over the same connection. What isn't given is as for the
/// default queue handler; with a `queue_name`, as for a queue of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Another queue.
    pub queue_name: Option<String>,
    /// Another stream.
    pub stream: Option<String>,
    /// Another subject, with the variables `{receiver}`, `{id}` and `{action}`.
    pub subject: Option<String>,
}

/// Options that can't be meant so; the text names the option and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub String);

impl Default for Options {
    fn default() -> Self {
        Self {
            url: vec!["nats://127.0.0.1:4222".into()],
            token: None,
            user: None,
            password: None,
            nkey: None,
            nkey_file: None,
            creds: None,
            creds_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            tls_first: false,
            domain: None,
            inbox_prefix: None,
            ping_interval: bounds::PING_INTERVAL,
            queue_name: "webhooks".into(),
            stream: None,
            subject: None,
            format: Format::Context,
            declare: true,
            handler: None,
            message_bytes_max: None,
            publish_deadline: bounds::PUBLISH_DEADLINE,
            ack_timeout: bounds::ACK_TIMEOUT,
            sync_always: false,
            storage: Storage::File,
            replicas: 1,
            retention: Retention::WorkQueue,
            duplicate_window: Duration::from_secs(600),
            max_bytes: None,
            max_messages: None,
            max_age: None,
            consumer: None,
            filter_subject: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url: Vec<_> = self.url.iter().map(|url| address::without_credentials(url)).collect();
        f.debug_struct("Options")
            .field("url", &url)
            .field("queue_name", &self.queue_name)
            .field("stream", &self.stream)
            .field("subject", &self.subject)
            .field("format", &self.format)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}
