//! One document of the cache: how old it may be, and when asking for it again makes sense.

use bytes::Bytes;
use tokio::time::Instant;

use crate::bounds::{KEY_FRESH, KEY_KEPT, KEY_RETRY_PAUSE, KEY_SETTLED};
use crate::verify::KeyDocument;

/// What is known of one address.
#[derive(Debug)]
pub(super) struct Entry {
    document: Option<Held>,
    failed: Option<Instant>,
    pub(super) used: Instant,
}

#[derive(Debug)]
struct Held {
    bytes: Bytes,
    version: u64,
    fetched: Instant,
}

/// What to do for who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Take it.
    Use(KeyDocument),
    /// Take it, and fetch it anew behind.
    UseAndRefresh(KeyDocument),
    /// Wait for it to be fetched.
    Fetch,
    /// It couldn't be had a moment ago.
    GiveUp,
}

impl Entry {
    pub(super) fn new(now: Instant) -> Self {
        Self { document: None, failed: None, used: now }
    }

    /// Whether nothing was ever had from there: such entries go first.
    pub(super) fn is_empty(&self) -> bool {
        self.document.is_none()
    }

    /// What to do for who has tried the version `beyond`.
    pub(super) fn advise(&self, beyond: Option<u64>, now: Instant) -> Advice {
        let failed_just_now = self.failed.is_some_and(|failed| now - failed < KEY_RETRY_PAUSE);
        let usable = self.document.as_ref().filter(|held| now - held.fetched < KEY_KEPT);
        let wanted = usable.filter(|held| beyond != Some(held.version) || held.is_settled(now));
        match wanted {
            Some(held) if now - held.fetched < KEY_FRESH || failed_just_now => {
                Advice::Use(held.document(now))
            }
            Some(held) => Advice::UseAndRefresh(held.document(now)),
            None if failed_just_now => Advice::GiveUp,
            None => Advice::Fetch,
        }
    }

    /// Takes what was fetched.
    pub(super) fn store(&mut self, bytes: Bytes, now: Instant) {
        let version = self.document.as_ref().map_or(1, |held| held.version + 1);
        self.document = Some(Held { bytes, version, fetched: now });
        self.failed = None;
    }

    /// Remembers that it couldn't be fetched; an older document stays.
    pub(super) fn fail(&mut self, now: Instant) {
        self.failed = Some(now);
    }
}

impl Held {
    /// So young that asking again would tell nothing new: it bounds what forged key ids cost.
    fn is_settled(&self, now: Instant) -> bool {
        now - self.fetched < KEY_SETTLED
    }

    fn document(&self, now: Instant) -> KeyDocument {
        KeyDocument { bytes: self.bytes.clone(), version: self.version, is_current: self.is_settled(now) }
    }
}
