//! The stream: what a new one is like, and what is worth a warning about one that exists.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType, Stream,
};
use futures_util::StreamExt;

use crate::bounds;
use crate::link::Link;
use crate::options::{Options, Retention, Storage};
use crate::subject;

/// A stream as we create it.
pub(crate) fn desired(options: &Options, name: &str, filter: &str) -> Config {
    let limit = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    Config {
        name: name.into(),
        subjects: vec![filter.into()],
        description: Some("Webhooks, put here by sluiced".into()),
        retention: match options.retention {
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
            Retention::Limits => RetentionPolicy::Limits,
            Retention::Interest => RetentionPolicy::Interest,
        },
        storage: storage(options),
        num_replicas: options.replicas,
        // A full stream must say so: what is discarded silently was acknowledged to its sender.
        discard: DiscardPolicy::New,
        max_bytes: limit(options.max_bytes),
        max_messages: limit(options.max_messages),
        max_age: options.max_age.unwrap_or_default(),
        duplicate_window: options.duplicate_window,
        ..Config::default()
    }
}

/// The stream for dead letters as we create it: nothing in it is deleted but by an operator.
pub(crate) fn desired_dead(options: &Options, name: &str, filter: &str) -> Config {
    Config {
        name: name.into(),
        subjects: vec![filter.into()],
        description: Some("Webhooks that workers gave up on".into()),
        retention: RetentionPolicy::Limits,
        storage: storage(options),
        num_replicas: options.replicas,
        discard: DiscardPolicy::New,
        duplicate_window: options.duplicate_window,
        ..Config::default()
    }
}

fn storage(options: &Options) -> StorageType {
    match options.storage {
        Storage::File => StorageType::File,
        Storage::Memory => StorageType::Memory,
    }
}

/// A stream as it is.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) info: Info,
    /// What its consumers want. Looked for where that decides what is stored: with retention `interest`.
    wanted: Vec<String>,
}

/// Why a stream can't take messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) why: String,
    /// It would take them all the same, and not keep them or not say so: nothing may be published.
    pub(crate) is_unsafe: bool,
}

/// What is there under a name.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Stream(Box<Seen>),
    Missing,
    /// We may not look; publishing may be allowed all the same.
    Forbidden(String),
    /// JetStream gives no answer, or an error.
    Trouble(String),
}

/// Looks, and changes nothing.
pub(crate) async fn find(link: &Link, name: &str) -> Found {
    let request = format!("STREAM.INFO.{name}\"");
    tokio::select! {
        found = link.jetstream.get_stream(name) => match found {
            Ok(stream) => match seen(&stream).await {
                Ok(seen) => Found::Stream(Box::new(seen)),
                Err(why) => Found::Trouble(why),
            },
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    Found::Missing
                }
                GetStreamErrorKind::JetStream(error) => Found::Trouble(error.to_string()),
                _ => Found::Trouble(cause(&error)),
            },
        },
        text = link.api_denied(&request) => Found::Forbidden(text),
    }
}

/// Creates a stream. An error names why not.
pub(crate) async fn create(link: &Link, config: &Config) -> Result<Seen, String> {
    let request = format!("STREAM.CREATE.{}\"", config.name);
    tokio::select! {
        created = link.jetstream.create_stream(config) => match created {
            Ok(stream) => seen(&stream).await,
            Err(error) => Err(match error.kind() {
                CreateStreamErrorKind::JetStream(error) => error.to_string(),
                _ => cause(&error),
            }),
        },
        text = link.api_denied(&request) => Err(text),
    }
}

async fn seen(stream: &Stream) -> Result<Seen, String> {
    let info = stream.cached_info().clone();
    let mut wanted = Vec::new();
    if info.config.retention == RetentionPolicy::Interest && info.state.consumer_count > 0 {
        let mut consumers = stream.consumers().take(bounds::CONSUMERS_MAX);
        while let Some(consumer) = consumers.next().await {
            let config = consumer.map_err(|error| cause(&error))?.config;
            match (config.filter_subjects, config.filter_subject) {
                (all, _) if !all.is_empty() => wanted.extend(all),
                (_, one) if !one.is_empty() => wanted.push(one),
                _ => wanted.push(">".into()),
            }
        }
    }
    Ok(Seen { info, wanted })
}

