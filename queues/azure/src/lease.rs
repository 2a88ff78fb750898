//! The messages in a worker's hands: Azure names a lease by a receipt that changes with every extension, and the
//! contract by two numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluiced_queue::LeasedMessage;
use tokio::time::Instant;

use crate::bounds;
use crate::notes::Notes;
use crate::service::Taken;
use crate::text::Text;

/// One message in hand.
pub(crate) struct Lease {
    /// Azure's id of the message.
    pub(crate) id: String,
    /// The receipt that is good now. Whoever settles the message or extends its lease holds the lock meanwhile,
    /// since each extension makes the receipt of before worthless.
    pub(crate) receipt: tokio::sync::Mutex<String>,
    /// Whether the message stands in the queue as it is, not in base64.
    pub(crate) plain: bool,
    pub(crate) handed_back: u32,
}

/// All messages that one consumer has in hand, and those that it gave back with a delay.
#[derive(Default)]
pub(crate) struct Leases {
    last: u64,
    held: HashMap<u64, Held>,
    delayed: Vec<Instant>,
}

struct Held {
    lease: Arc<Lease>,
    ends: Instant,
}

impl Leases {
    /// How many more messages may be taken.
    pub(crate) fn room(&mut self) -> usize {
        if self.held.len() >= bounds::LEASES_MAX / 2 {
            let now = Instant::now();
            self.held.retain(|_, held| held.ends + bounds::LEASE_KEPT > now);
            if self.held.len() >= bounds::LEASES_MAX {
                self.held.retain(|_, held| held.ends > now);
            }
        }
        bounds::LEASES_MAX.saturating_sub(self.held.len())
    }

    /// Remembers a message that was taken.
    pub(crate) fn add(&mut self, taken: Taken, lease: Duration) -> LeasedMessage {
        let Text { message, plain } = Text::read(taken.text);
        let (message, Notes { handed_back, .. }) =
            if plain { (message, Notes::default()) } else { Notes::take_off(message) };
        self.last += 1;
        let held = Lease { id: taken.id, receipt: taken.receipt.into(), plain, handed_back };
        self.held.insert(self.last, Held { lease: Arc::new(held), ends: Instant::now() + lease });
        LeasedMessage {
            message,
            headers: Vec::new(),
            attempt: taken.dequeued.saturating_sub(handed_back).max(1),
            tag: self.last,
            lease: self.last,
        }
    }

    /// `None`: it has been settled or lost.
    pub(crate) fn get(&self, message: &LeasedMessage) -> Option<Arc<Lease>> {
        self.held.get(&message.tag).map(|held| held.lease.clone())
    }

    pub(crate) fn extended(&mut self, message: &LeasedMessage, lease: Duration) {
        if let Some(held) = self.held.get_mut(&message.tag) {
            held.ends = Instant::now() + lease;
        }
    }

    /// It is out of our hands.
    pub(crate) fn remove(&mut self, message: &LeasedMessage) {
        self.held.remove(&message.tag);
    }

    pub(crate) fn delay(&mut self, delay: Duration) {
        if !delay.is_zero() && self.delayed.len() < bounds::LEASES_MAX {
            self.delayed.push(Instant::now() + delay);
        }
    }

    /// How many are in hand, and how many delayed, as far as this consumer knows.
    pub(crate) fn known(&mut self) -> (u64, u64) {
        let now = Instant::now();
        self.delayed.retain(|until| *until > now);
        let held = self.held.values().filter(|held| held.ends > now).count();
        (held as u64, self.delayed.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(dequeued: u32, text: &str) -> Taken {
        Taken {
            id: "id".into(),
            receipt: "receipt".into(),
            text: text.into(),
            dequeued,
            inserted: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    const LEASE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_was_handed_back_is_no_attempt() {
        let mut leases = Leases::default();
        let noted = Notes { handed_back: 3, death: None }.put_on(b"{\"a\":1}").unwrap();
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &noted);
        let message = leases.add(taken(5, &text), LEASE);
        assert_eq!((message.attempt, &message.message[..]), (2, &b"{\"a\":1}"[..]));
        assert_eq!(leases.get(&message).unwrap().handed_back, 3);
        assert_eq!(leases.add(taken(1, &text), LEASE).attempt, 1, "never 0");
    }

    #[tokio::test]
    async fn notes_are_only_taken_off_what_is_ours() {
        let mut leases = Leases::default();
        let text = "{\"a\":1,\"sluicedhandedback\":1}";
        let message = leases.add(taken(2, text), LEASE);
        assert_eq!((message.attempt, &message.message[..]), (2, text.as_bytes()));
    }

    #[tokio::test(start_paused = true)]
    async fn leases_and_delays_are_known_until_they_end() {
        let mut leases = Leases::default();
        let one = leases.add(taken(1, ""), LEASE);
        let _two = leases.add(taken(1, ""), LEASE);
        leases.delay(LEASE);
        leases.delay(Duration::ZERO);
        assert_eq!(leases.known(), (2, 1));
        tokio::time::advance(LEASE / 2).await;
        leases.extended(&one, LEASE);
        tokio::time::advance(LEASE / 2).await;
        assert_eq!(leases.known(), (1, 0));
        assert!(leases.get(&one).is_some());
        leases.remove(&one);
        assert!(leases.get(&one).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_settles_nothing_does_not_fill_the_memory() {
        let mut leases = Leases::default();
        for _ in 0..bounds::LEASES_MAX {
            let _ = leases.add(taken(1, ""), LEASE);
        }
        assert_eq!(leases.room(), 0, "all are in hand");
        tokio::time::advance(LEASE).await;
        assert_eq!(leases.room(), bounds::LEASES_MAX, "none is any more");
    }
}
