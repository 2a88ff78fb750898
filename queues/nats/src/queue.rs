//! Makes webhooks durable in a JetStream stream.

use std::sync::Arc;

use async_trait::async_trait;
use sluiced_queue::{
    Durable, EnqueueError, Format, Health, Publishing, Receipt, WebHookQueueContext, WebHookQueueHandler,
    WebHookQueuePublisher, format,
};

use crate::bounds;
use crate::headers;
use crate::options::{Destination, Options, OptionsError};
use crate::post::{self, InFlight, Letter, Pace};
use crate::settings::Settings;
use crate::supervisor::{Connection, Status};
use crate::target::{Readiness, Target, Targets};

/// Publishes to one destination. A clone shares everything; [`NatsQueue::to`] shares the connection.
#[derive(Clone, Debug)]
pub struct NatsQueue {
    shared: Arc<Shared>,
    target: Arc<Target>,
    /// Ends the message ids of a handler other than the default one.
    handler: Option<String>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    targets: Arc<Targets>,
    in_flight: InFlight,
    options: Options,
}

impl NatsQueue {
    /// Begins to connect, and goes on for ever; returns at once. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the options can't be meant so.
    pub fn start(options: Options) -> Result<Self, OptionsError> {
        let settings = Settings::of(&options)?;
        options.handler.as_deref().map_or(Ok(()), named)?;
        let target = Arc::new(Target::of(&options, &Destination::default())?);
        let targets = Arc::new(Targets::default());
        targets.add(&target);
        let connection = Connection::start(settings, targets.clone());
        let handler = options.handler.clone();
        let shared = Shared { connection, targets, in_flight: InFlight::new(), options };
        Ok(Self { shared: Arc::new(shared), target, handler })
    }

    /// The same connection, another destination. `handler` ends its message ids, so that what one webhook
    /// brings to two destinations of one stream is stored twice.
    ///
    /// # Errors
    /// When the destination can't be meant so.
    pub fn to(&self, destination: Destination, handler: &str) -> Result<Self, OptionsError> {
        named(handler)?;
        let target = Arc::new(Target::of(&self.shared.options, &destination)?);
        self.shared.targets.add(&target);
        Ok(Self { shared: self.shared.clone(), target, handler: Some(handler.to_owned()) })
    }

    /// Where messages go, without credentials or host: `stream WEBHOOKS, subject webhooks.{receiver}.{id}.{action}`.
    pub fn destination(&self) -> String {
        format!("stream {}, subject {}", self.target.stream, self.target.subject.as_str())
    }

    fn letter(&self, context: &WebHookQueueContext) -> Result<Letter, EnqueueError> {
        let letter = self.encode(context, self.shared.options.format);
        if headers::wire_len(&letter.headers) <= bounds::HEADERS_MAX {
            return self.fitting(letter);
        }
        match self.shared.options.format {
            // Structured mode has no headers, and whoever reads the one mode reads the other.
            Format::CloudEvents => {
                let event = context.encode_as(Format::CloudEvents);
                self.fitting(self.address(context, &event))
            }
            Format::Context | Format::Raw => {
                let bytes = headers::wire_len(&letter.headers);
                Err(EnqueueError::TooLarge { bytes, bytes_max: bounds::HEADERS_MAX })
            }
        }
    }

    fn encode(&self, context: &WebHookQueueContext, format: Format) -> Letter {
        self.address(context, &context.encode_for_headers(format, format::NATS_PREFIX))
    }

    fn address(&self, context: &WebHookQueueContext, encoded: &format::Encoded) -> Letter {
        let id = match &self.handler {
            None => context.message_id.to_string(),
            Some(handler) => format!("{}/{handler}", context.message_id),
        };
        let own =
            [(headers::MESSAGE_ID, id.as_str()), (headers::EXPECTED_STREAM, self.target.stream.as_str())];
        let content_type = encoded.content_type.as_deref().map(|value| (headers::CONTENT_TYPE, value));
        let form = encoded.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Letter {
            stream: self.target.stream.clone(),
            subject: self.target.subject.render(context),
            headers: headers::map(form.chain(content_type).chain(own)),
            payload: encoded.payload.clone(),
        }
    }

    fn fitting(&self, letter: Letter) -> Result<Letter, EnqueueError> {
        // A limit that the server has not told is no reason to refuse: it may have been raised.
        let Ok(link) = self.shared.connection.link() else { return Ok(letter) };
        let bytes_max = self.target.bytes_max(&link);
        match letter.bytes() {
            bytes if bytes > bytes_max => Err(EnqueueError::TooLarge { bytes, bytes_max }),
            _ => Ok(letter),
        }
    }

