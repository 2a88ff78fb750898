//! What a connection is doing, and until when it may go on doing it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::sent_frames::Refused;
use crate::bounds::{DRAIN_IDLE, H2_RESETS_MAX};

/// The times that a connection is held to.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a request to the end of its headers; also before the first one.
    pub header: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// A connection's state, shared by its socket, its requests, and the task that watches the clock.
#[derive(Debug)]
pub struct Activity {
    patience: Patience,
    /// On HTTP/2 bytes may be anything: pings, windows, a frame of some stream.
    multiplexed: AtomicBool,
    /// A request was answered before it was read to its end.
    unread: AtomicBool,
    /// Requests that were cut off, less those that were answered.
    cut_off: AtomicU32,
    /// Streams that broke the protocol and have no line in the log yet.
    faults: AtomicU32,
    /// The same for requests whose headers h2 didn't keep.
    oversized: AtomicU32,
    doing: Mutex<Doing>,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Headers are awaited; `begun` once a byte of them came.
    Headers { since: Instant, begun: bool },
    /// So many requests are being answered; the body has a clock of its own.
    Requests(u32),
    /// The last request was answered.
    Idle { since: Instant },
}

impl Activity {
    /// A connection just accepted.
    pub fn new(patience: Patience) -> Arc<Self> {
        Arc::new(Self {
            patience,
            multiplexed: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            cut_off: AtomicU32::new(0),
            faults: AtomicU32::new(0),
            oversized: AtomicU32::new(0),
            doing: Mutex::new(Doing::Headers { since: Instant::now(), begun: false }),
        })
    }

    /// The connection speaks HTTP/2: from its first request on only requests count, not bytes.
    pub fn is_http2(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    /// Whether it speaks HTTP/2.
    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Bytes of a head came in. They begin a request, if none is being answered.
    pub fn head_came(&self) {
        if self.is_multiplexed() {
            return;
        }
        let mut doing = self.lock();
        let since = match *doing {
            Doing::Headers { since, .. } => since,
            Doing::Idle { .. } => Instant::now(),
            Doing::Requests(_) => return,
        };
        *doing = Doing::Headers { since, begun: true };
    }

    /// A request's headers are complete; it lasts until the guard is dropped.
    pub fn request(self: &Arc<Self>) -> RequestGuard {
        let mut doing = self.lock();
        *doing = match *doing {
            Doing::Requests(n) => Doing::Requests(n + 1),
            _ => Doing::Requests(1),
        };
        RequestGuard { activity: self.clone(), answered: false }
    }

    /// A request was answered before it was read to its end: more of it may come.
    pub fn left_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether closing at once might reset the connection under an answer.
    pub fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Streams were refused by h2 itself.
    pub fn refused(&self, refused: Refused) {
        self.faults.fetch_add(refused.faults, Ordering::Relaxed);
        self.oversized.fetch_add(refused.oversized, Ordering::Relaxed);
    }

    /// How many were since this was asked last.
    pub fn take_refused(&self) -> Refused {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        Refused { faults: take(&self.faults), oversized: take(&self.oversized) }
    }

    /// Whether far more of its requests were cut off than answered.
    pub fn is_abused(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed) > H2_RESETS_MAX
    }

    /// Until when the connection may go on as it is; `None` while requests are being answered.
    /// When stopping, a connection on which nothing has begun is kept for a moment only.
    pub fn deadline(&self, stopping: Option<Instant>) -> Option<Instant> {
        let (late, quiet) = match *self.lock() {
            Doing::Requests(_) => return None,
            Doing::Headers { since, begun } => (since + self.patience.header, !begun),
            Doing::Idle { since } => (since + self.patience.idle, true),
        };
        let stop = stopping.filter(|_| quiet).map(|since| since + DRAIN_IDLE);
        Some(stop.map_or(late, |stop| stop.min(late)))
    }

    /// Whether headers have begun and not ended.
    pub fn in_headers(&self) -> bool {
        matches!(*self.lock(), Doing::Headers { begun: true, .. })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Doing> {
        self.doing.lock().expect("nothing panics under this lock")
    }
}

/// A request being answered.
#[derive(Debug)]
pub struct RequestGuard {
    activity: Arc<Activity>,
    answered: bool,
}

impl RequestGuard {
    /// There is an answer.
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let count = |cut_off: u32| {
            Some(if self.answered { cut_off.saturating_sub(1) } else { cut_off.saturating_add(1) })
        };
        let _ = self.activity.cut_off.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        if let Ok(mut doing) = self.activity.doing.lock() {
            *doing = match *doing {
                Doing::Requests(n) if n > 1 => Doing::Requests(n - 1),
                _ => Doing::Idle { since: Instant::now() },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { header: Duration::from_secs(10), idle: Duration::from_secs(75) };

    #[tokio::test(start_paused = true)]
    async fn the_clock_runs_from_the_first_byte_of_a_request() {
        let activity = Activity::new(PATIENCE);
        let start = Instant::now();
        assert_eq!(activity.deadline(None), Some(start + PATIENCE.header));
        tokio::time::advance(Duration::from_secs(3)).await;
        activity.head_came();
        activity.head_came();
        assert_eq!(activity.deadline(None), Some(start + PATIENCE.header), "trickling buys no time");
        let request = activity.request();
        let other = activity.request();
        activity.head_came();
        drop(request);
        assert_eq!(activity.deadline(None), None);
        drop(other);
        assert_eq!(activity.deadline(None), Some(Instant::now() + PATIENCE.idle));
        tokio::time::advance(Duration::from_secs(60)).await;
        activity.head_came();
        assert_eq!(activity.deadline(None), Some(Instant::now() + PATIENCE.header));
    }

    #[tokio::test(start_paused = true)]
    async fn on_http2_pings_neither_begin_a_request_nor_buy_time() {
        let activity = Activity::new(PATIENCE);
        activity.is_http2();
        drop(activity.request());
        let idle_since = Instant::now();
        tokio::time::advance(Duration::from_secs(20)).await;
        activity.head_came();
        assert_eq!(activity.deadline(None), Some(idle_since + PATIENCE.idle));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_cuts_off_more_than_is_answered_abuses() {
        let activity = Activity::new(PATIENCE);
        for _ in 0..10 * H2_RESETS_MAX {
            drop(activity.request());
            activity.request().answered();
        }
        assert!(!activity.is_abused());
        (0..=H2_RESETS_MAX).for_each(|_| drop(activity.request()));
        assert!(activity.is_abused());
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_leaves_what_has_begun_alone() {
        let activity = Activity::new(PATIENCE);
        let now = Instant::now();
        assert_eq!(activity.deadline(Some(now)), Some(now + DRAIN_IDLE));
        activity.head_came();
        assert_eq!(activity.deadline(Some(now)), Some(now + PATIENCE.header));
    }
}
