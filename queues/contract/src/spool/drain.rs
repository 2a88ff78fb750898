//! Entries on their way to the broker: oldest first, with confirmations, and never in front of live messages.
//! Other entries go on while one is refused. An entry leaves the store after its confirmation and not before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bounds;
use super::options::Ack;
use super::outage::Trouble;
use super::pace::Pace;
use super::spooled::Shared;
use super::status::count;
use super::store::{Claimed, SpoolStore};
use super::window::{Room, Window, is_large};
use crate::consumer::ConsumeError;
use crate::context::WebHookQueueContext;
use crate::handler::{EnqueueError, Health, Receipt};

/// How far the drain is, for whoever waits for its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Nothing is left.
    pub(super) empty: bool,
    /// Waiting won't help: the broker is in trouble.
    pub(super) stuck: bool,
    /// Entries that went to the broker.
    pub(super) drained: u64,
}

/// How the drain is reached.
#[derive(Debug)]
pub(super) struct Handle {
    wake: Notify,
    appended: AtomicBool,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) stop: CancellationToken,
    /// What is on its way when it stops is waited for until then.
    pub(super) until: OnceLock<Instant>,
}

impl Handle {
    pub(super) fn new() -> Self {
        Self {
            wake: Notify::new(),
            appended: AtomicBool::new(true),
            progress: watch::Sender::new(Progress::default()),
            stop: CancellationToken::new(),
            until: OnceLock::new(),
        }
    }

    /// An entry was appended.
    pub(super) fn appended(&self) {
        self.appended.store(true, Relaxed);
        self.progress.send_if_modified(|progress| std::mem::replace(&mut progress.empty, false));
        self.wake.notify_one();
    }

    /// A late publish has ended, or the broker's state has changed.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

type Ended = Result<(Id, Sent), JoinError>;

/// What became of one entry.
struct Sent {
    took: Duration,
    result: Result<Receipt, EnqueueError>,
}

/// The drain of one destination.
pub(super) struct Drain {
    shared: Arc<Shared>,
    store: Arc<dyn SpoolStore>,
    window: Window,
    pace: Pace,
    in_flight: JoinSet<Sent>,
    /// And their routes.
    entries: HashMap<Id, (Claimed, String)>,
    bytes: u64,
    large: bool,
    /// Entries are ready, and wait for one on its way to end.
    no_room: bool,
    /// The store was asked, and had no more.
    all_claimed: bool,
    look_at: Instant,
    was_up: bool,
    suspicions: u64,
}

impl Drain {
    pub(super) fn new(shared: Arc<Shared>, store: Arc<dyn SpoolStore>) -> Self {
        Self {
            shared,
            store,
            window: Window::default(),
            pace: Pace::new(),
            in_flight: JoinSet::new(),
            entries: HashMap::new(),
            bytes: 0,
            large: false,
            no_room: false,
            all_claimed: false,
            look_at: Instant::now(),
            was_up: true,
            suspicions: 0,
        }
    }

    /// Runs until it is told to stop. What the broker doesn't confirm in the time that is left then stays in
    /// the store.
    pub(super) async fn run(mut self) {
        if let Some(depth) = self.store.depth().await.filter(|depth| depth.messages > 0) {
            self.shared.outage.backlog(depth.messages);
        }
        let stop = self.shared.drain.stop.clone();
        while let Some(more) = stop.run_until_cancelled(self.step()).await {
            if !more {
                break;
            }
        }
        let until = self.shared.drain.until.get().copied().unwrap_or_else(Instant::now);
        let rest = async {
            while let Some(sent) = self.in_flight.join_next_with_id().await {
                self.settle(sent).await;
            }
        };
        // In time or not: what was confirmed is removed.
        let _ = timeout_at(until, rest).await;
        self.window.end(self.shared.late.take_ended());
        if let Err(error) = self.remove_confirmed().await {
            tracing::warn!(%error, "messages that went to the broker stay in the spool and will go there again");
        }
    }

    /// False when the store has failed for good.
    async fn step(&mut self) -> bool {
        if let Err(error) = self.round().await {
            if let ConsumeError::Failed(_) = error {
                self.shared.has_failed(&error.to_string());
                return false;
            }
            tracing::warn!(
                destination = self.shared.options.destination.as_str(),
                %error,
                "the spool can't be read or written now; what is in it stays"
            );
            tokio::time::sleep(bounds::STORE_RETRY).await;
        }
        self.report();
        let mut next = self.look_at;
        if let Some(at) = self.next_send_at() {
            next = next.min(at);
        }
        if self.pace.is_failing() {
            next = next.min(Instant::now() + bounds::HEALTH_LOOK);
        }
        if let Some(at) = self.window.next_at() {
            next = next.min(at);
        }
        tokio::select! {
            biased;
            Some(sent) = self.in_flight.join_next_with_id() => self.settle_all(sent).await,
            () = self.shared.drain.wake.notified() => {}
            () = sleep_until(next) => {}
        }
        true
    }