/// The innermost reason, in words that mean something to an operator.
pub(crate) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.to_string().as_str() {
        "no responders" | "requested JetStream resource does not exist" => {
            "JetStream isn't enabled there, or isn't up yet".into()
        }
        "deadline has elapsed" => "JetStream doesn't answer".into(),
        other => other.to_owned(),
    }
}

/// What an operator should know about a stream in use: how it differs from one of ours, and what it loses.
pub(crate) fn warnings(info: &Info, wanted: &Config, options: &Options) -> Vec<String> {
    let config = &info.config;
    let mut warnings = power_safety(config, options);
    let mut warn = |condition: bool, text: &str| {
        if condition {
            warnings.push(text.to_owned());
        }
    };
    warn(
        config.retention == RetentionPolicy::Interest,
        "its retention is `interest`: what is published while there is no consumer is acknowledged and stored nowhere",
    );
    let bounded = config.max_bytes > 0 || config.max_messages > 0 || config.max_messages_per_subject > 0;
    warn(
        bounded && config.discard == DiscardPolicy::Old,
        "when it is full it deletes the oldest messages, worked off or not (`discard: old`)",
    );
    warn(
        config.max_messages_per_subject > 0
            && config.discard == DiscardPolicy::New
            && !config.discard_new_per_subject,
        "it deletes the oldest messages of a subject, worked off or not (`max_msgs_per_subject`)",
    );
    warn(
        !config.max_age.is_zero() && options.max_age != Some(config.max_age),
        &format!("it deletes messages after {:?}, worked off or not (`max_age`)", config.max_age),
    );
    let certain = options.publish_deadline + Duration::from_secs(1);
    warn(
        config.duplicate_window < certain,
        &format!(
            "it remembers message ids for {:?} only; a publish that is repeated later is stored twice (`duplicate_window`)",
            config.duplicate_window
        ),
    );
    warn(
        config.retention != wanted.retention && config.retention != RetentionPolicy::Interest,
        &format!("its retention is {:?}, not {:?}", config.retention, wanted.retention),
    );
    warnings
}

/// An acknowledgement says "written", not "synced".
pub(crate) fn power_safety(config: &Config, options: &Options) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.persist_mode == Some(PersistenceMode::Async) {
        warnings.push("it acknowledges before it has written (`persist_mode: async`): a crash of the server loses acknowledged webhooks".into());
    }
    if config.storage == StorageType::Memory {
        warnings.push("it is kept in memory: a restart of its servers loses acknowledged webhooks".into());
    } else if config.num_replicas < 3 && !options.sync_always {
        warnings.push(
            "it has fewer than three replicas, and servers sync to disk every two minutes unless told otherwise: \
             a power failure may lose acknowledged webhooks; use three replicas, or `sync_interval: always` \
             (then set sync_always here), or --ack spool"
                .into(),
        );
    }
    warnings
}

/// Why a stream can't take the messages of a destination, if it can't.
pub(crate) fn unfit(seen: &Seen, filter: &str) -> Option<Unfit> {
    let config = &seen.info.config;
    let name = &config.name;
    let unfit = |is_unsafe: bool, why: String| Some(Unfit { why, is_unsafe });
    if config.no_ack {
        let why = format!(
            "stream {name} acknowledges nothing (`no_ack`), so that nothing can be confirmed; change that"
        );
        return unfit(true, why);
    }
    if config.sealed || config.mirror.is_some() {
        let what = if config.sealed { "sealed" } else { "a mirror" };
        return unfit(false, format!("stream {name} is {what}, and takes no message; use another one"));
    }
    if !subject::covers(&config.subjects, filter) {
        let subjects = config.subjects.join(", ");
        return unfit(
            false,
            format!("stream {name} takes {subjects}, not {filter}; add that to its subjects"),
        );
    }
    if config.retention == RetentionPolicy::Interest && !subject::covers(&seen.wanted, filter) {
        return unfit(
            true,
            format!(
                "stream {name} has retention `interest` and no consumer of {filter}, so it would store nothing of \
                 what no consumer wants; start a worker"
            ),
        );
    }
    None
}
