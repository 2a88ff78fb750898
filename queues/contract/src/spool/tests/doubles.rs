//! A broker and a disk that do what they are told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::spool::{Claimed, SpoolOptions, SpoolStore, Spooled};
use crate::{
    ConsumeError, Data, Depth, Durable, EnqueueError, Health, Publishing, Receipt, RequestFacts,
    WebHookQueueContext, WebHookQueueHandler, WebHookQueuePublisher,
};

pub(super) const DEADLINE: Duration = Duration::from_millis(250);

/// What the broker does with a publish.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Confirms after so long.
    Confirm(Duration),
    /// Says no after so long.
    Fail(Duration, EnqueueError),
    /// Never answers.
    Nothing,
    /// Has a bug, which shows after so long.
    Panic(Duration),
}

pub(super) fn now() -> Act {
    Act::Confirm(Duration::from_millis(1))
}

pub(super) fn after(ms: u64) -> Act {
    Act::Confirm(Duration::from_millis(ms))
}

pub(super) fn fails(error: EnqueueError) -> Act {
    Act::Fail(Duration::from_millis(1), error)
}

/// A broker.
pub(super) struct Broker {
    state: Mutex<State>,
}

struct State {
    /// For the next publishes, one each; then `otherwise`.
    script: VecDeque<Act>,
    otherwise: Act,
    health: Health,
    bytes_max: usize,
    tried: Vec<Uuid>,
    stored: Vec<Uuid>,
    in_flight: usize,
    in_flight_most: usize,
    closed: bool,
    /// Messages that always meet the same end.
    poison: BTreeMap<Uuid, Act>,
    /// Receivers to whose messages no route leads.
    no_route: BTreeSet<String>,
}

