//! How many entries may be on their way to the broker.
//!
//! One more for each confirmation, so that a broker that has just come back is found to be well before it
//! gets many at a time. Half as many when live messages become slow, and no more for a second: they go first. While the broker is in
//! trouble, a probe a second; while it refuses, at growing distances.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::bounds;
use super::outage::Trouble;

#[derive(Debug)]
pub(super) struct Pace {
    allowed: usize,
    /// While there is trouble: when the next probe is due.
    probe_at: Option<Instant>,
    /// A probe is on its way.
    probing: bool,
    /// The last that was heard is bad.
    failing: bool,
    refused: ExponentialBackoff,
    refusals: u32,
    /// Slow live messages when the drain last made way.
    slow_seen: u64,
    yielded_at: Option<Instant>,
}

impl Pace {
    /// Begins with a probe.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            allowed: 1,
            probe_at: Some(now),
            probing: false,
            failing: false,
            refused: refused_delays(),
            refusals: 0,
            slow_seen: 0,
            yielded_at: None,
        }
    }

    /// How many more may be sent.
    pub(super) fn more(&self, in_flight: usize, now: Instant) -> usize {
        match self.probe_at {
            Some(at) => usize::from(at <= now && in_flight < PROBES_MAX),
            None => self.allowed.saturating_sub(in_flight),
        }
    }

    /// When the next probe is due, while there is trouble; `None` while too many are on their way.
    pub(super) fn probe_at(&self, in_flight: usize) -> Option<Instant> {
        self.probe_at.filter(|_| in_flight < PROBES_MAX)
    }

    /// Whether the last that was heard is bad.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Some were sent: the next probe has its time.
    pub(super) fn sent(&mut self, now: Instant) {
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe_at = Some(now + jittered(bounds::PROBE_DELAY));
            self.probing = true;
        }
    }

    /// The broker took one.
    pub(super) fn confirmed(&mut self, now: Instant) {
        if self.failing {
            self.refused = refused_delays();
        }
        self.refusals = 0;
        (self.failing, self.probing, self.probe_at) = (false, false, None);
        if self.yielded_at.is_none_or(|at| now.duration_since(at) >= bounds::YIELD_REST) {
            self.allowed = (self.allowed + 1).min(bounds::IN_FLIGHT_MAX);
        }
    }

    /// The broker didn't take one. True when that isn't about this entry alone.
    pub(super) fn failed(&mut self, trouble: Trouble, now: Instant) -> bool {
        if trouble.may_be_one_message() {
            self.refusals += 1;
            if self.refusals < bounds::REFUSALS_MAX {
                return false;
            }
        }
        self.allowed = 1;
        // Many may have been on their way: together they are one failure.
        if !self.failing || std::mem::take(&mut self.probing) {
            let delay = if trouble.passes() {
                jittered(bounds::PROBE_DELAY)
            } else {
                self.refused.next().unwrap_or(bounds::REFUSED_DELAY_MAX)
            };
            self.probe_at = Some(now + delay);
            self.failing = true;
        }
        true
    }

    /// It refuses some of what it gets, and so it is there.
    pub(super) fn answered(&mut self) {
        (self.failing, self.probing, self.probe_at) = (false, false, None);
    }

    /// What was sent has told nothing of the broker: the next probe is due.
    pub(super) fn probe_was_void(&mut self, now: Instant) {
        if self.probe_at.is_some() {
            self.probe_at = Some(now);
        }
    }

    /// The connection is down, or live messages miss their deadlines.
    pub(super) fn trouble(&mut self, now: Instant) {
        self.allowed = 1;
        self.failing = true;
        self.probe_at.get_or_insert(now + jittered(bounds::PROBE_DELAY));
    }

    /// The connection is back: no use in waiting for the next probe.
    pub(super) fn is_back(&mut self, now: Instant) {
        if self.probe_at.is_some() {
            self.probe_at = Some(now);
            self.failing = false;
        }
    }

    /// Makes way when more live messages were slow than the last time.
    pub(super) fn look_at_live(&mut self, slow: u64, now: Instant) {
        let lately = self.yielded_at.is_some_and(|at| now.duration_since(at) < bounds::YIELD_INTERVAL);
        if slow > self.slow_seen && !lately {
            self.allowed = (self.allowed / 2).max(1);
            self.yielded_at = Some(now);
            self.slow_seen = slow;
        }
    }
}

/// Probes without an answer. A frozen broker's answers come when it thaws.
const PROBES_MAX: usize = 8;

/// Delays for what the broker refuses.
pub(super) fn refused_delays() -> ExponentialBackoff {
    unlimited(bounds::REFUSED_DELAY, bounds::REFUSED_DELAY_MAX)
}

/// Delays for one entry.
pub(super) fn entry_delays() -> ExponentialBackoff {
    unlimited(bounds::ENTRY_DELAY, bounds::ENTRY_DELAY_MAX)
}

fn jittered(delay: Duration) -> Duration {
    unlimited(delay, delay).next().unwrap_or(delay)
}

fn unlimited(first: Duration, last: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(last)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_begins_with_one_and_gets_to_the_bound_by_confirmations() {
        let mut pace = Pace::new();
        let now = Instant::now();
        assert_eq!(pace.more(0, now), 1);
        for _ in 0..bounds::IN_FLIGHT_MAX + 5 {
            pace.confirmed(Instant::now());
        }
        assert_eq!(pace.more(0, now), bounds::IN_FLIGHT_MAX);
        assert_eq!(pace.more(bounds::IN_FLIGHT_MAX - 1, now), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn in_trouble_there_is_a_probe_a_second() {
        let mut pace = Pace::new();
        (0..64).for_each(|_| pace.confirmed(Instant::now()));
        let mut now = Instant::now();
        for _ in 0..64 {
            assert!(pace.failed(Trouble::Away, now));
        }
        let mut probes = 0;
        for _ in 0..600 {
            now += Duration::from_millis(100);
            if pace.more(0, now) > 0 {
                pace.sent(now);
                pace.failed(Trouble::Away, now);
                probes += 1;
            }
        }
        assert!((40..=80).contains(&probes), "{probes} probes in a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_broker_holds_few_probes() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        let mut in_flight = 0;
        for _ in 0..600 {
            in_flight += pace.more(in_flight, now);
            pace.sent(now);
            now += Duration::from_millis(100);
        }
        assert_eq!(in_flight, PROBES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_refused_entries_do_not_stop_the_others_and_many_do() {
        let mut pace = Pace::new();
        (0..64).for_each(|_| pace.confirmed(Instant::now()));
        let now = Instant::now();
        assert!(!pace.failed(Trouble::Rejected, now) && !pace.failed(Trouble::Rejected, now));
        pace.confirmed(Instant::now());
        assert!(!pace.failed(Trouble::Rejected, now) && !pace.is_failing());
        assert!(!pace.failed(Trouble::Rejected, now));
        assert!(pace.failed(Trouble::Rejected, now) && pace.is_failing());
    }

    #[tokio::test(start_paused = true)]
    async fn slow_live_messages_halve_it_once_in_an_interval() {
        let mut pace = Pace::new();
        (0..64).for_each(|_| pace.confirmed(Instant::now()));
        let now = Instant::now() + bounds::YIELD_INTERVAL;
        (1..50).for_each(|slow| pace.look_at_live(slow, now));
        assert_eq!(pace.more(0, now), 32);
        pace.look_at_live(50, now + bounds::YIELD_INTERVAL);
        assert_eq!(pace.more(0, now), 16);
    }
}
