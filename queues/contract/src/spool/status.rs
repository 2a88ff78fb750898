//! What is going on, for `/readyz`, `/metrics` and the log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::handler::{Depth, Health};

/// One destination, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub destination: String,
    /// Whether the broker takes messages.
    pub broker: Health,
    /// Too many deadlines were missed in a row: messages go straight to the spool.
    pub suspect: bool,
    /// Whether the disk takes messages; `None` without a spool.
    pub spool: Option<Health>,
    /// What has happened since the start.
    pub counts: Counts,
}

impl Status {
    /// Whether a webhook can be made durable, and if not, why.
    pub fn health(&self) -> Health {
        match (&self.broker, &self.spool) {
            (_, Some(Health::Failed(why))) => Health::Failed(why.clone()),
            (Health::Ready, None) | (_, Some(Health::Ready)) => Health::Ready,
            (Health::Ready, Some(_)) if !self.suspect => Health::Ready,
            (Health::Ready, Some(Health::NotReady(disk))) => {
                Health::NotReady(format!("the broker doesn't confirm in time, and the spool: {disk}"))
            }
            (Health::NotReady(why) | Health::Failed(why), Some(Health::NotReady(disk))) => {
                Health::NotReady(format!("the broker: {why}; and the spool: {disk}"))
            }
            (Health::NotReady(why) | Health::Failed(why), None) => Health::NotReady(why.clone()),
        }
    }
}

/// What has happened at a destination since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages acknowledged by the spool.
    pub spooled: u64,
    /// Messages that went from the spool to the broker.
    pub drained: u64,
    /// Spooled messages that the broker confirmed late, before the drain took them.
    pub late_confirmed: u64,
    /// Acknowledgement deadlines that the broker missed.
    pub missed: u64,
    /// Spooled messages that became dead letters.
    pub dead: u64,
}

/// Counts as they come.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) spooled: AtomicU64,
    pub(super) drained: AtomicU64,
    pub(super) late_confirmed: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) dead: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        Counts {
            spooled: self.spooled.load(Relaxed),
            drained: self.drained.load(Relaxed),
            late_confirmed: self.late_confirmed.load(Relaxed),
            missed: self.missed.load(Relaxed),
            dead: self.dead.load(Relaxed),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What stayed in the spool when it was to be emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What is still there; `None` when that couldn't be told.
    pub depth: Option<Depth>,
    /// Why the broker didn't take it, if that is known.
    pub why: Option<String>,
}

impl Left {
    /// Whether nothing stayed, for sure.
    pub fn is_nothing(&self) -> bool {
        self.depth.is_some_and(|depth| depth.messages == 0)
    }
}
