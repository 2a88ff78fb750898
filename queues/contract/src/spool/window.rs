//! The entries that the drain knows: claimed, by number, without their bodies.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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
    /// They wait until their route isn't refused any more.
    parked: HashMap<String, BTreeMap<u64, Claimed>>,
    parked_len: usize,
    /// Confirmed late, and to be removed; or confirmed before they were claimed.
    confirmed: HashSet<u64>,
}

#[derive(Debug)]
struct Slot {
    entry: Claimed,
    delays: Option<Box<ExponentialBackoff>>,
}

/// What may be on its way besides what is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: u64,
    /// One that is longer than all of them may be.
    pub(super) large: bool,
}

/// Longer than all others that are on their way may be together.
pub(super) fn is_large(entry: &Claimed) -> bool {
    entry.bytes > bounds::IN_FLIGHT_BYTES_MAX
}

impl Window {
    /// How many more entries should be claimed: many at a time, since each claim is a transaction.
    pub(super) fn room(&self) -> usize {
        let full = self.slots.len() + bounds::CLAIM_MAX > bounds::WINDOW_MAX
            || self.parked_len + bounds::CLAIM_MAX > bounds::PARKED_MAX;
        if full { 0 } else { bounds::CLAIM_MAX }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.parked_len == 0
    }

    /// Whether all that is left waits for its route.
    pub(super) fn is_parked(&self) -> bool {
        self.slots.is_empty() && self.parked_len > 0
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() + self.parked_len
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

    /// Takes the oldest entries whose time it is, as many as there is room for.
    pub(super) fn take(&mut self, mut room: Room, now: Instant) -> Vec<Claimed> {
        while let Some(&(at, key)) = self.resting.first()
            && at <= now
        {
            self.resting.pop_first();
            self.ready.insert(key);
        }
        let mut taken = Vec::new();
        for entry in self.ready.iter().filter_map(|key| self.slots.get(key)).map(|slot| slot.entry) {
            if taken.len() == room.entries {
                break;
            }
            if is_large(&entry) {
                if !std::mem::take(&mut room.large) {
                    continue;
                }
            } else if entry.bytes > room.bytes {
                break;
            } else {
                room.bytes -= entry.bytes;
            }
            taken.push(entry);
        }
        for entry in &taken {
            self.ready.remove(&entry.key);
        }
        taken
    }

    /// Its route is refused.
    pub(super) fn park(&mut self, entry: Claimed, route: &str) {
        self.slots.remove(&entry.key);
        if !self.parked.contains_key(route) {
            self.parked.insert(route.to_owned(), BTreeMap::new());
        }
        if let Some(parked) = self.parked.get_mut(route)
            && parked.insert(entry.key, entry).is_none()
        {
            self.parked_len += 1;
        }
    }

    /// Routes that entries wait for.
    pub(super) fn parked_routes(&self) -> Vec<String> {
        self.parked.keys().cloned().collect()
    }

    /// The oldest entry that waits for the route, to be sent.
    pub(super) fn unpark_one(&mut self, route: &str) -> Option<Claimed> {
        let parked = self.parked.get_mut(route)?;
        let (key, entry) = parked.pop_first()?;
        self.parked_len -= 1;
        if parked.is_empty() {
            self.parked.remove(route);
        }
        self.slots.insert(key, Slot { entry, delays: None });
        Some(entry)
    }

    /// The route isn't refused any more: its entries are ready.
    pub(super) fn unpark(&mut self, route: &str) {
        while let Some(entry) = self.unpark_one(route) {
            self.ready.insert(entry.key);
        }
    }

    /// As it was claimed last.
    pub(super) fn entry(&self, key: u64) -> Option<Claimed> {
        self.slots.get(&key).map(|slot| slot.entry)
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
        self.ready.remove(&key);
        self.slots.remove(&key);
    }
}