    /// When something may be sent that nothing else will tell of.
    fn next_send_at(&self) -> Option<Instant> {
        let in_flight = self.in_flight.len();
        let parked = self.window.parked_routes();
        let route_at = parked.iter().filter_map(|route| self.shared.routes.probe_at(route)).min();
        let route_at = route_at.filter(|_| self.has_room());
        match (self.pace.probe_at(in_flight), route_at) {
            (Some(at), _) if self.window.is_ready() && !self.no_room => Some(at),
            (Some(at), Some(route_at)) => Some(at.max(route_at)),
            // As many as are allowed are on their way: one of them will end.
            (None, route_at) => route_at.filter(|at| self.pace.more(in_flight, *at) > 0),
            (Some(_), None) => None,
        }
    }

    async fn round(&mut self) -> Result<(), ConsumeError> {
        self.look_at_broker();
        self.window.end(self.shared.late.take_ended());
        self.remove_confirmed().await?;
        self.claim().await?;
        self.remove_confirmed().await?;
        self.ask_routes().await?;
        self.send().await
    }

    fn look_at_broker(&mut self) {
        let now = Instant::now();
        let up = self.is_up();
        let suspicions = self.shared.broker.suspicions();
        if !up || suspicions > self.suspicions {
            self.suspicions = suspicions;
            self.pace.trouble(now);
        } else if !self.was_up {
            self.pace.is_back(now);
            self.shared.routes.ask_all(now);
        }
        self.was_up = up;
        self.pace.look_at_live(self.shared.broker.slow(), now);
    }

    async fn claim(&mut self) -> Result<(), ConsumeError> {
        let now = Instant::now();
        let appended = self.shared.drain.appended.swap(false, Relaxed);
        if appended || now >= self.look_at {
            self.all_claimed = false;
            self.look_at = now + bounds::STORE_LOOK;
        }
        while !self.all_claimed && self.window.room() > 0 {
            let room = self.window.room();
            let entries = self.store.claim(room).await.inspect_err(|_| self.shared.drain.appended())?;
            // The store may give less than it has, but something as long as it has any.
            self.all_claimed = entries.is_empty();
            if !self.all_claimed {
                let known = self.shared.late.know().await;
                self.window.add(entries, known);
            }
        }
        Ok(())
    }

