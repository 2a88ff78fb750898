//! What a worker holds, and what it has given back.

use std::collections::HashMap;
use std::time::Instant;

use async_nats::{HeaderMap, Subject};

use crate::bounds;

/// A message in this worker's hands.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Where the verdict goes.
    pub(crate) verdict: Subject,
    pub(crate) sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub(crate) stored_at: i128,
    pub(crate) subject: Subject,
    pub(crate) headers: Option<HeaderMap>,
    /// Until then nobody else gets it.
    pub(crate) until: Instant,
}

/// The leases of one worker.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    last: u64,
    held: HashMap<u64, Held>,
    released: HashMap<u64, Released>,
}

/// A message that this worker gave back.
#[derive(Clone, Copy, Debug)]
struct Released {
    /// Deliveries that were no attempts. The server counts them all the same.
    uncounted: u32,
    /// When it comes back.
    until: Instant,
    /// It is out there, not handed out again to this worker.
    waiting: bool,
}

impl Leases {
    /// Enters a delivery. Gives the lease's number, and how many of its deliveries were attempts.
    pub(crate) fn enter(&mut self, held: Held, delivered: u32) -> (u64, u32) {
        self.last += 1;
        let released = self.released.get_mut(&held.sequence);
        let uncounted = released.map_or(0, |released| {
            released.waiting = false;
            released.uncounted
        });
        self.held.insert(self.last, held);
        (self.last, delivered.saturating_sub(uncounted).max(1))
    }

    /// The message under a lease that hasn't ended.
    pub(crate) fn get(&self, lease: u64) -> Option<&Held> {
        self.held.get(&lease).filter(|held| Instant::now() < held.until)
    }

    pub(crate) fn extend(&mut self, lease: u64, until: Instant) {
        if let Some(held) = self.held.get_mut(&lease) {
            held.until = until;
        }
    }

    /// It is done.
    pub(crate) fn done(&mut self, lease: u64) {
        if let Some(held) = self.held.remove(&lease) {
            self.released.remove(&held.sequence);
        }
    }

    /// It is given back.
    pub(crate) fn release(&mut self, lease: u64, until: Instant, failed: bool) {
        let Some(held) = self.held.remove(&lease) else { return };
        if self.released.len() >= bounds::RELEASES_MAX && !self.released.contains_key(&held.sequence) {
            return;
        }
        let released =
            self.released.entry(held.sequence).or_insert(Released { uncounted: 0, until, waiting: true });
        (released.until, released.waiting) = (until, true);
        released.uncounted += u32::from(!failed);
    }

    /// Forgets leases that have ended.
    pub(crate) fn prune(&mut self) {
        let now = Instant::now();
        self.held.retain(|_, held| now < held.until);
    }

    /// Messages that this worker gave back and nobody has taken since, as far as it knows: those whose delay
    /// hasn't ended, and the others.
    pub(crate) fn given_back(&self) -> (u64, u64) {
        let now = Instant::now();
        let waiting = || self.released.values().filter(|released| released.waiting);
        let delayed = waiting().filter(|released| now < released.until).count();
        (delayed as u64, (waiting().count() - delayed) as u64)
    }
}
