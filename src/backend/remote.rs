//! Brokers: each destination with its part of the spool in front of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sluiced_embedded::{EmbeddedSpool, OpenError, Usage};
use sluiced_queue::spool::Status;
use sluiced_queue::{Health, SpoolOptions, SpoolStore, Spooled, WebHookQueueHandler, WebHookQueuePublisher};
use tokio::time::Instant;

use super::{Backend, Other};
use crate::bounds::SPOOL_FILLING_PERCENT;
use crate::config::{ConfigError, HandlerConfig, QueueConfig};

/// A publisher and where it publishes to.
pub(super) struct Target {
    /// `None` for the default queue handler.
    pub(super) handler: Option<String>,
    /// The same over restarts, without host and credentials.
    pub(super) destination: String,
    /// The backend's.
    pub(super) publisher: Arc<dyn WebHookQueuePublisher>,
}

/// What a spool is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To serve: what is in it must be for the configured destinations.
    Serve,
    /// To drain what is for the configured destinations.
    DrainOwn,
    /// To drain all of it into the default destination.
    DrainAll,
}

/// The broker's publishers, and the spool.
pub struct Remote {
    backend: String,
    spool: Option<EmbeddedSpool>,
    spools: Vec<Spooled>,
    publishers: Vec<Arc<dyn WebHookQueuePublisher>>,
    /// Entries for destinations that aren't configured.
    foreign: Vec<(String, u64)>,
    /// How many of the steps of [`SPOOL_FILLING_PERCENT`] the log has told.
    filling: AtomicUsize,
}

/// Opens the spool, starts the publishers, and begins to drain.
pub(super) async fn open(
    config: &QueueConfig,
    handlers: &[HandlerConfig],
    scope: Scope,
) -> Result<Backend, ConfigError> {
    let spool = match config.spool || scope != Scope::Serve {
        true => Some(open_spool(config)?),
        false => {
            leftover(config).await?;
            None
        }
    };
    let limit = spool.as_ref().and_then(|spool| spool.known_limit(&config.backend));
    let others = Other::of(handlers);
    let targets = super::start(config, &others, limit)?;
    let names: Vec<String> = targets.iter().map(|target| target.name(config)).collect();
    let foreign = match &spool {
        Some(spool) => foreign(spool, &names)?,
        None => Vec::new(),
    };
    if scope == Scope::Serve && !foreign.is_empty() {
        return Err(not_ours(config, &foreign));
    }
    let mut spools = Vec::new();
    for (target, name) in targets.iter().zip(&names) {
        spools.push(spooled(config, spool.as_ref(), target.publisher.clone(), name).await?);
    }
    let handler: Arc<dyn WebHookQueueHandler> = Arc::new(spools[0].clone());
    let mut by_name: HashMap<String, Arc<dyn WebHookQueueHandler>> = HashMap::new();
    for (target, spooled) in targets.iter().zip(&spools).skip(1) {
        by_name.insert(target.handler.clone().unwrap_or_default(), Arc::new(spooled.clone()));
    }
    if scope == Scope::DrainAll {
        for (name, _) in &foreign {
            spools.push(spooled(config, spool.as_ref(), targets[0].publisher.clone(), name).await?);
        }
    }
    let remote = Remote {
        backend: config.backend.clone(),
        spool,
        spools,
        publishers: targets.into_iter().map(|target| target.publisher).collect(),
        foreign: if scope == Scope::DrainAll { Vec::new() } else { foreign },
        filling: AtomicUsize::new(0),
    };
    Ok(Backend {
        handler,
        others: by_name,
        warnings: super::warnings(config),
        remote: Some(Arc::new(remote)),
    })
}

fn open_spool(config: &QueueConfig) -> Result<EmbeddedSpool, ConfigError> {
    EmbeddedSpool::open(&config.spool_dir(), config.spool_bytes_max).map_err(|error| {
        let meanwhile = match error {
            OpenError::Damaged { .. } => "; `--spool off` serves without it meanwhile",
            _ => "",
        };
        ConfigError(format!("the spool: {}{meanwhile}", super::cant_open(&error)))
    })
}

async fn spooled(
    config: &QueueConfig,
    spool: Option<&EmbeddedSpool>,
    publisher: Arc<dyn WebHookQueuePublisher>,
    name: &str,
) -> Result<Spooled, ConfigError> {
    let store: Option<Arc<dyn SpoolStore>> = match spool {
        Some(spool) => {
            let lane = spool.lane(name).await.map_err(|error| ConfigError(format!("the spool: {error}")))?;
            Some(Arc::new(lane))
        }
        None => None,
    };
    let options =
        SpoolOptions { ack: config.ack, ack_deadline: config.ack_deadline, ..SpoolOptions::new(name) };
    Ok(Spooled::start(publisher, store, options))
}

impl Target {
    /// Under this name its messages are spooled.
    fn name(&self, config: &QueueConfig) -> String {
        let handler =
            self.handler.as_ref().map_or_else(String::new, |handler| format!(", handler {handler}"));
        format!("{} {}{handler}", config.backend, self.destination)
    }
}

