//! The queue handler: a message becomes durable when a quorum queue has confirmed it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sluiced_queue::{
    Depth, Durable, EnqueueError, Format, Health, Publishing, Receipt, WebHookQueueContext,
    WebHookQueueHandler, WebHookQueuePublisher,
};
use tokio::time::Instant;

use crate::bounds;
use crate::fault::Fault;
use crate::link::{Broker, Link, State};
use crate::message::{Message, short};
use crate::options::{Destination, Options, OptionsError, Place};
use crate::publish::{self, Route};
use crate::session::{Session, Standing};
use crate::target::Target;
use crate::topology;

/// A destination in RabbitMQ. A clone is the same destination; [`RabbitMqQueue::to`] gives another one over
/// the same connection.
#[derive(Clone)]
pub struct RabbitMqQueue {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    target: Arc<Target>,
    settings: Settings,
    /// Of the link: how many destinations aren't closed.
    open: Arc<AtomicUsize>,
    /// The lower of what is configured and what the broker has said.
    bytes_max: AtomicUsize,
}

#[derive(Clone)]
struct Settings {
    format: Format,
    declare: bool,
    delivery_limit: u32,
    bytes_max: usize,
    publish_deadline: Duration,
}

impl RabbitMqQueue {
    /// Checks the options and begins to connect. Needs a tokio runtime; returns at once. An absent broker is no
    /// error: it is tried for ever.
    ///
    /// # Errors
    /// What can't be right, and the way out.
    pub fn start(options: Options) -> Result<Self, OptionsError> {
        let link = Link::start(Broker::read(&options)?);
        let settings = Settings {
            format: options.format,
            declare: options.declare,
            delivery_limit: options.delivery_limit,
            bytes_max: options.message_bytes_max.unwrap_or(bounds::MESSAGE_BYTES_MAX),
            publish_deadline: options.publish_deadline,
        };
        let handler = options.handler.as_deref().unwrap_or("queue");
        Ok(Self::aim(link, options.place()?, handler, settings, Arc::new(AtomicUsize::new(0))))
    }

    /// Another destination over the same connection, for the handler of this name.
    ///
    /// # Errors
    /// As for [`RabbitMqQueue::start`].
    pub fn to(&self, destination: Destination, handler: &str) -> Result<Self, OptionsError> {
        let Inner { link, settings, open, .. } = &*self.inner;
        Ok(Self::aim(link.clone(), Place::read(&destination)?, handler, settings.clone(), open.clone()))
    }

    /// Where messages go, in words that stay the same over restarts and hold neither credentials nor hosts.
    pub fn destination(&self) -> String {
        self.inner.target.place.describe()
    }

    fn aim(link: Arc<Link>, place: Place, handler: &str, settings: Settings, open: Arc<AtomicUsize>) -> Self {
        let target = Target::new(place, handler, settings.declare, settings.delivery_limit);
        let (keeping, token) = (target.clone().keep(link.watch()), link.stop.clone());
        link.tasks.spawn(async move { token.run_until_cancelled_owned(keeping).await });
        open.fetch_add(1, Ordering::Relaxed);
        let bytes_max = AtomicUsize::new(settings.bytes_max);
        Self { inner: Arc::new(Inner { link, target, settings, open, bytes_max }) }
    }
}

impl Inner {
    /// A connection on which a message can be sent to the destination now.
    fn session(&self) -> Result<Arc<Session>, EnqueueError> {
        let session = match self.link.state() {
            State::Up(session) => session,
            State::Down(Fault::Refused(why)) => return Err(EnqueueError::Misconfigured(why)),
            State::Down(fault) => return Err(EnqueueError::Unavailable(fault.text())),
        };
        match session.standing() {
            Standing::Open => {}
            Standing::Blocked(why) => return Err(EnqueueError::Unavailable(format!("blocked: {why}"))),
            Standing::WornOut => {
                return Err(EnqueueError::Unavailable("the connection is being replaced".into()));
            }
            Standing::Ended(why) => return Err(EnqueueError::Unavailable(why)),
        }
        match self.target.obstacle(&session) {
            Some(obstacle) => Err(obstacle),
            None => Ok(session),
        }
    }