    async fn remove_confirmed(&mut self) -> Result<(), ConsumeError> {
        let entries = self.window.to_remove();
        if !entries.is_empty() {
            self.store.remove(&entries).await?;
            entries.iter().for_each(|entry| self.window.forget(entry.key));
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), ConsumeError> {
        let now = Instant::now();
        let entries = self.pace.more(self.in_flight.len(), now);
        let bytes = bounds::IN_FLIGHT_BYTES_MAX.saturating_sub(self.bytes);
        let taken = self.window.take(Room { entries, bytes, large: !self.large }, now);
        self.no_room = entries > 0 && taken.is_empty();
        self.send_these(taken, false).await.map(drop)
    }

    /// Sends one message for each route that may be asked again.
    async fn ask_routes(&mut self) -> Result<(), ConsumeError> {
        for route in self.window.parked_routes() {
            let now = Instant::now();
            if !self.shared.routes.is_refused(&route) {
                self.window.unpark(&route);
            } else if self.pace.more(self.in_flight.len(), now) > 0
                && self.has_room()
                && self.shared.routes.may_send(&route, now)
            {
                let entry = self.window.unpark_one(&route);
                let asked = self.send_these(entry.into_iter().collect(), true).await;
                if !matches!(asked, Ok(true)) {
                    self.shared.routes.probe_was_void(&route, now);
                }
                asked?;
            }
        }
        Ok(())
    }

    /// Whether any of them was sent. One that `asks` for its route goes also where it is refused.
    async fn send_these(&mut self, entries: Vec<Claimed>, asks: bool) -> Result<bool, ConsumeError> {
        if entries.is_empty() {
            return Ok(false);
        }
        let now = Instant::now();
        let bodies = match self.store.read(&entries).await {
            Ok(bodies) => bodies,
            Err(error) => {
                entries.iter().for_each(|entry| self.window.again(entry.key, false, now));
                return Err(error);
            }
        };
        self.pace.sent(now);
        let mut published = false;
        for (entry, body) in entries.into_iter().zip(bodies) {
            match body.map(|body| WebHookQueueContext::decode(&body)) {
                Some(Ok(context)) => {
                    let route = self.shared.publisher.route(&context);
                    if asks || self.shared.routes.may_send(&route, now) {
                        published = true;
                        self.publish(entry, &context, route);
                    } else {
                        self.window.park(entry, &route);
                    }
                }
                Some(Err(error)) => self.bury(entry, &format!("it can't be read: {error}")).await,
                // The store has said so, and why.
                None => {
                    count(&self.shared.counters.dead);
                    self.window.forget(entry.key);
                }
            }
        }
        if !published {
            self.pace.probe_was_void(now);
            self.shared.drain.wake();
        }
        Ok(published)
    }

    fn publish(&mut self, entry: Claimed, context: &WebHookQueueContext, route: String) {
        let publishing = self.shared.publisher.publish(context);
        let began = Instant::now();
        match is_large(&entry) {
            true => self.large = true,
            false => self.bytes += entry.bytes,
        }
        let sending = self.in_flight.spawn(async move {
            let result = timeout(bounds::LATE_DEADLINE, publishing).await;
            let deadline_ms = u64::try_from(bounds::LATE_DEADLINE.as_millis()).unwrap_or(u64::MAX);
            let result = result.unwrap_or(Err(EnqueueError::TimedOut { deadline_ms }));
            Sent { took: began.elapsed(), result }
        });
        self.entries.insert(sending.id(), (entry, route));
    }

    /// This one, and whichever are done besides.
    async fn settle_all(&mut self, first: Ended) {
        let mut ended = Some(first);
        while let Some(one) = ended {
            self.settle(one).await;
            ended = self.in_flight.try_join_next_with_id();
        }
    }

    async fn settle(&mut self, ended: Ended) {
        let (id, Sent { took, result }) = ended.unwrap_or_else(|panic| {
            // A bug that one message meets may be one that others don't.
            let result = Err(EnqueueError::Rejected(format!("the publish panicked: {panic}")));
            (panic.id(), Sent { took: Duration::ZERO, result })
        });
        let Some((entry, route)) = self.entries.remove(&id) else { return };
        match is_large(&entry) {
            true => self.large = false,
            false => self.bytes = self.bytes.saturating_sub(entry.bytes),
        }
        let now = Instant::now();
        match result {
            Ok(_) => {
                self.shared.broker.confirmed(took);
                self.pace.confirmed(now);
                count(&self.shared.counters.drained);
                self.shared.outage.drained_one();
                self.shared.is_routed(&route);
                self.window.confirm(entry.key);
            }
            // By what a broker said that isn't there now: perhaps it says something else when it is.
            Err(error @ EnqueueError::TooLarge { .. }) if self.is_up() => {
                self.shared.routes.probe_was_void(&route, now);
                self.pace.probe_was_void(now);
                self.bury(entry, &error.to_string()).await;
            }
            Err(error) => self.refuse(entry, &route, &error, now),
        }
    }

    /// To be tried again.
    fn refuse(&mut self, entry: Claimed, route: &str, error: &EnqueueError, now: Instant) {
        let (trouble, why) = (Trouble::of(error), error.to_string());
        if trouble.is_the_routes() {
            self.shared.outage.trouble_on(trouble, route, &why);
            match self.shared.routes.refused(route, trouble, &why, now) {
                true => self.window.park(entry, route),
                false => self.window.again(entry.key, true, now),
            }
            return self.pace.answered();
        }
        self.shared.outage.trouble(trouble, &why);
        self.shared.routes.probe_was_void(route, now);
        let all = self.pace.failed(trouble, now);
        self.window.again(entry.key, !all || trouble.may_be_one_message(), now);
    }

    /// For one entry more, however long.
    fn has_room(&self) -> bool {
        !self.large && self.bytes < bounds::IN_FLIGHT_BYTES_MAX
    }

    fn is_up(&self) -> bool {
        self.shared.publisher.health() == Health::Ready
    }

    /// It stays where it is when the store can't bury it now.
    async fn bury(&mut self, entry: Claimed, reason: &str) {
        let entry = self.window.entry(entry.key).unwrap_or(entry);
        if let Err(error) = self.store.bury(entry, reason).await {
            tracing::warn!(%error, reason, "a spooled message that will never be taken can't be buried yet");
            return self.window.again(entry.key, true, Instant::now());
        }
        count(&self.shared.counters.dead);
        self.window.forget(entry.key);
        tracing::error!(
            destination = self.shared.options.destination.as_str(),
            reason,
            path = self.store.location(),
            what_to_do = "see `sluiced dead list --local`",
            "a spooled message will never be taken: it is a dead letter now"
        );
    }

    fn report(&self) {
        let empty = self.window.is_empty()
            && self.all_claimed
            && self.in_flight.is_empty()
            && !self.shared.drain.appended.load(Relaxed);
        // Where all messages go this way, the spool is hardly ever empty: nothing waits is as good.
        let nothing_waits = self.shared.options.ack == Ack::Spool
            && self.all_claimed
            && self.window.len() <= self.in_flight.len();
        let well = self.was_up && !self.pace.is_failing() && !self.shared.broker.is_suspect();
        if (empty || nothing_waits) && well {
            self.shared.outage.over();
        }
        let drained = self.shared.counters.drained.load(Relaxed);
        let stuck = self.pace.is_failing() || (self.window.is_parked() && self.all_claimed);
        let now = Progress { empty, stuck, drained };
        self.shared.drain.progress.send_if_modified(|progress| {
            let changed = *progress != now;
            *progress = now;
            changed
        });
    }
}