    /// What a stream does with a message isn't known before it has been looked at.
    async fn look(&self) -> Result<(), EnqueueError> {
        let patience = bounds::FIRST_LOOK.min(self.shared.options.publish_deadline);
        match self.target.readiness_known(patience).await {
            Readiness::Unseen => {
                Err(EnqueueError::Unavailable(format!("stream {} isn't known yet", self.target.stream)))
            }
            Readiness::Unsafe(why) => Err(EnqueueError::Unroutable(why)),
            Readiness::Ready | Readiness::Missing(_) => Ok(()),
        }
    }

    async fn send(self, letter: Letter, dedupe: bool) -> Result<Receipt, EnqueueError> {
        let connected = self.shared.connection.link().is_ok();
        match self.target.readiness() {
            Readiness::Unseen if connected => self.look().await?,
            Readiness::Unsafe(why) => return Err(EnqueueError::Unroutable(why)),
            _ => {}
        }
        let _room = self.shared.in_flight.enter(letter.bytes())?;
        let options = &self.shared.options;
        let pace = Pace { ack_timeout: options.ack_timeout, deadline: options.publish_deadline };
        match post::send(&self.shared.connection, &letter, pace).await {
            Ok(stored) if stored.duplicate && dedupe => Ok(Receipt::of_duplicate(Durable::Broker)),
            Ok(_) => Ok(Receipt::confirmed(Durable::Broker)),
            Err(error) => {
                if matches!(error, EnqueueError::Unroutable(_) | EnqueueError::Misconfigured(_)) {
                    self.shared.targets.look_now();
                }
                Err(error)
            }
        }
    }
}

/// Its name ends message ids, without which nothing would be stored once. One that ends them as a retry out of
/// dead letters does would make a duplicate of that, which is stored nowhere.
fn named(handler: &str) -> Result<(), OptionsError> {
    let is_plain = !handler.is_empty() && handler.len() <= bounds::NAME_BYTES && headers::is_value(handler);
    if is_plain && !handler.contains('/') && !handler.starts_with("retry-") && !handler.starts_with("dead-") {
        return Ok(());
    }
    Err(OptionsError(format!("`{}` can't be a handler's name; use a short word", handler.escape_debug())))
}

#[async_trait]
impl WebHookQueueHandler for NatsQueue {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        self.publish(context).await
    }

    fn message_bytes_max(&self) -> usize {
        let options = &self.shared.options;
        let told = match (self.shared.connection.link(), options.message_bytes_max) {
            (Ok(link), _) => self.target.bytes_max(&link),
            // This is what it said of itself here, the last time.
            (Err(_), Some(known)) => return known,
            (Err(_), None) => bounds::MAX_PAYLOAD - bounds::DEAD_RESERVE,
        };
        told.saturating_sub(bounds::HEADER_RESERVE)
    }

    fn health(&self) -> Health {
        let link = match &*self.shared.connection.status.borrow() {
            Status::Up(link) => link.clone(),
            other => match other.link() {
                Ok(_) => return Health::Ready,
                Err(down) => return Health::NotReady(down.why),
            },
        };
        if let Some(text) = link.denied(self.target.subject.filter.trim_end_matches('>')) {
            return Health::NotReady(text);
        }
        match self.target.readiness() {
            Readiness::Ready => Health::Ready,
            Readiness::Unseen => Health::NotReady(format!("stream {} isn't known yet", self.target.stream)),
            Readiness::Missing(why) | Readiness::Unsafe(why) => Health::NotReady(why),
        }
    }

    async fn close(&self) {
        let _ = tokio::time::timeout(bounds::CLOSE_DEADLINE, self.shared.in_flight.empty()).await;
        self.shared.connection.close().await;
    }
}

impl WebHookQueuePublisher for NatsQueue {
    /// Headers included, less what [`WebHookQueueHandler::message_bytes_max`] leaves out for them.
    fn encoded_bytes(&self, context: &WebHookQueueContext, _as_context: &[u8]) -> usize {
        self.encode(context, self.shared.options.format).bytes().saturating_sub(bounds::HEADER_RESERVE)
    }

    fn route(&self, context: &WebHookQueueContext) -> String {
        self.target.subject.render(context)
    }

    fn publish(&self, context: &WebHookQueueContext) -> Publishing {
        let letter = self.letter(context);
        let dedupe = context.dedupe_for.is_some();
        let this = self.clone();
        Box::pin(async move { this.send(letter?, dedupe).await })
    }
}
