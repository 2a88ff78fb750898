//! What is known of the broker from how it answers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::bounds;

/// Missed deadlines and slow answers. The broker is suspect from the last of [`bounds::MISSES_MAX`] misses in
/// a row until a message is confirmed in time.
#[derive(Debug)]
pub(super) struct Broker {
    deadline: Duration,
    misses: AtomicU32,
    suspicions: AtomicU64,
    slow: AtomicU64,
}

impl Broker {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, misses: AtomicU32::new(0), suspicions: AtomicU64::new(0), slow: AtomicU64::new(0) }
    }

    /// A message, live or out of the spool, was confirmed.
    pub(super) fn confirmed(&self, took: Duration) {
        if took <= self.deadline {
            self.misses.store(0, Relaxed);
        }
    }

    /// The same for a live one, which shows too whether the drain is in its way.
    pub(super) fn confirmed_live(&self, took: Duration) {
        self.confirmed(took);
        if took > self.deadline / bounds::SLOW_PART {
            self.slow.fetch_add(1, Relaxed);
        }
    }

    /// A live message had no confirmation in time, or an error. True when the broker became suspect by it.
    pub(super) fn missed(&self) -> bool {
        self.slow.fetch_add(1, Relaxed);
        let became = self.misses.fetch_add(1, Relaxed) + 1 == bounds::MISSES_MAX;
        if became {
            self.suspicions.fetch_add(1, Relaxed);
        }
        became
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.misses.load(Relaxed) >= bounds::MISSES_MAX
    }

    /// How often it became suspect.
    pub(super) fn suspicions(&self) -> u64 {
        self.suspicions.load(Relaxed)
    }

    /// Live messages that were slow or late.
    pub(super) fn slow(&self) -> u64 {
        self.slow.load(Relaxed)
    }
}
