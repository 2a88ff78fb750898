//! Where messages wait for a delayed retry: queues from which they expire back into the queue that they came
//! from, dead-lettered at least once.
//!
//! Such a queue lets messages go in order, so one with a long delay would hold up those behind it: there is a
//! queue for each span of delays. A message's own expiration is its exact delay, and it waits no longer than
//! its span. The queues stay: a queue that deletes itself deletes what is in it.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};

use crate::topology;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The longest delay of each queue, in milliseconds, and its name's end.
const SPANS: [(u64, &str); 10] = [
    (SECOND, "1s"),
    (4 * SECOND, "4s"),
    (15 * SECOND, "15s"),
    (MINUTE, "1m"),
    (5 * MINUTE, "5m"),
    (20 * MINUTE, "20m"),
    (HOUR, "1h"),
    (4 * HOUR, "4h"),
    (24 * HOUR, "1d"),
    (7 * 24 * HOUR, "7d"),
];

/// One wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The queue to wait in.
    pub(crate) queue: String,
    /// For so long, in milliseconds.
    pub(crate) ms: u64,
    span_ms: u64,
    back_to: String,
}

impl Wait {
    /// Seven days at most: a longer delay ends then.
    pub(crate) fn new(queue: &str, delay: Duration) -> Self {
        let longest = SPANS[SPANS.len() - 1];
        // Rounded up: never back too early.
        let ms = u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).clamp(1, longest.0);
        let (span_ms, name) = SPANS.into_iter().find(|(span_ms, _)| *span_ms >= ms).unwrap_or(longest);
        Self { queue: format!("{queue}.delay.{name}"), ms, span_ms, back_to: queue.to_owned() }
    }

    /// With which the queue is declared.
    pub(crate) fn arguments(&self) -> FieldTable {
        let mut arguments = topology::quorum();
        topology::dead_letter_to(&mut arguments, "", Some(&self.back_to));
        let ttl = i64::try_from(self.span_ms).unwrap_or(i64::MAX);
        arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(ttl));
        arguments
    }
}

/// All queues in which messages of a queue may wait.
pub(crate) fn queues(queue: &str) -> impl Iterator<Item = String> {
    SPANS.iter().map(move |(_, name)| format!("{queue}.delay.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_waits_in_the_shortest_span_that_holds_it() {
        let of = |ms| {
            let wait = Wait::new("q", Duration::from_millis(ms));
            (wait.queue, wait.ms)
        };
        assert_eq!(of(0), ("q.delay.1s".into(), 1));
        assert_eq!(of(1_000), ("q.delay.1s".into(), 1_000));
        assert_eq!(of(1_001), ("q.delay.4s".into(), 1_001));
        assert_eq!(of(30_000), ("q.delay.1m".into(), 30_000));
        assert_eq!(of(8 * 24 * HOUR), ("q.delay.7d".into(), 7 * 24 * HOUR));
        assert_eq!(Wait::new("q", Duration::from_nanos(1_000_001)).ms, 2);
        assert_eq!(Wait::new("q", Duration::MAX).queue, "q.delay.7d");
        assert!(SPANS.is_sorted());
    }
}