impl Broker {
    pub(super) fn new(otherwise: Act) -> Arc<Self> {
        let state = State {
            script: VecDeque::new(),
            otherwise,
            health: Health::Ready,
            bytes_max: 1 << 20,
            tried: Vec::new(),
            stored: Vec::new(),
            in_flight: 0,
            in_flight_most: 0,
            closed: false,
            poison: BTreeMap::new(),
            no_route: BTreeSet::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.lock().script.extend(acts);
    }

    pub(super) fn otherwise(&self, act: Act) {
        self.lock().otherwise = act;
    }

    pub(super) fn health(&self, health: Health) {
        self.lock().health = health;
    }

    /// Nothing is taken any more, and that is known.
    pub(super) fn goes_down(&self) {
        self.otherwise(fails(EnqueueError::Unavailable("down".into())));
        self.health(Health::NotReady("down".into()));
    }

    pub(super) fn comes_back(&self, act: Act) {
        self.otherwise(act);
        self.health(Health::Ready);
    }

    pub(super) fn bytes_max(&self, bytes_max: usize) {
        self.lock().bytes_max = bytes_max;
    }

    pub(super) fn poison(&self, id: Uuid) {
        self.always(id, fails(EnqueueError::Rejected("poison".into())));
    }

    pub(super) fn always(&self, id: Uuid, act: Act) {
        self.lock().poison.insert(id, act);
    }

    pub(super) fn no_route(&self, receivers: &[&str]) {
        self.lock().no_route = receivers.iter().map(|receiver| (*receiver).to_owned()).collect();
    }

    pub(super) fn tried(&self) -> Vec<Uuid> {
        self.lock().tried.clone()
    }

    pub(super) fn stored(&self) -> Vec<Uuid> {
        self.lock().stored.clone()
    }

    pub(super) fn in_flight_most(&self) -> usize {
        self.lock().in_flight_most
    }

    pub(super) fn in_flight_now(&self) -> usize {
        self.lock().in_flight
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A handle on it, as the decorator has one.
pub(super) struct Publisher(pub(super) Arc<Broker>);

/// Counts a publish as long as it is polled.
struct InFlight(Arc<Broker>);

impl InFlight {
    fn new(broker: Arc<Broker>) -> Self {
        {
            let mut state = broker.lock();
            state.in_flight += 1;
            state.in_flight_most = state.in_flight_most.max(state.in_flight);
        }
        Self(broker)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

#[async_trait]
impl WebHookQueueHandler for Publisher {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        self.publish(context).await
    }
    fn message_bytes_max(&self) -> usize {
        self.0.lock().bytes_max
    }
    fn health(&self) -> Health {
        self.0.lock().health.clone()
    }
    async fn close(&self) {
        self.0.lock().closed = true;
    }
}

impl WebHookQueuePublisher for Publisher {
    fn route(&self, context: &WebHookQueueContext) -> String {
        context.receiver.clone()
    }

    fn publish(&self, context: &WebHookQueueContext) -> Publishing {
        let (broker, id, bytes) = (self.0.clone(), context.message_id, context.encode().len());
        let receiver = context.receiver.clone();
        Box::pin(async move {
            let act = {
                let mut state = broker.lock();
                state.tried.push(id);
                let bytes_max = state.bytes_max;
                if bytes > bytes_max {
                    return Err(EnqueueError::TooLarge { bytes, bytes_max });
                }
                let otherwise = state.otherwise.clone();
                let no_route = state.no_route.contains(&receiver);
                match state.poison.get(&id) {
                    Some(act) => act.clone(),
                    None if no_route => fails(EnqueueError::Unroutable(receiver)),
                    None => state.script.pop_front().unwrap_or(otherwise),
                }
            };
            let counted = InFlight::new(broker.clone());
            match act {
                Act::Confirm(after) => {
                    sleep(after).await;
                    broker.lock().stored.push(id);
                    drop(counted);
                    Ok(Receipt::confirmed(Durable::Broker))
                }
                Act::Fail(after, error) => {
                    sleep(after).await;
                    Err(error)
                }
                Act::Nothing => std::future::pending().await,
                Act::Panic(after) => {
                    sleep(after).await;
                    panic!("a bug in a backend")
                }
            }
        })
    }
}

/// A disk.
#[derive(Default)]
pub(super) struct Disk {
    state: Mutex<Stored>,
    changed: Notify,
}

#[derive(Default)]
struct Stored {
    next: u64,
    entries: BTreeMap<u64, (Uuid, Bytes)>,
    claimed: BTreeMap<u64, u64>,
    buried: Vec<(Uuid, String)>,
    append_takes: Duration,
    full: Option<EnqueueError>,
    appended: u64,
    damaged: BTreeSet<Uuid>,
    /// So many burials fail.
    no_burials: u32,
    /// The next claim panics.
    bug: bool,
    /// One claim gives so many at most.
    claim_most: Option<usize>,
    /// It can't be read any more.
    broken: bool,
}

impl Disk {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn append_takes(&self, ms: u64) {
        self.lock().append_takes = Duration::from_millis(ms);
    }

    pub(super) fn full(&self, error: Option<EnqueueError>) {
        self.lock().full = error;
    }

    pub(super) fn damage(&self, id: Uuid) {
        self.lock().damaged.insert(id);
    }

    pub(super) fn no_burials(&self, count: u32) {
        self.lock().no_burials = count;
    }

    pub(super) fn has_a_bug(&self) {
        self.lock().bug = true;
    }

    pub(super) fn claim_most(&self, count: usize) {
        self.lock().claim_most = Some(count);
    }

    pub(super) fn is_broken(&self) {
        self.lock().broken = true;
    }

    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.lock().entries.values().map(|(id, _)| *id).collect()
    }

    pub(super) fn contexts(&self) -> Vec<WebHookQueueContext> {
        self.lock()
            .entries
            .values()
            .map(|(_, message)| WebHookQueueContext::decode(message).unwrap())
            .collect()
    }

    pub(super) fn appended(&self) -> u64 {
        self.lock().appended
    }

    pub(super) fn buried(&self) -> Vec<(Uuid, String)> {
        self.lock().buried.clone()
    }

    /// Of a process that is gone: nothing is claimed.
    pub(super) fn restarted(&self) {
        self.lock().claimed.clear();
    }

    pub(super) async fn is_empty(&self) {
        let empty = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.lock().entries.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        timeout(Duration::from_secs(600), empty).await.expect("the spool is emptied");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.state.lock().unwrap()
    }
}

/// A handle on it, as the decorator has one.
pub(super) struct Lane(pub(super) Arc<Disk>);

#[async_trait]
impl SpoolStore for Lane {
    async fn append(&self, message: Bytes, message_id: Uuid) -> Result<(u64, Receipt), EnqueueError> {
        let (takes, full) = {
            let state = self.0.lock();
            (state.append_takes, state.full.clone())
        };
        // In the store from the beginning, and acknowledged at the end: the worst order for a race.
        let key = {
            let mut state = self.0.lock();
            if let Some(error) = full {
                return Err(error);
            }
            state.next += 1;
            state.appended += 1;
            let key = state.next;
            state.entries.insert(key, (message_id, message));
            key
        };
        sleep(takes).await;
        Ok((key, Receipt::confirmed(Durable::Spool)))
    }

    async fn claim(&self, max: usize) -> Result<Vec<Claimed>, ConsumeError> {
        let bug = std::mem::take(&mut self.0.lock().bug);
        assert!(!bug, "a bug in the store");
        let mut state = self.0.lock();
        if state.broken {
            return Err(ConsumeError::Failed("the disk image is malformed".into()));
        }
        let max = max.min(state.claim_most.unwrap_or(max));
        let mut claimed = Vec::new();
        for (key, (_, message)) in &state.entries {
            if claimed.len() < max && !state.claimed.contains_key(key) {
                claimed.push(Claimed { key: *key, lease: 1, bytes: message.len() as u64 });
            }
        }
        state.claimed.extend(claimed.iter().map(|entry| (entry.key, entry.lease)));
        Ok(claimed)
    }

    async fn read(&self, entries: &[Claimed]) -> Result<Vec<Option<Bytes>>, ConsumeError> {
        let mut state = self.0.lock();
        let mut bodies = Vec::new();
        for entry in entries {
            let (id, body) = state.entries[&entry.key].clone();
            if state.damaged.contains(&id) {
                state.entries.remove(&entry.key);
                state.buried.push((id, "damaged".into()));
                bodies.push(None);
            } else {
                bodies.push(Some(body));
            }
        }
        self.0.changed.notify_waiters();
        Ok(bodies)
    }

    async fn remove(&self, entries: &[Claimed]) -> Result<(), ConsumeError> {
        let mut state = self.0.lock();
        for entry in entries {
            assert!(state.claimed.remove(&entry.key).is_some(), "removed without a claim");
            state.entries.remove(&entry.key);
        }
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn bury(&self, entry: Claimed, reason: &str) -> Result<(), ConsumeError> {
        let mut state = self.0.lock();
        if state.no_burials > 0 {
            state.no_burials -= 1;
            return Err(ConsumeError::Unavailable("the disk is slow".into()));
        }
        if let Some((id, _)) = state.entries.remove(&entry.key) {
            state.buried.push((id, reason.to_owned()));
        }
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn depth(&self) -> Option<Depth> {
        let state = self.0.lock();
        let bytes = state.entries.values().map(|(_, message)| message.len() as u64).sum();
        Some(Depth { messages: state.entries.len() as u64, bytes, oldest_age: None })
    }

    fn health(&self) -> Health {
        match &self.0.lock().full {
            Some(error) => Health::NotReady(error.to_string()),
            None => Health::Ready,
        }
    }

    fn location(&self) -> String {
        "memory".into()
    }
}

pub(super) fn options() -> SpoolOptions {
    SpoolOptions { ack_deadline: DEADLINE, ..SpoolOptions::new("test queue webhooks") }
}

pub(super) fn spooled(broker: &Arc<Broker>, disk: &Arc<Disk>) -> Spooled {
    Spooled::start(Arc::new(Publisher(broker.clone())), Some(Arc::new(Lane(disk.clone()))), options())
}

/// A webhook with a body of so many bytes.
pub(super) fn webhook_of(bytes: usize) -> WebHookQueueContext {
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(bytes));
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::classify(Some("application/json"), false, body.into()),
        raw_body: true,
        message_id: Uuid::now_v7(),
        delivery_id: Some("d-1".into()),
        received_at: Timestamp::UNIX_EPOCH,
        content_type: Some("application/json".into()),
        traceparent: None,
        masked: vec!["query:code".into()],
        request: RequestFacts { method: "POST".into(), path: "/".into(), ..RequestFacts::default() },
        dedupe_for: None,
    }
}

/// One of this receiver.
pub(super) fn webhook_to(receiver: &str) -> WebHookQueueContext {
    WebHookQueueContext { receiver: receiver.into(), ..webhook() }
}

pub(super) fn webhook() -> WebHookQueueContext {
    webhook_of(10)
}

/// What became of a webhook, and after how many milliseconds.
pub(super) async fn send(spooled: &Spooled, webhook: &WebHookQueueContext) -> (Outcome, u64) {
    let began = Instant::now();
    let outcome = spooled.enqueue(webhook).await.map(Receipt::durable);
    (outcome, u64::try_from(began.elapsed().as_millis()).unwrap())
}

pub(super) type Outcome = Result<Durable, EnqueueError>;
