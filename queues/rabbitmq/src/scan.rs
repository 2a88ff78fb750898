//! Reading a queue of dead letters without taking anything out of it: what is looked at stays unacknowledged on
//! a channel, and goes back to its place when that is closed. Meanwhile nobody else sees it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicQosOptions};
use lapin::types::AMQPValue;

use crate::bounds;
use crate::channel::OwnChannel;
use crate::fault::Fault;
use crate::headers::{DEAD_ID, Letter};
use crate::intake;
use crate::session::{Session, answered};

/// A look at the queue, from its first letter on.
///
/// Letters come in chunks, each with a consumer of its own. When the channel is closed RabbitMQ puts them back at
/// the queue's head, consumer after consumer in the order of their tags, which rise; with more than 32 consumers
/// in any order. To put them back one by one would put them at its tail.
pub(crate) struct Scan {
    channel: OwnChannel,
    queue: String,
    /// The last chunk that came.
    chunk: Vec<Seen>,
    /// How many of it have been given.
    given: usize,
    /// The last letter that was given.
    last: Option<String>,
    /// How many letters have come.
    come: usize,
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
        Ok(Self { channel, queue: queue.to_owned(), chunk: Vec::new(), given: 0, last: None, come: 0 })
    }

    /// Whether it goes on behind this letter.
    pub(crate) fn is_at(&self, id: &str) -> bool {
        self.last.as_deref() == Some(id) && self.channel.get().status().connected()
    }

    /// Up to `max` further letters; none at the end.
    pub(crate) async fn next(&mut self, max: usize) -> Result<&[Seen], Fault> {
        if self.given == self.chunk.len() {
            self.fetch().await?;
        }
        let from = self.given;
        self.given = self.chunk.len().min(from + max);
        let next = &self.chunk[from..self.given];
        if let Some(last) = next.last() {
            self.last = Some(last.id.clone());
        }
        Ok(next)
    }

    /// The letter, if it is in the last chunk.
    pub(crate) fn held(&self, id: &str) -> Option<&Seen> {
        self.chunk.iter().find(|seen| seen.id == id)
    }

    /// Goes on until this letter has come; what is next comes behind it.
    pub(crate) async fn find(&mut self, id: &str) -> Result<bool, Fault> {
        loop {
            if let Some(at) = self.chunk.iter().position(|seen| seen.id == id) {
                self.given = self.given.max(at + 1);
                return Ok(true);
            }
            self.fetch().await?;
            if self.chunk.is_empty() {
                return Ok(false);
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), Fault> {
        let size = self.come.clamp(bounds::SCAN_CHUNK_FIRST, bounds::SCAN_CHUNK_MAX);
        self.chunk.clear();
        self.given = 0;
        let taken = match intake::take_ready(self.channel.get(), &self.queue, size).await {
            // Nothing has died yet.
            Err(Fault::Missing(_)) => Vec::new(),
            other => other?,
        };
        self.come += taken.len();
        self.chunk = taken.into_iter().map(Seen::of).collect();
        Ok(())
    }

    /// Takes the letter out of the queue. On return the broker has done so.
    pub(crate) async fn remove(&mut self, id: &str) -> Result<(), Fault> {
        let Some(at) = self.chunk.iter().position(|seen| seen.id == id) else { return Ok(()) };
        let seen = self.chunk.remove(at);
        self.given -= usize::from(at < self.given);
        let lost = || Fault::Lost("the connection broke before the letter was removed".into());
        if !answered(seen.acker.ack(BasicAckOptions::default())).await? {
            return Err(lost());
        }
        // Acknowledgements have no answer, but a channel does one thing after the other.
        answered(self.channel.get().basic_qos(1, BasicQosOptions::default())).await
    }

    /// Puts everything back. On return others can see it.
    pub(crate) async fn end(self) {
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
