//! A worker's side: messages under leases, retries, and what is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lapin::{BasicProperties, Consumer};
use sluiced_queue::{Backlog, ConsumeError, LeasedMessage, WebHookQueueConsumer};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::bounds;
use crate::channel::OwnChannel;
use crate::delay::{self, Wait};
use crate::fault::Fault;
use crate::headers::{Letter, expiration};
use crate::intake::Intake;
use crate::lease::{Lease, Leases, Together};
use crate::link::Broker;
use crate::marker;
use crate::message::short;
use crate::options::Options;
use crate::publish::{self, Route};
use crate::session::{Session, Standing};
use crate::topology::{self, Found, dead_name};
use crate::young::Young;

/// Takes messages out of a queue. A clone shares the connection and the leases.
///
/// A lease is an unacknowledged delivery: it has no end of its own, and is lost with its channel, when the worker
/// dies, the connection breaks, or the broker's `consumer_timeout` (30 minutes unless configured) has passed. The
/// durations of `receive` and `extend` say nothing here.
#[derive(Clone)]
pub struct RabbitMqConsumer {
    inner: Arc<Inner>,
}

struct Inner {
    broker: Broker,
    queue: String,
    declare: bool,
    publish_deadline: Duration,
    session: Mutex<Option<Arc<Session>>>,
    /// Whether other workers can be shown that there are messages in hand.
    marking: AtomicBool,
    leases: Leases,
    young: Young,
}

impl RabbitMqConsumer {
    /// Connects, and looks for the queue.
    ///
    /// # Errors
    /// [`ConsumeError::Unavailable`] while broker or queue are absent; [`ConsumeError::Failed`] when the options
    /// can't be right or the credentials are refused. Once connected, all of these are `Unavailable`.
    pub async fn connect(options: Options) -> Result<Self, ConsumeError> {
        let broker = Broker::read(&options).map_err(|error| ConsumeError::Failed(error.to_string()))?;
        let inner = Inner {
            broker,
            queue: options.queue_name,
            declare: options.declare,
            publish_deadline: options.publish_deadline,
            session: Mutex::default(),
            marking: AtomicBool::new(false),
            leases: Leases::default(),
            young: Young::default(),
        };
        match inner.look().await {
            Ok(()) => Ok(Self { inner: Arc::new(inner) }),
            Err(Fault::Refused(why)) => Err(ConsumeError::Failed(why)),
            Err(fault) => Err(fault.into_consume_error()),
        }
    }
}

impl Inner {
    async fn look(&self) -> Result<(), Fault> {
        let session = self.session().await?;
        topology::ready(&session, &self.queue).await.map(|_| ())
    }

