//! Publishes that outlive their webhook's answer: the message is in the spool, and the broker may still
//! confirm it. The drain leaves such entries alone until the publish has ended.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::bounds;

/// How a late publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The broker has the message.
    Confirmed,
    /// It may have it or not: the drain's turn.
    InDoubt,
}

/// All late publishes of a destination.
#[derive(Debug)]
pub(super) struct Late {
    room: Arc<Semaphore>,
    state: Mutex<State>,
    appended: Notify,
}

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    /// Appends whose key isn't known yet: the drain may see their entries before we do.
    appending: BTreeSet<u64>,
    waiting: HashSet<u64>,
    ended: Vec<(u64, End)>,
}

/// What the drain must know of late publishes before it takes entries.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ended: Vec<(u64, End)>,
    pub(super) waiting: HashSet<u64>,
}

const KIB: usize = 1 << 10;

impl Late {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            room: Arc::new(Semaphore::new(bounds::LATE_BYTES_MAX / KIB)),
            state: Mutex::default(),
            appended: Notify::new(),
        })
    }

    /// Room for a message of so many bytes, if there is any.
    pub(super) fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let charged = bytes.clamp(bounds::LATE_CHARGE_MIN, bounds::LATE_BYTES_MAX).div_ceil(KIB);
        let charged = u32::try_from(charged).unwrap_or(u32::MAX);
        self.room.clone().try_acquire_many_owned(charged).ok()
    }

    /// Whether another late publish would find room for the shortest message.
    pub(super) fn is_full(&self) -> bool {
        self.room.available_permits() < bounds::LATE_CHARGE_MIN / KIB
    }

    /// To be called before the append of a message whose publish is under way.
    pub(super) fn append(self: &Arc<Self>) -> Appending {
        let mut state = self.state();
        state.tickets += 1;
        let ticket = state.tickets;
        state.appending.insert(ticket);
        Appending { late: self.clone(), ticket }
    }

    /// The publish has ended.
    fn end(&self, key: u64, end: End) {
        let mut state = self.state();
        state.waiting.remove(&key);
        state.ended.push((key, end));
    }

    /// Waits for the appends that are under way now, and then tells what the drain must know. The store's
    /// deadline bounds the wait.
    pub(super) async fn know(&self) -> Known {
        let newest = self.state().tickets;
        loop {
            let mut appended = std::pin::pin!(self.appended.notified());
            appended.as_mut().enable();
            if self.state().appending.first().is_none_or(|oldest| *oldest > newest) {
                break;
            }
            appended.await;
        }
        let mut state = self.state();
        Known { ended: std::mem::take(&mut state.ended), waiting: state.waiting.clone() }
    }

    /// What has ended since it was last asked.
    pub(super) fn take_ended(&self) -> Vec<(u64, End)> {
        std::mem::take(&mut self.state().ended)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An append whose key isn't known yet.
#[derive(Debug)]
pub(super) struct Appending {
    late: Arc<Late>,
    ticket: u64,
}

impl Appending {
    /// It succeeded, and its publish goes on.
    pub(super) fn waits(self, key: u64) -> Waiting {
        self.late.state().waiting.insert(key);
        Waiting { late: self.late.clone(), key, end: End::InDoubt }
    }

    /// It succeeded after its publish had been confirmed.
    pub(super) fn ends_confirmed(self, key: u64) {
        self.late.end(key, End::Confirmed);
    }
}

/// A publish that outlives its webhook's answer. It ends when this is dropped, whatever became of it.
#[derive(Debug)]
pub(super) struct Waiting {
    late: Arc<Late>,
    key: u64,
    end: End,
}

impl Waiting {
    /// The broker has the message.
    pub(super) fn is_confirmed(&mut self) {
        self.end = End::Confirmed;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.late.end(self.key, self.end);
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        self.late.state().appending.remove(&self.ticket);
        self.late.appended.notify_waiters();
    }
}
