//! Counts and quantiles of the last ten seconds: one line under load, none when nothing comes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::delivery::Outcome;
use super::{Level, Logger};

/// Buckets a power of two: quantiles are right to 12.5 %.
const STEPS: usize = 8;
const BUCKETS: usize = 40 * STEPS;

/// Counts of deliveries since the last summary. Written by many tasks at once.
pub struct Summary {
    accepted: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    /// Accepted and answered by time to the answer, in microseconds.
    times: Box<[AtomicU64]>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            times: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Summary {
    /// Counts a delivery.
    pub fn count(&self, outcome: Outcome, total_us: u64) {
        let counter = match outcome {
            Outcome::Accepted | Outcome::Duplicate => &self.accepted,
            Outcome::Answered => &self.answered,
            Outcome::Refused => &self.refused,
            Outcome::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(outcome, Outcome::Accepted | Outcome::Duplicate | Outcome::Answered) {
            self.times[bucket(total_us)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the line and starts anew; nothing when there was nothing. `spooled`: messages in the spool.
    pub fn report(&self, logger: &Logger, spooled: Option<u64>) {
        let [accepted, answered, refused, failed] =
            [&self.accepted, &self.answered, &self.refused, &self.failed]
                .map(|c| c.swap(0, Ordering::Relaxed));
        let times: Vec<u64> = self.times.iter().map(|t| t.swap(0, Ordering::Relaxed)).collect();
        if accepted + answered + refused + failed == 0 || !logger.enabled(Level::Info) {
            return;
        }
        let mut line = logger.line(Level::Info, "summary");
        line.number("accepted", accepted)
            .number("answered", answered)
            .number("refused", refused)
            .number("failed", failed)
            .optional_number("p50_us", quantile(&times, 0.50))
            .optional_number("p99_us", quantile(&times, 0.99))
            .optional_number("spooled", spooled);
        logger.write(line);
    }
}

/// The bucket of a time: an exponent and the three bits below the highest.
fn bucket(us: u64) -> usize {
    if us < STEPS as u64 {
        return us as usize;
    }
    let exponent = us.ilog2() as usize;
    let step = (us >> (exponent - 3)) as usize & (STEPS - 1);
    ((exponent - 2) * STEPS + step).min(BUCKETS - 1)
}

/// The largest time of a bucket.
fn bucket_end(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (exponent, step) = (bucket / STEPS + 2, (bucket % STEPS) as u64);
    ((STEPS as u64 + step + 1) << (exponent - 3)) - 1
}

fn quantile(times: &[u64], q: f64) -> Option<u64> {
    let total: u64 = times.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = ((total as f64 * q).ceil() as u64).max(1);
    let mut seen = 0;
    let at = times.iter().position(|count| {
        seen += count;
        seen >= rank
    })?;
    Some(bucket_end(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for us in (0..10_000).chain([1 << 20, (1 << 30) + 12_345]) {
            let at = bucket(us);
            assert!(us <= bucket_end(at), "{us}");
            assert!(at == 0 || us > bucket_end(at - 1), "{us}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let mut times = vec![0; BUCKETS];
        for us in 1..=1_000 {
            times[bucket(us)] += 1;
        }
        let p50 = quantile(&times, 0.5).unwrap();
        let p99 = quantile(&times, 0.99).unwrap();
        assert!((500..=563).contains(&p50), "{p50}");
        assert!((990..=1_114).contains(&p99), "{p99}");
        assert_eq!(quantile(&vec![0; BUCKETS], 0.5), None);
    }
}
