//! The seam to the queues: which backends this build has, and the one place that opens them.
//!
//! A new backend is one crate, one feature, one file here, and one arm in each `match` here.
//!
//! * [`remote`]: brokers, each destination with the spool in front of it.
//! * `embedded`, `rabbitmq`, `nats`, `azure`: from the configuration to what each crate wants.

#[cfg(feature = "azure")]
mod azure;
mod embedded;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
pub mod remote;

use std::collections::HashMap;
use std::sync::Arc;

use sluiced_queue::{ConsumeError, DeadLetterStore, WebHookQueueConsumer, WebHookQueueHandler};

use crate::config::{ConfigError, HandlerConfig, HandlerKind, QueueConfig, QueueTarget};
use crate::units::HumanDuration;
use remote::{Remote, Scope, Target};

/// The backends of this build, by the name that `--queue` takes.
pub const NAMES: &[&str] = &[
    #[cfg(feature = "embedded")]
    "embedded",
    #[cfg(feature = "rabbitmq")]
    "rabbitmq",
    #[cfg(feature = "nats")]
    "nats",
    #[cfg(feature = "azure")]
    "azure",
];

/// A queue that a worker or an operator asked for.
pub enum Opened<T> {
    /// Open.
    Open(T),
    /// Not there yet, or not to be reached now, for this reason.
    NotYet(String),
}

impl<T> Opened<T> {
    /// Sorts a backend's answer.
    fn of(opened: Result<T, ConsumeError>) -> Result<Self, ConfigError> {
        match opened {
            Ok(open) => Ok(Self::Open(open)),
            Err(ConsumeError::Failed(why)) => Err(ConfigError(why)),
            Err(ConsumeError::Unavailable(why)) => Ok(Self::NotYet(why)),
            Err(error @ ConsumeError::LeaseLost) => Ok(Self::NotYet(error.to_string())),
        }
    }

    fn map<U>(self, map: impl FnOnce(T) -> U) -> Opened<U> {
        match self {
            Self::Open(open) => Opened::Open(map(open)),
            Self::NotYet(why) => Opened::NotYet(why),
        }
    }
}

/// What `serve` needs of a backend.
pub struct Backend {
    /// Makes messages durable.
    pub handler: Arc<dyn WebHookQueueHandler>,
    /// The same for the configured handlers that have a queue of their own, by their names.
    pub others: HashMap<String, Arc<dyn WebHookQueueHandler>>,
    /// What an operator should know about it.
    pub warnings: Vec<String>,
    /// The broker behind it, and the spool in front of that.
    pub remote: Option<Arc<Remote>>,
}

/// A configured handler with a queue of its own.
#[derive(Clone, Copy, Debug)]
pub struct Other<'c> {
    /// Its name.
    pub handler: &'c str,
    /// Where it puts webhooks.
    pub target: &'c QueueTarget,
}

impl<'c> Other<'c> {
    /// Those among the configured handlers.
    pub fn of(handlers: &'c [HandlerConfig]) -> Vec<Self> {
        let other = |handler: &'c HandlerConfig| match &handler.kind {
            HandlerKind::Queue(target) => Some(Self { handler: &handler.name, target }),
            _ => None,
        };
        handlers.iter().filter_map(other).collect()
    }

    fn wrong(&self, what: impl std::fmt::Display) -> ConfigError {
        ConfigError(format!("handler {}: {what}", self.handler))
    }

    /// For a backend where a destination is a queue and nothing else.
    fn only_name(&self, backend: &str) -> Result<&'c str, ConfigError> {
        match self.target {
            QueueTarget {
                name: Some(name),
                exchange: None,
                routing_key: None,
                subject: None,
                stream: None,
            } => Ok(name),
            _ => Err(self.wrong(format_args!("{backend} has queues only; write queue = {{ name = \"…\" }}"))),
        }
    }
}

/// Opens the configured backend for the daemon.
///
/// # Errors
/// Says what stands in the way and how to get past it.
pub async fn open(config: &QueueConfig, handlers: &[HandlerConfig]) -> Result<Backend, ConfigError> {
    check(config, handlers)?;
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" => {
            remote::leftover(config).await?;
            embedded::open(config, &Other::of(handlers))
        }
        _ => remote::open(config, handlers, Scope::Serve).await,
    }
}

/// Opens the spool of a remote backend to drain it; `None` when there is none.
///
/// # Errors
/// Says what stands in the way and how to get past it: a running `serve`, for one.
pub async fn open_to_drain(
    config: &QueueConfig,
    handlers: &[HandlerConfig],
    all: bool,
) -> Result<Option<Arc<Remote>>, ConfigError> {
    if !config.is_remote() {
        return Err(ConfigError(
            "the embedded queue has no spool; name the broker with --queue, as `serve` had it".into(),
        ));
    }
    if !config.spool_dir().exists() {
        return Ok(None);
    }
    let scope = if all { Scope::DrainAll } else { Scope::DrainOwn };
    Ok(remote::open(config, handlers, scope).await?.remote)
}

