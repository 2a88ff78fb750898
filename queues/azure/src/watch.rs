//! Whether the queue takes messages: what `/readyz` is told, the few lines in the log, and the probe.
//!
//! HTTP has no connection whose loss one would see. So a send that fails makes the queue not ready, and from then
//! on a probe asks for the queue's properties about once a second until somebody answers. A send that hangs makes
//! the probe ask too.
//!
//! Throttling isn't failure: the queue takes messages, only not so many. It stays ready and the log says so.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use sluiced_queue::Health;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bounds;
use crate::fault::{Fault, Kind};
use crate::service::Queue;

/// The state of one queue.
pub(crate) struct Watch {
    /// Host and port.
    address: String,
    queue: String,
    /// The queue handler, for the log.
    handler: String,
    state: Mutex<State>,
    suspicion: Notify,
}

struct State {
    health: Health,
    /// What the log said last, so that it says nothing twice.
    logged: Logged,
    /// When we began to look for it.
    since: Instant,
    /// The last send that wasn't permitted.
    not_permitted: Option<Instant>,
    /// A send failed since, in a way that a probe, which reads, need not find out: it makes the queue ready, and
    /// only a stored message makes that news.
    doubted: bool,
    throttled: Option<Instant>,
}

/// What is said of a queue in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logged {
    Nothing,
    Connected,
    Lost,
    Refused,
    Missing,
}

impl Watch {
    pub(crate) fn new(address: &str, queue: &str, handler: &str) -> Self {
        let state = State {
            health: Health::NotReady("not connected yet".into()),
            logged: Logged::Nothing,
            since: Instant::now(),
            not_permitted: None,
            doubted: false,
            throttled: None,
        };
        Self {
            address: address.to_owned(),
            queue: queue.to_owned(),
            handler: handler.to_owned(),
            state: Mutex::new(state),
            suspicion: Notify::new(),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.state().health.clone()
    }

    /// A message was stored.
    pub(crate) fn stored(&self) {
        let mut state = self.state();
        state.not_permitted = None;
        state.doubted = false;
        if state.throttled.is_some_and(|last| last.elapsed() > bounds::THROTTLED_QUIET) {
            state.throttled = None;
            tracing::info!(backend = "azure", address = self.address, queue = self.queue, "broker unblocked");
        }
        self.ready(&mut state);
    }

    /// A send ended in a failure that says something of the queue. Those of the message itself change nothing.
    pub(crate) fn failed(&self, fault: &Fault) {
        let mut state = self.state();
        match fault.kind {
            Kind::Throttled => self.throttled(&mut state, fault),
            Kind::Late => {}
            Kind::LeaseLost | Kind::TooLarge | Kind::QueueExists | Kind::Rejected => return,
            Kind::NotPermitted => {
                state.not_permitted = Some(Instant::now());
                self.down(&mut state, fault);
            }
            Kind::ServerError | Kind::Broken => {
                state.doubted = true;
                self.down(&mut state, fault);
            }
            _ => self.down(&mut state, fault),
        }
        drop(state);
        if fault.kind != Kind::Throttled {
            self.suspect();
        }
    }

    /// Something takes too long: the probe is to look.
    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Azure asked for fewer requests, on a try that will be repeated.
    pub(crate) fn slowed(&self, fault: &Fault) {
        self.throttled(&mut self.state(), fault);
    }

    /// A probe was answered. It reads, so after a send that wasn't permitted it proves nothing; then a send is let
    /// through once in a while.
    fn answered(&self) -> bool {
        let mut state = self.state();
        match state.not_permitted {
            Some(at) if at.elapsed() < bounds::REFUSED_PAUSE => return false,
            Some(_) => state.health = Health::Ready,
            None if state.doubted => state.health = Health::Ready,
            None => self.ready(&mut state),
        }
        true
    }

    /// A probe wasn't answered, or with no.
    fn unanswered(&self, fault: &Fault) {
        let mut state = self.state();
        state.doubted = false;
        self.down(&mut state, fault);
    }

    fn ready(&self, state: &mut State) {
        if state.logged != Logged::Connected {
            state.logged = Logged::Connected;
            tracing::info!(
                backend = "azure",
                address = self.address,
                queue = self.queue,
                handler = self.handler,
                took_ms = millis(state.since.elapsed()),
                "broker connected"
            );
        }
        state.health = Health::Ready;
    }

    fn down(&self, state: &mut State, fault: &Fault) {
        if state.health == Health::Ready {
            state.since = Instant::now();
        }
        state.health = Health::NotReady(fault.text.clone());
        let now = match fault.kind {
            Kind::Refused | Kind::NotPermitted => Logged::Refused,
            Kind::NoQueue | Kind::BeingDeleted => Logged::Missing,
            _ => Logged::Lost,
        };
        if std::mem::replace(&mut state.logged, now) != now {
            self.log(now, &fault.text);
        }
    }

    fn log(&self, now: Logged, why: &str) {
        let (backend, address, queue, handler) = ("azure", &*self.address, &*self.queue, &*self.handler);
        match now {
            Logged::Refused => tracing::error!(backend, address, queue, handler, why, "credentials refused"),
            Logged::Missing => {
                let way_out =
                    format!("create it (az storage queue create --name {queue}), or let it be created");
                tracing::warn!(backend, address, queue, handler, why, way_out, "destination missing");
            }
            Logged::Lost => {
                tracing::warn!(backend, address, queue, handler, why, retry = true, "broker lost");
            }
            Logged::Nothing | Logged::Connected => {}
        }
    }

    fn throttled(&self, state: &mut State, fault: &Fault) {
        if state.throttled.replace(Instant::now()).is_none() {
            tracing::warn!(
                backend = "azure",
                address = self.address,
                queue = self.queue,
                why = fault.text,
                "broker blocked"
            );
        }
    }

    /// The lock is held for a few assignments and a line in the log.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for the queue at first and whenever something is wrong, until it answers; creates it if it is missing and
/// that is wanted. Ends with `stop`.
pub(crate) async fn run(watch: Arc<Watch>, queue: Arc<Queue>, declare: bool, stop: CancellationToken) {
    let looking = async {
        loop {
            look(&watch, &queue, declare).await;
            watch.suspicion.notified().await;
        }
    };
    // Nothing is lost with a probe.
    let _ = stop.run_until_cancelled(looking).await;
}

async fn look(watch: &Watch, queue: &Queue, declare: bool) {
    let mut pauses = pauses();
    loop {
        match probe(queue, declare).await {
            Ok(()) if watch.answered() => return,
            Ok(()) => {}
            Err(fault) => watch.unanswered(&fault),
        }
        tokio::time::sleep(pauses.next().unwrap_or(bounds::PROBE_PAUSE_MAX)).await;
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(bounds::PROBE_PAUSE_FIRST)
        .with_max_delay(bounds::PROBE_PAUSE_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Whether the queue is there.
async fn probe(queue: &Queue, declare: bool) -> Result<(), Fault> {
    match queue.count(bounds::PROBE_DEADLINE).await {
        Ok(_) => Ok(()),
        // A SAS that may only add, or a role that may only send: somebody answers, and believes us.
        Err(fault) if matches!(fault.kind, Kind::NotPermitted | Kind::Throttled) => Ok(()),
        Err(fault) if fault.kind == Kind::NoQueue && declare => {
            queue.create(bounds::PROBE_DEADLINE).await?;
            tracing::info!(backend = "azure", queue = queue.name, "destination created");
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