    /// The connection, or a new one where it has ended.
    async fn session(&self) -> Result<Arc<Session>, Fault> {
        // Somebody else may be connecting, in vain.
        let current = timeout(bounds::CALL_DEADLINE, self.session.lock()).await;
        let mut current = current.map_err(|_| Fault::Late)?;
        let before = current.take_if(|session| !session.is_of_use());
        if let Some(session) = &*current {
            return Ok(session.clone());
        }
        // One that is only worn out lives on with its leases, and is nobody's news.
        let worn_out = before.as_ref().is_some_and(|session| session.standing() == Standing::WornOut);
        if let Some(Standing::Ended(why)) = before.as_ref().map(|session| session.standing()) {
            warn!(
                backend = "rabbitmq",
                address = before.map(|s| s.address().to_owned()),
                why,
                retry = true,
                "broker lost"
            );
        }
        let began = Instant::now();
        let session = self.broker.open("sluiced work").await.map_err(|(_, fault)| fault)?;
        let marking = match self.declare {
            true => marker::ensure(&session, &self.queue).await,
            false => marker::count(&session, &self.queue).await.map(|count| count.is_some()),
        };
        self.marking.store(marking?, Ordering::Relaxed);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if !worn_out {
            info!(backend = "rabbitmq", address = session.address(), took_ms, "broker connected");
        }
        *current = Some(session.clone());
        Ok(session)
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<LeasedMessage>, Fault> {
        let session = self.session().await?;
        let channel = OwnChannel::open(&session).await?;
        let mut intake = Intake::begin(channel.get(), &self.queue, max).await?;
        let come = !wait.is_zero() && intake.has_come(wait).await?;
        // At once, so that nobody takes the queue for empty meanwhile.
        let mut marker = if come { self.show(&channel).await? } else { None };
        let taken = intake.end().await?;
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        if !come {
            marker = self.show(&channel).await?;
        }
        Ok(self.leases.give(Together { channel, marker }, taken))
    }

    /// Shows others that there are messages on this channel.
    async fn show(&self, channel: &OwnChannel) -> Result<Option<Consumer>, Fault> {
        if !self.marking.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let shown = marker::show(channel.get(), &self.queue).await;
        // Somebody has deleted the queue for it. That costs the channel, and what is on it comes back; once.
        self.marking.store(shown.is_ok(), Ordering::Relaxed);
        shown.map(Some)
    }

    /// Publishes a message once more. Confirmed on return: only then may the one in hand be acknowledged.
    async fn publish(
        &self,
        route: &Route,
        properties: BasicProperties,
        letter: &Letter,
    ) -> Result<(), Fault> {
        let session = self.session().await?;
        let deadline = Instant::now() + self.publish_deadline;
        publish::publish(&session, route, properties, letter.data.clone(), deadline).await
    }

    /// To where it came from, or to where it waits first. `false`: the queue is full, and it must go back into it.
    async fn publish_again(
        &self,
        lease: &Lease,
        delay: Duration,
        attempts: u32,
    ) -> Result<bool, ConsumeError> {
        let letter = &lease.letter;
        let again = letter.again(attempts);
        if delay.is_zero() {
            return match self.publish(&Route::queue(&self.queue), again, letter).await {
                Ok(()) => Ok(true),
                Err(Fault::Nacked) => Ok(false),
                Err(fault) => Err(fault.into_consume_error()),
            };
        }
        let wait = Wait::new(&self.queue, delay);
        let route = Route::queue(&wait.queue);
        let again = again.with_expiration(expiration(wait.ms));
        self.young.settled(&wait.queue).await;
        let published = match self.publish(&route, again.clone(), letter).await {
            Err(Fault::Missing(_)) if self.declare => {
                self.create(&wait.queue, Some(&wait)).await.map_err(Fault::into_consume_error)?;
                self.publish(&route, again, letter).await
            }
            Err(Fault::Missing(_)) => {
                let todo = "is missing, and declare = false: create it as the README says";
                return Err(ConsumeError::Failed(format!("the queue {} {todo}", wait.queue)));
            }
            other => other,
        };
        published.map_err(Fault::into_consume_error)?;
        // Another call may have created it while this one's message was on its way.
        self.young.settled(&wait.queue).await;
        Ok(true)
    }

    /// Creates a queue that is missing, to wait in or for dead letters, and lets it settle.
    async fn create(&self, queue: &str, wait: Option<&Wait>) -> Result<(), Fault> {
        let session = self.session().await?;
        let (mut found, birth) = (Found::default(), || self.young.begin(queue));
        let created = match wait {
            Some(wait) => {
                topology::ensure_queue(&session, queue, wait.arguments(), true, &mut found, &birth).await
            }
            None => topology::ensure_dead(&session, &self.queue, &mut found, &birth).await,
        };
        self.young.is_there(queue);
        created?;
        self.young.settled(queue).await;
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, Fault> {
        let session = self.session().await?;
        // In the order in which a message goes from one to the next, so that none is overlooked on its way.
        let mut delayed = 0;
        for queue in delay::queues(&self.queue) {
            delayed += match topology::ready(&session, &queue).await {
                Err(Fault::Missing(_)) => 0,
                other => other?,
            };
        }
        let visible = topology::ready(&session, &self.queue).await?;
        let (own, own_channels) = self.leases.count();
        let channels = marker::count(&session, &self.queue).await?.unwrap_or(own_channels);
        Ok(Backlog { visible, leased: own + channels.saturating_sub(own_channels), delayed })
    }
}

#[async_trait]
impl WebHookQueueConsumer for RabbitMqConsumer {
    async fn receive(
        &self,
        max: usize,
        _lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedMessage>, ConsumeError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        self.inner.receive(max, wait).await.map_err(Fault::into_consume_error)
    }

    async fn acknowledge(&self, message: &LeasedMessage) -> Result<(), ConsumeError> {
        let inner = &self.inner;
        let lease = inner.leases.of(message)?;
        let done = lease.acknowledge().await;
        inner.leases.end(message, lease).await;
        done
    }

    async fn release(
        &self,
        message: &LeasedMessage,
        delay: Duration,
        failed: bool,
    ) -> Result<(), ConsumeError> {
        let inner = &self.inner;
        let lease = inner.leases.of(message)?;
        let attempts = if failed { message.attempt } else { message.attempt.saturating_sub(1) };
        let done = match inner.publish_again(&lease, delay, attempts).await? {
            true => lease.acknowledge().await,
            false => lease.put_back().await,
        };
        inner.leases.end(message, lease).await;
        done
    }

    async fn extend(&self, message: &LeasedMessage, _lease: Duration) -> Result<(), ConsumeError> {
        self.inner.leases.of(message).map(|_| ())
    }

    async fn dead_letter(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        let inner = &self.inner;
        let lease = inner.leases.of(message)?;
        let letter = &lease.letter;
        let place = dead_name(&inner.queue);
        let route = Route { exchange: short(&place), routing_key: letter.routing_key() };
        let dead = letter.dead(&inner.queue, reason, message.attempt);
        inner.young.settled(&place).await;
        match inner.publish(&route, dead.clone(), letter).await {
            Err(Fault::Missing(_)) if inner.declare => {
                inner.create(&place, None).await.map_err(Fault::into_consume_error)?;
                inner.publish(&route, dead, letter).await.map_err(Fault::into_consume_error)?;
            }
            other => other.map_err(Fault::into_consume_error)?,
        }
        inner.young.settled(&place).await;
        let done = lease.acknowledge().await;
        inner.leases.end(message, lease).await;
        done
    }

    async fn backlog(&self) -> Result<Backlog, ConsumeError> {
        let mut looks = 1;
        loop {
            let backlog = self.inner.backlog().await.map_err(Fault::into_consume_error)?;
            if !backlog.is_empty() || looks == bounds::EMPTY_LOOKS {
                return Ok(backlog);
            }
            looks += 1;
            sleep(bounds::EMPTY_PAUSE).await;
        }
    }
}