/// Starts the publishers of a remote backend: that of the default queue handler, then those of the others.
/// `limit` is the longest message that the broker took the last time.
fn start(
    config: &QueueConfig,
    others: &[Other<'_>],
    limit: Option<usize>,
) -> Result<Vec<Target>, ConfigError> {
    match config.backend.as_str() {
        #[cfg(feature = "rabbitmq")]
        "rabbitmq" => rabbitmq::start(config, others),
        #[cfg(feature = "nats")]
        "nats" => nats::start(config, others, limit),
        #[cfg(feature = "azure")]
        "azure" => azure::start(config, others),
        other => Err(not_in_this_build(other)),
    }
}

/// Opens the configured queue for a worker.
///
/// # Errors
/// Says what stands in the way and how to get past it.
pub async fn open_consumer(
    config: &QueueConfig,
) -> Result<Opened<Arc<dyn WebHookQueueConsumer>>, ConfigError> {
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" => embedded::open_consumer(config).await,
        #[cfg(feature = "nats")]
        "nats" => Ok(nats::open_consumer(config).await?.map(|open| Arc::new(open) as _)),
        #[cfg(feature = "rabbitmq")]
        "rabbitmq" => Ok(rabbitmq::open_consumer(config).await?.map(|open| Arc::new(open) as _)),
        #[cfg(feature = "azure")]
        "azure" => Ok(azure::open_consumer(config).await?.map(|open| Arc::new(open) as _)),
        other => Err(not_in_this_build(other)),
    }
}

/// Opens the dead letters of the configured queue; with `local`, those kept in the data directory.
///
/// # Errors
/// Says what stands in the way and how to get past it.
pub async fn open_dead_letters(
    config: &QueueConfig,
    local: bool,
) -> Result<Opened<Arc<dyn DeadLetterStore>>, ConfigError> {
    match config.backend.as_str() {
        backend if local || backend == "embedded" => embedded::open_dead_letters(config).await,
        #[cfg(feature = "nats")]
        "nats" => Ok(nats::open_dead_letters(config).await?.map(|open| Arc::new(open) as _)),
        #[cfg(feature = "rabbitmq")]
        "rabbitmq" => Ok(rabbitmq::open_dead_letters(config).await?.map(|open| Arc::new(open) as _)),
        #[cfg(feature = "azure")]
        "azure" => Ok(azure::open_dead_letters(config).await?.map(|open| Arc::new(open) as _)),
        other => Err(not_in_this_build(other)),
    }
}

/// What can be told of the configuration without opening anything.
///
/// # Errors
/// Says what can't be and how to get past it.
pub fn check(config: &QueueConfig, handlers: &[HandlerConfig]) -> Result<(), ConfigError> {
    let dedupe = handlers.iter().find_map(|handler| match handler.kind {
        HandlerKind::Dedupe(window) => Some((handler.name.as_str(), window)),
        _ => None,
    });
    match (config.backend.as_str(), dedupe) {
        #[cfg(feature = "embedded")]
        ("embedded", _) => embedded::check(&Other::of(handlers)),
        #[cfg(feature = "nats")]
        ("nats", Some((name, window))) if window > nats::duplicate_window(config) => {
            Err(ConfigError(format!(
                "handler {name}: a stream of NATS remembers message ids for {} and no longer; take a shorter `dedupe`, \
             or a longer duplicate_window in [queue.nats]",
                HumanDuration(nats::duplicate_window(config))
            )))
        }
        #[cfg(feature = "nats")]
        ("nats", Some(_)) => Ok(()),
        (backend, Some((name, _))) => Err(ConfigError(format!(
            "handler {name}: {backend} can't leave out duplicates; take the handler out, and let workers \
             remember the messageId of what they have done"
        ))),
        _ => Ok(()),
    }
}

/// Looks at what `serve` would open, without opening it: `check`.
pub fn warnings(config: &QueueConfig) -> Vec<String> {
    match config.backend.as_str() {
        backend if backend == "embedded" || config.spool => embedded::warnings(config),
        _ => Vec::new(),
    }
}

/// Reaches the broker: what an operator should know about it.
///
/// # Errors
/// Why it can't be reached or used.
pub async fn check_connect(config: &QueueConfig) -> Result<Vec<String>, String> {
    match config.backend.as_str() {
        #[cfg(feature = "embedded")]
        "embedded" => Ok(Vec::new()),
        #[cfg(feature = "rabbitmq")]
        "rabbitmq" => rabbitmq::check(config).await,
        #[cfg(feature = "nats")]
        "nats" => nats::check(config).await,
        #[cfg(feature = "azure")]
        "azure" => azure::check(config).await,
        other => Err(not_in_this_build(other).0),
    }
}

/// Why the daemon's files can't be used, and the way out.
fn cant_open(error: &sluiced_embedded::OpenError) -> String {
    match error {
        sluiced_embedded::OpenError::Io { .. } => {
            format!("{error}; --data-dir (in the file: data_dir) chooses another place")
        }
        _ => error.to_string(),
    }
}

fn not_in_this_build(name: &str) -> ConfigError {
    ConfigError(format!("there is no queue backend `{name}` in this build; it has: {}", NAMES.join(", ")))
}
