//! A worker's side: messages out of the stream, each under a lease.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_trait::async_trait;
use sluiced_queue::{Backlog, ConsumeError, EnqueueError, LeasedMessage, WebHookQueueConsumer};

use crate::bounds;
use crate::durable::{Durable, unavailable};
use crate::headers;
use crate::lease::{Held, Leases};
use crate::letters::{Deceased, Morgue};
use crate::link::Link;
use crate::options::{Destination, Options};
use crate::post::{self, Pace};
use crate::pull;
use crate::settings::Settings;
use crate::supervisor::Connection;
use crate::target::{Target, Targets};
use crate::verdict;

/// Takes messages out of a stream through its durable consumer, which all workers share. A clone shares the
/// connection.
///
/// A lease is the server's: a worker that dies just leaves its messages, which come back when it ends. The
/// server counts every delivery; those that were released as not begun are taken off again by the worker that
/// released them, and count for others.
#[derive(Clone, Debug)]
pub struct NatsConsumer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    durable: Durable,
    morgue: Morgue,
    pace: Pace,
    leases: Mutex<Leases>,
    open: Mutex<Option<Open>>,
}

/// The consumer as it was found on a connection.
#[derive(Clone, Debug)]
struct Open {
    link: Arc<Link>,
    consumer: PullConsumer,
    seen: Instant,
    /// This worker has asked for a lease on it.
    leased: bool,
}

impl NatsConsumer {
    /// Connects, and creates the durable consumer when it is missing. Of the options, the publisher's ones
    /// matter for dead letters.
    ///
    /// # Errors
    /// `Unavailable` while there is no server or no stream; `Failed` when the options can't be meant so, or the
    /// consumer can't be used.
    pub async fn connect(options: Options) -> Result<Self, ConsumeError> {
        let wrong = |error: crate::OptionsError| ConsumeError::Failed(error.to_string());
        let settings = Settings::of(&options).map_err(wrong)?;
        let target = Target::of(&options, &Destination::default()).map_err(wrong)?;
        let shared = Shared {
            connection: Connection::start_for_first(settings, Arc::new(Targets::default())),
            durable: Durable::of(&options, &target).map_err(wrong)?,
            morgue: Morgue::of(&options, &target),
            pace: Pace { ack_timeout: options.ack_timeout, deadline: bounds::SETTLE_DEADLINE },
            leases: Mutex::default(),
            open: Mutex::default(),
        };
        let this = Self { shared: Arc::new(shared) };
        let deadline = tokio::time::Instant::now() + bounds::CHECK_DEADLINE;
        let link = this.shared.connection.first(deadline).await;
        let link = link.map_err(|down| ConsumeError::Unavailable(down.why))?;
        Box::pin(this.consumer(&link, None)).await?;
        Ok(this)
    }

    /// The consumer on this connection, waiting for as long as the lease lasts.
    async fn consumer(
        &self,
        link: &Arc<Link>,
        lease: Option<Duration>,
    ) -> Result<PullConsumer, ConsumeError> {
        let is_fresh =
            |open: &Open| Arc::ptr_eq(&open.link, link) && open.seen.elapsed() < bounds::CONSUMER_FRESH;
        let known = self.open().clone();
        let leased = known.as_ref().is_some_and(|open| open.leased);
        let known = known.filter(is_fresh);
        let mut open = match known {
            Some(open) => open,
            None => {
                let consumer = self.shared.durable.open(link, lease).await?;
                Open { link: link.clone(), consumer, seen: Instant::now(), leased }
            }
        };
        if let Some(lease) = lease {
            let lease = lease.min(bounds::LEASE_MAX);
            open.consumer = self.shared.durable.wait_for(link, open.consumer, lease, !open.leased).await?;
            open.leased = true;
        }
        let consumer = open.consumer.clone();
        *self.open() = Some(open);
        Ok(consumer)
    }

    fn link(&self) -> Result<Arc<Link>, ConsumeError> {
        self.shared.connection.link().map_err(|down| ConsumeError::Unavailable(down.why))
    }

    /// Sends a verdict on a message whose lease stands.
    async fn settle(&self, message: &LeasedMessage, verdict: AckKind) -> Result<Held, ConsumeError> {
        let held = self.held(message)?;
        verdict::send(&self.shared.connection, &held, verdict).await?;
        Ok(held)
    }