/// Entries for other destinations than these.
fn foreign(spool: &EmbeddedSpool, names: &[String]) -> Result<Vec<(String, u64)>, ConfigError> {
    let mut found = spool.destinations().map_err(|error| ConfigError(format!("the spool: {error}")))?;
    found.retain(|(name, _)| !names.contains(name));
    Ok(found)
}

/// What is in the spool of a configuration that doesn't use it: nobody would ever send it.
pub(super) async fn leftover(config: &QueueConfig) -> Result<(), ConfigError> {
    let dir = config.spool_dir();
    if !dir.join("queue.db").exists() {
        return Ok(());
    }
    let spool = match EmbeddedSpool::open(&dir, config.spool_bytes_max) {
        Ok(spool) => spool,
        Err(error @ OpenError::Damaged { .. }) => {
            tracing::warn!(%error, "there is a spool, which isn't used and can't be read");
            return Ok(());
        }
        Err(error) => return Err(ConfigError(format!("the spool: {error}"))),
    };
    let found = foreign(&spool, &[])?;
    spool.close().await;
    if found.is_empty() { Ok(()) } else { Err(not_ours(config, &found)) }
}

fn not_ours(config: &QueueConfig, foreign: &[(String, u64)]) -> ConfigError {
    let dir = config.spool_dir();
    ConfigError(format!(
        "the spool {} has {}, which isn't configured now: send them there first, with `sluiced drain` and the \
         flags or the file that they were spooled with; or have them go where the configured queue is, with \
         `sluiced drain --all`",
        dir.display(),
        describe(foreign)
    ))
}

/// What is there for whom, for people.
pub fn describe(entries: &[(String, u64)]) -> String {
    let part = |(name, count): &(String, u64)| {
        format!("{count} message{} for {name}", if *count == 1 { "" } else { "s" })
    };
    entries.iter().map(part).collect::<Vec<_>>().join(", ")
}

impl Remote {
    /// Of each destination, the default one first.
    pub fn statuses(&self) -> Vec<Status> {
        self.spools.iter().map(Spooled::status).collect()
    }

    /// Why this process must end, if so: a part of it will never work again.
    pub fn failed(&self) -> Option<String> {
        self.spools.iter().find_map(|spooled| match spooled.status().health() {
            Health::Failed(why) => Some(why),
            Health::Ready | Health::NotReady(_) => None,
        })
    }

    /// The destinations, the default one first.
    pub fn spools(&self) -> &[Spooled] {
        &self.spools
    }

    /// Messages in the spool; `None` without one, or when it can't be told in time.
    pub async fn spooled(&self) -> Option<u64> {
        let mut messages = None;
        for spooled in &self.spools {
            messages = Some(messages.unwrap_or(0) + spooled.depth().await?.messages);
        }
        messages
    }

    /// Entries for destinations that aren't configured.
    pub fn foreign(&self) -> &[(String, u64)] {
        &self.foreign
    }

    /// What the spool takes of its bound.
    pub fn usage(&self) -> Option<Usage> {
        self.spool.as_ref().map(EmbeddedSpool::usage)
    }

    /// To be called once a second: tells that the spool is filling, and keeps what the broker says of itself.
    pub fn look(&self) {
        let Some(spool) = &self.spool else { return };
        let Usage { bytes, bytes_max } = spool.usage();
        let percent = bytes.saturating_mul(100) / bytes_max.max(1);
        let passed = SPOOL_FILLING_PERCENT.iter().filter(|step| percent >= **step).count();
        let told = self.filling.load(Relaxed);
        if passed > told || percent < SPOOL_FILLING_PERCENT[0] / 2 {
            self.filling.store(passed, Relaxed);
        }
        if passed > told {
            tracing::warn!(
                percent,
                bytes,
                bytes_max,
                what_to_do = "bring the broker back, or raise --spool-max; a full spool means 503",
                "spool filling"
            );
        }
        let publisher = &self.publishers[0];
        let limit = publisher.message_bytes_max();
        if publisher.health() == Health::Ready && spool.known_limit(&self.backend) != Some(limit) {
            let (spool, backend) = (spool.clone(), self.backend.clone());
            // Kept or not: the broker will be asked again.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = spool.remember_limit(&backend, limit) {
                    tracing::debug!(%error, "the broker's limit can't be kept");
                }
            });
        }
    }

    /// Drains until `until` what the brokers take, and lets go of broker and disk, in this order; gives what is
    /// left, as [`Self::spooled`].
    pub async fn close(&self, until: Instant) -> Option<u64> {
        let mut finishing = tokio::task::JoinSet::new();
        for spooled in &self.spools {
            let spooled = spooled.clone();
            finishing.spawn(async move { spooled.finish(until).await });
        }
        let _ = finishing.join_all().await;
        for publisher in &self.publishers {
            publisher.close().await;
        }
        let left = self.spooled().await;
        if let Some(spool) = &self.spool {
            spool.close().await;
        }
        left
    }
}
