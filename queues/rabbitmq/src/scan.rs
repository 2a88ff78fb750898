//! Reading a queue of dead letters without taking anything out of it: what is looked at stays unacknowledged on
//! a channel, and goes back to its place when that is closed. Meanwhile nobody else sees it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::AMQPValue;
use tokio::time::timeout;

use crate::bounds;
use crate::channel::OwnChannel;
use crate::fault::Fault;
use crate::headers::{DEAD_ID, Letter};
use crate::intake;
use crate::session::{Session, answered};

/// A look at the queue, from its first letter on.
pub(crate) struct Scan {
    channel: OwnChannel,
    queue: String,
    /// The last letters that came, still to be had.
    page: Vec<Seen>,
    /// The last one of all that came.
    last: Option<String>,
    /// Of all letters that came and are still there, in their order.
    passed: Vec<Acker>,
}

/// A letter on the channel.
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) letter: Letter,
    acker: Acker,
}

impl Scan {
    pub(crate) async fn begin(session: &Arc<Session>, queue: &str) -> Result<Self, Fault> {
        let channel = OwnChannel::open(session).await?;
        Ok(Self { channel, queue: queue.to_owned(), page: Vec::new(), last: None, passed: Vec::new() })
    }

    /// Whether it goes on behind this letter.
    pub(crate) fn is_at(&self, id: &str) -> bool {
        self.last.as_deref() == Some(id) && self.channel.get().status().connected()
    }

    /// Up to `max` further letters; none at the end. Few at a time, since nobody knows how long they are.
    pub(crate) async fn next(&mut self, max: usize) -> Result<&[Seen], Fault> {
        self.page.clear();
        let step = max.min(bounds::SCAN_STEP);
        let taken = match intake::take_ready(self.channel.get(), &self.queue, step).await {
            // Nothing has died yet.
            Err(Fault::Missing(_)) => Vec::new(),
            other => other?,
        };
        self.page = taken.into_iter().map(Seen::of).collect();
        self.passed.extend(self.page.iter().map(|seen| seen.acker.clone()));
        if let Some(last) = self.page.last() {
            self.last = Some(last.id.clone());
        }
        Ok(&self.page)
    }

    /// The page that `next` gave.
    pub(crate) fn page(&self) -> &[Seen] {
        &self.page
    }

    /// Goes on until this letter has come.
    pub(crate) async fn find(&mut self, id: &str) -> Result<bool, Fault> {
        loop {
            if self.page.iter().any(|seen| seen.id == id) {
                return Ok(true);
            }
            if self.next(bounds::SCAN_STEP).await?.is_empty() {
                return Ok(false);
            }
        }
    }

    /// Takes the letter out of the queue. On return the broker has done so.
    pub(crate) async fn remove(&mut self, id: &str) -> Result<(), Fault> {
        let Some(at) = self.page.iter().position(|seen| seen.id == id) else { return Ok(()) };
        let seen = self.page.remove(at);
        let lost = || Fault::Lost("the connection broke before the letter was removed".into());
        if !answered(seen.acker.ack(BasicAckOptions::default())).await? {
            return Err(lost());
        }
        // Acknowledgements have no answer, but a channel does one thing after the other.
        let prefetch = u16::try_from(bounds::SCAN_STEP).unwrap_or(u16::MAX);
        answered(self.channel.get().basic_qos(prefetch, BasicQosOptions::default())).await
    }

    /// Puts everything back, in its order; closing alone would put it back in any. On return others can see it.
    pub(crate) async fn end(self) {
        let back = async {
            for acker in &self.passed {
                let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                if acker.usable() && acker.nack(requeue).await.is_err() {
                    break;
                }
            }
        };
        // What is left when this takes too long goes back with the channel.
        let _ = timeout(bounds::CALL_DEADLINE, back).await;
        self.channel.close().await;
    }
}

impl Seen {
    fn of(delivery: Delivery) -> Self {
        let acker = delivery.acker.clone();
        let letter = Letter::of(delivery);
        Self { id: id(&letter), letter, acker }
    }
}

/// Ours have an id of their own. Of those that RabbitMQ gave up it is the message's, and of a stranger's letter
/// without one it is made from what is in it.
fn id(letter: &Letter) -> String {
    if let Some(id) = letter.text(DEAD_ID) {
        return id;
    }
    if let Some(id) = letter.properties.message_id() {
        return id.as_str().to_owned();
    }
    let mut hasher = DefaultHasher::new();
    letter.data.hash(&mut hasher);
    format!("letter-{:016x}", hasher.finish())
}

/// What RabbitMQ says of a letter that it gave up itself: why, and when in seconds since 1970.
pub(crate) fn death(letter: &Letter) -> Option<(String, u64)> {
    let Some(AMQPValue::FieldArray(deaths)) = letter.header("x-death") else { return None };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else { return None };
    let reason = last.inner().get("reason").and_then(crate::headers::string)?;
    let time = match last.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => *seconds,
        _ => 0,
    };
    Some((reason, time))
}
