//! The entries that the drain knows: claimed, by number, without their bodies.

use std::collections::{BTreeSet, HashMap, HashSet};

use backon::ExponentialBackoff;
use tokio::time::Instant;

use super::bounds;
use super::late::{End, Known};
use super::pace::entry_delays;
use super::store::Claimed;

/// Claimed entries and what each waits for.
#[derive(Debug, Default)]
pub(super) struct Window {
    slots: HashMap<u64, Slot>,
    ready: BTreeSet<u64>,
    resting: BTreeSet<(Instant, u64)>,
    /// Confirmed late, and to be removed; or confirmed before they were claimed.
    confirmed: HashSet<u64>,
}

#[derive(Debug)]
struct Slot {
    entry: Claimed,
    delays: Option<Box<ExponentialBackoff>>,
}

impl Window {
    /// How many more entries should be claimed.
    pub(super) fn room(&self) -> usize {
        bounds::WINDOW_MAX.saturating_sub(self.slots.len()).min(bounds::CLAIM_MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether an entry could be sent now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Entries that were just claimed. One that is known already has only got a new lease.
    pub(super) fn add(&mut self, entries: Vec<Claimed>, known: Known) {
        self.end(known.ended);
        for entry in entries {
            if let Some(slot) = self.slots.get_mut(&entry.key) {
                slot.entry = entry;
                continue;
            }
            self.slots.insert(entry.key, Slot { entry, delays: None });
            if !self.confirmed.contains(&entry.key) && !known.waiting.contains(&entry.key) {
                self.ready.insert(entry.key);
            }
        }
    }

    /// Late publishes that have ended.
    pub(super) fn end(&mut self, ended: Vec<(u64, End)>) {
        for (key, end) in ended {
            match end {
                End::Confirmed => {
                    self.ready.remove(&key);
                    self.confirmed.insert(key);
                }
                End::InDoubt if self.slots.contains_key(&key) => {
                    self.ready.insert(key);
                }
                End::InDoubt => {}
            }
        }
    }

    /// Entries that the broker has, to be removed from the store.
    pub(super) fn to_remove(&self) -> Vec<Claimed> {
        self.confirmed.iter().filter_map(|key| self.slots.get(key)).map(|slot| slot.entry).collect()
    }

    /// Takes the oldest entries whose time it is: as many as that, and as many bytes, but one at least.
    pub(super) fn take(&mut self, max: usize, mut bytes_max: u64, idle: bool, now: Instant) -> Vec<Claimed> {
        while let Some(&(at, key)) = self.resting.first()
            && at <= now
        {
            self.resting.pop_first();
            self.ready.insert(key);
        }
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(key) = self.ready.first().copied()
        {
            let Some(slot) = self.slots.get(&key) else {
                self.ready.remove(&key);
                continue;
            };
            let first = idle && taken.is_empty();
            if slot.entry.bytes > bytes_max && !first {
                break;
            }
            bytes_max = bytes_max.saturating_sub(slot.entry.bytes);
            taken.push(slot.entry);
            self.ready.remove(&key);
        }
        taken
    }

    /// When an entry's rest ends that nothing else will tell of.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.resting.first().map(|(at, _)| *at)
    }

    /// The broker has it.
    pub(super) fn confirm(&mut self, key: u64) {
        self.confirmed.insert(key);
    }

    /// To be tried again: at once when the broker is in trouble anyway, after a rest of its own when it isn't.
    pub(super) fn again(&mut self, key: u64, rest: bool, now: Instant) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        if rest {
            let delays = slot.delays.get_or_insert_with(|| Box::new(entry_delays()));
            let delay = delays.next().unwrap_or(bounds::ENTRY_DELAY_MAX);
            self.resting.insert((now + delay, key));
        } else {
            self.ready.insert(key);
        }
    }

    /// It is gone from the store.
    pub(super) fn forget(&mut self, key: u64) {
        self.confirmed.remove(&key);
        self.slots.remove(&key);
    }
}