    async fn send(&self, message: Message, route: Route) -> Result<Receipt, EnqueueError> {
        let births = self.target.births();
        let session = self.session()?;
        let bytes = message.bytes();
        let patience = self.settings.publish_deadline;
        let Message { encoded, properties } = message;
        let deadline = Instant::now() + patience;
        let published = publish::publish(&session, &route, properties, encoded.payload, deadline).await;
        let Err(fault) = published else {
            return match self.target.births() == births {
                true => Ok(Receipt::confirmed(Durable::Broker)),
                false => Err(EnqueueError::Unavailable("the queue was created meanwhile".into())),
            };
        };
        self.target.failed(&fault);
        if let Fault::TooLarge(Some(limit)) = &fault {
            self.bytes_max.fetch_min(*limit, Ordering::Relaxed);
        }
        let deadline_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        Err(fault.into_enqueue_error(bytes, self.bytes_max(), deadline_ms))
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl WebHookQueueHandler for RabbitMqQueue {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        self.publish(context).await
    }

    fn message_bytes_max(&self) -> usize {
        self.inner.bytes_max()
    }

    fn health(&self) -> Health {
        match self.inner.session() {
            Ok(_) => Health::Ready,
            Err(EnqueueError::Unavailable(why)) => Health::NotReady(why),
            Err(error) => Health::NotReady(error.to_string()),
        }
    }

    async fn depth(&self) -> Option<Depth> {
        let Place::Queue(name) = &self.inner.target.place else { return None };
        let State::Up(session) = self.inner.link.state() else { return None };
        if session.standing() != Standing::Open {
            return None;
        }
        let messages = topology::ready(&session, name).await.ok()?;
        Some(Depth { messages, ..Depth::default() })
    }

    async fn close(&self) {
        if self.inner.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.link.close(self.inner.settings.publish_deadline).await;
        }
    }
}

impl WebHookQueuePublisher for RabbitMqQueue {
    fn encoded_bytes(&self, context: &WebHookQueueContext, as_context: &[u8]) -> usize {
        match self.inner.settings.format {
            Format::Context => as_context.len(),
            format => Message::encode(context, format, self.inner.link.frame_bytes()).bytes(),
        }
    }

    fn route(&self, context: &WebHookQueueContext) -> String {
        match &self.inner.target.place {
            Place::Exchange { routing_key, .. } if !routing_key.is_constant() => {
                routing_key.render(context, word)
            }
            Place::Exchange { .. } | Place::Queue(_) => String::new(),
        }
    }

    fn publish(&self, context: &WebHookQueueContext) -> Publishing {
        let inner = self.inner.clone();
        let message = Message::encode(context, inner.settings.format, inner.link.frame_bytes());
        let (bytes, bytes_max) = (message.bytes(), inner.bytes_max());
        if bytes > bytes_max {
            return Box::pin(async move { Err(EnqueueError::TooLarge { bytes, bytes_max }) });
        }
        let route = route(&inner.target.place, context);
        Box::pin(async move { inner.send(message, route).await })
    }
}

fn route(place: &Place, context: &WebHookQueueContext) -> Route {
    match place {
        Place::Queue(name) => Route::queue(name),
        Place::Exchange { name, routing_key } => {
            let key = routing_key.render(context, word);
            Route { exchange: short(name), routing_key: short(&key) }
        }
    }
}

/// A variable's value in a routing key. Dots stay: RabbitMQ's users write them into keys on purpose, and ids
/// with dots in them can be matched with `#`. An empty value is `_`, so that words don't shift.
fn word(value: &str) -> Cow<'_, str> {
    match value {
        "" => Cow::Borrowed("_"),
        value => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_keys_fit_into_amqp_whatever_a_sender_chose() {
        let place = Place::Exchange {
            name: "x".into(),
            routing_key: sluiced_queue::RouteTemplate::parse("{receiver}.{id}.{action}").unwrap(),
        };
        let mut context = crate::message::sample();
        let key = |context: &WebHookQueueContext| route(&place, context).routing_key.as_str().to_owned();
        assert_eq!(key(&context), "github.acme.push");
        (context.id, context.actions) = (String::new(), Vec::new());
        assert_eq!(key(&context), "github._._");
        context.actions = vec!["é".repeat(200)];
        let cut = key(&context);
        assert!(cut.len() <= 255 && cut.len() >= 254 && cut.starts_with("github._.é"), "{}", cut.len());
    }
}
