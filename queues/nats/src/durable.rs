//! The durable pull consumer that workers share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, FromConsumer, Info, PullConsumer, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{ConsumerErrorKind, Stream};
use sluiced_queue::ConsumeError;

use crate::bounds;
use crate::link::Link;
use crate::options::{Options, OptionsError};
use crate::stream;
use crate::subject;
use crate::target::Target;

/// Its name, and which messages it has.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) stream: String,
    pub(crate) name: String,
    filter: String,
    /// The differences that the log has already.
    told: Mutex<Vec<String>>,
}

impl Durable {
    pub(crate) fn of(options: &Options, target: &Target) -> Result<Self, OptionsError> {
        let filter = options.filter_subject.clone().unwrap_or_else(|| target.subject.filter.clone());
        let name = options.consumer.clone().unwrap_or_else(|| match &options.filter_subject {
            None => "sluiced".into(),
            Some(filter) => format!("sluiced-{}", filter.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
        });
        if !subject::is_name(&name) {
            return Err(OptionsError(format!(
                "`{name}` can't be a consumer's name: no white space, dots or wildcards"
            )));
        }
        Ok(Self { stream: target.stream.clone(), name, filter, told: Mutex::default() })
    }

    /// The consumer, created when it isn't there.
    pub(crate) async fn open(
        &self,
        link: &Link,
        lease: Option<Duration>,
    ) -> Result<PullConsumer, ConsumeError> {
        let request = format!("STREAM.INFO.{}\"", self.stream);
        let stream = tokio::select! {
            stream = link.jetstream.get_stream(&self.stream) => stream,
            text = link.api_denied(&request) => return Err(ConsumeError::Unavailable(text)),
        };
        let stream = stream.map_err(|error| unavailable(&self.stream, &error))?;
        match stream.consumer_info(&self.name).await {
            Ok(info) => self.usable(link, info),
            Err(error) if is_missing(&error.kind()) => {
                self.create(&stream, self.config(lease.unwrap_or(bounds::ACK_WAIT_FIRST))).await
            }
            Err(error) => Err(unavailable(&self.stream, &error)),
        }
    }

    /// Lets the server wait for as long as a lease lasts. It waits equally long for all workers: a longer lease
    /// raises that for all of them, a shorter one lowers it only while nobody else is at work.
    pub(crate) async fn wait_for(
        &self,
        link: &Link,
        consumer: PullConsumer,
        lease: Duration,
        lower: bool,
    ) -> Result<PullConsumer, ConsumeError> {
        let now = consumer.cached_info().config.ack_wait;
        if now == lease || (now > lease && !lower) {
            return Ok(consumer);
        }
        let info = consumer.get_info().await.map_err(|error| unavailable(&self.stream, &error))?;
        if info.config.ack_wait > lease && (info.num_waiting > 0 || info.num_ack_pending > 0) {
            return Ok(consumer);
        }
        let mut config = consumer.cached_info().config.clone();
        config.ack_wait = lease;
        let config = pull::Config::try_from_consumer_config(config)
            .map_err(|error| ConsumeError::Failed(self.named(&error.to_string())))?;
        let stream = link.jetstream.get_stream(&self.stream).await;
        self.create(&stream.map_err(|error| unavailable(&self.stream, &error))?, config).await
    }

    async fn create(&self, stream: &Stream, config: pull::Config) -> Result<PullConsumer, ConsumeError> {
        match stream.create_consumer(config).await {
            Ok(consumer) => Ok(consumer),
            Err(error) => Err(match error.kind() {
                ConsumerErrorKind::JetStream(error) if error.code() < 500 => {
                    ConsumeError::Failed(self.named(&explained(&error)))
                }
                _ => unavailable(&self.stream, &error),
            }),
        }
    }

    /// An existing one is used as it is, if it can be.
    fn usable(&self, link: &Link, info: Info) -> Result<PullConsumer, ConsumeError> {
        let config = pull::Config::try_from_consumer_config(info.config.clone())
            .map_err(|error| ConsumeError::Failed(self.named(&error.to_string())))?;
        if info.config.ack_policy != AckPolicy::Explicit {
            return Err(ConsumeError::Failed(
                self.named("it must have the acknowledgement policy `explicit`"),
            ));
        }
        if info.config.headers_only {
            return Err(ConsumeError::Failed(
                self.named("it hands out messages without their content (`headers_only`); change that"),
            ));
        }
        if !info.config.backoff.is_empty() {
            return Err(ConsumeError::Failed(self.named(
                "its `backoff` hands a message out again however long a worker's lease is; remove it",
            )));
        }
        self.tell(self.differences(&info));
        Ok(PullConsumer::new(config, info, link.jetstream.clone()))
    }

    fn differences(&self, info: &Info) -> Vec<String> {
        let mut differences = Vec::new();
        if info.config.max_ack_pending > 0 {
            differences.push(format!(
                "{} messages that are worked at or wait for their delay keep all others waiting (`max_ack_pending`)",
                info.config.max_ack_pending
            ));
        }
        if !info.config.inactive_threshold.is_zero() {
            differences.push(format!(
                "the server deletes it, and its counts of attempts, when nobody asks for {:?} (`inactive_threshold`)",
                info.config.inactive_threshold
            ));
        }
        if info.config.deliver_policy != DeliverPolicy::All {
            differences.push("it leaves out messages that were there before it (`deliver_policy`)".into());
        }
        if info.config.max_deliver > 0 {
            differences.push(format!(
                "the server stops handing out a message after {} times, without a dead letter (`max_deliver`)",
                info.config.max_deliver
            ));
        }
        let filter = match info.config.filter_subjects.join(", ") {
            several if !several.is_empty() => several,
            _ => info.config.filter_subject.clone(),
        };
        if filter != self.filter {
            differences.push(format!("it has the messages of `{filter}`, not of `{}`", self.filter));
        }
        differences
    }

    /// Each difference once, until it no longer holds.
    fn tell(&self, differences: Vec<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for difference in differences.iter().filter(|difference| !told.contains(difference)) {
            tracing::warn!(backend = "nats", stream = %self.stream, consumer = %self.name, %difference, "consumer differs");
        }
        *told = differences;
    }

    fn config(&self, ack_wait: Duration) -> pull::Config {
        pull::Config {
            durable_name: Some(self.name.clone()),
            description: Some("The workers of sluiced".into()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            // Workers count, and write dead letters with the reason.
            max_deliver: -1,
            filter_subject: self.filter.clone(),
            // A message that waits for its delay counts too: a bound would let failing ones stop the others.
            max_ack_pending: -1,
            ..pull::Config::default()
        }
    }

    fn named(&self, why: &str) -> String {
        format!("consumer {} of stream {}: {why}", self.name, self.stream)
    }
}

fn is_missing(kind: &ConsumerInfoErrorKind) -> bool {
    match kind {
        ConsumerInfoErrorKind::NotFound => true,
        ConsumerInfoErrorKind::JetStream(error) => error.error_code() == ErrorCode::CONSUMER_NOT_FOUND,
        _ => false,
    }
}

fn explained(error: &async_nats::jetstream::Error) -> String {
    match error.error_code() {
        ErrorCode::CONSUMER_WQ_CONSUMER_NOT_UNIQUE | ErrorCode::CONSUMER_WQ_MULTIPLE_UNFILTERED => format!(
            "{error}; in a work-queue stream each subject has one consumer: name it with `consumer`, or give each \
             worker a `filter_subject` that overlaps with no other"
        ),
        _ => error.to_string(),
    }
}

pub(crate) fn unavailable(stream: &str, error: &dyn std::error::Error) -> ConsumeError {
    ConsumeError::Unavailable(format!("stream {stream}: {}", stream::cause(error)))
}