    fn held(&self, message: &LeasedMessage) -> Result<Held, ConsumeError> {
        self.leases().get(message.lease).cloned().ok_or(ConsumeError::LeaseLost)
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.shared.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn bury(&self, held: &Held, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        let Shared { connection, morgue, durable, pace, .. } = &*self.shared;
        let link = self.link()?;
        morgue.prepare(&link).await.map_err(ConsumeError::Unavailable)?;
        let mut dead = Deceased {
            stream: &durable.stream,
            sequence: held.sequence,
            stored_at: held.stored_at,
            subject: &held.subject,
            headers: held.headers.as_ref(),
            attempts: message.attempt,
            reason,
        };
        let mut sent = post::send(connection, &morgue.letter(&dead, message.message.clone()), *pace).await;
        if matches!(sent, Err(EnqueueError::TooLarge { .. })) {
            // Somebody else's message, which leaves no room for ours; better without a reason than never.
            dead.reason = "";
            sent = post::send(connection, &morgue.letter(&dead, message.message.clone()), *pace).await;
        }
        sent.map(drop).map_err(|error| {
            morgue.doubt();
            ConsumeError::Unavailable(format!("stream {}: {error}", morgue.stream))
        })
    }
}

#[async_trait]
impl WebHookQueueConsumer for NatsConsumer {
    async fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedMessage>, ConsumeError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        self.leases().prune();
        let link = self.link()?;
        let consumer = self.consumer(&link, Some(lease)).await?;
        let messages = tokio::select! {
            messages = pull::messages(&consumer, max, wait) => messages,
            () = link.lost.cancelled() => Err("the connection is lost".into()),
        };
        let messages = messages.map_err(|why| {
            // The consumer may be gone: it is looked for again the next time.
            *self.open() = None;
            ConsumeError::Unavailable(format!("stream {}: {why}", self.shared.durable.stream))
        })?;
        let mut leases = self.leases();
        Ok(messages.into_iter().filter_map(|taken| lease_out(&mut leases, taken, lease)).collect())
    }

    async fn acknowledge(&self, message: &LeasedMessage) -> Result<(), ConsumeError> {
        self.settle(message, AckKind::Ack).await?;
        self.leases().done(message.lease);
        Ok(())
    }

    async fn release(
        &self,
        message: &LeasedMessage,
        delay: Duration,
        failed: bool,
    ) -> Result<(), ConsumeError> {
        let verdict = AckKind::Nak(Some(delay).filter(|delay| !delay.is_zero()));
        self.settle(message, verdict).await?;
        self.leases().release(message.lease, Instant::now() + delay.min(bounds::LEASE_MAX), failed);
        Ok(())
    }

    async fn extend(&self, message: &LeasedMessage, lease: Duration) -> Result<(), ConsumeError> {
        self.held(message)?;
        let link = self.link()?;
        self.consumer(&link, Some(lease)).await?;
        let began = Instant::now();
        self.settle(message, AckKind::Progress).await?;
        self.leases().extend(message.lease, end_of(began, lease));
        Ok(())
    }

    async fn dead_letter(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        let held = self.held(message)?;
        self.bury(&held, message, reason).await?;
        // It is a dead letter now. If this comes too late, whoever has the message next will find that too.
        verdict::send(&self.shared.connection, &held, AckKind::Ack).await?;
        self.leases().done(message.lease);
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, ConsumeError> {
        let link = self.link()?;
        let consumer = self.consumer(&link, None).await?;
        let info = tokio::select! {
            info = consumer.get_info() => info,
            () = link.lost.cancelled() => return Err(ConsumeError::Unavailable("the connection is lost".into())),
        };
        let info = info.map_err(|error| {
            *self.open() = None;
            unavailable(&self.shared.durable.stream, &error)
        })?;
        // The server counts what waits for its delay among the leased; what this worker knows of is told apart.
        let (delayed, due) = self.leases().given_back();
        let out = info.num_ack_pending as u64;
        let delayed = delayed.min(out);
        let due = due.min(out - delayed);
        Ok(Backlog { visible: info.num_pending + due, leased: out - delayed - due, delayed })
    }
}

/// Enters a message that the server has handed out.
fn lease_out(leases: &mut Leases, taken: pull::Taken, lease: Duration) -> Option<LeasedMessage> {
    let pull::Taken { message, at } = taken;
    let (sequence, stored_at, delivered) = {
        let info = message.info().ok()?;
        let delivered = u32::try_from(info.delivered).unwrap_or(u32::MAX);
        (info.stream_sequence, info.published.unix_timestamp_nanos(), delivered)
    };
    let message = message.message;
    let held = Held {
        verdict: message.reply?,
        sequence,
        stored_at,
        subject: message.subject,
        headers: message.headers.clone(),
        until: end_of(at, lease),
    };
    let (lease, attempt) = leases.enter(held, delivered);
    Some(LeasedMessage {
        message: message.payload,
        headers: headers::of_form(message.headers.as_ref()),
        attempt,
        tag: sequence,
        lease,
    })
}

/// When a lease ends for its worker: a little before the server thinks so.
fn end_of(began: Instant, lease: Duration) -> Instant {
    let lease = lease.min(bounds::LEASE_MAX);
    began + lease.saturating_sub(bounds::LEASE_MARGIN.min(lease / 10))
}
