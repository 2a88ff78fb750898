//! When something that failed is tried again: exponential backoff with full jitter.

use std::time::Duration;

use aws_lc_rs::rand;

/// Delays that double, each cut to a random part of itself, so that what failed together doesn't come
/// back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest delay after the first failure.
    pub first: Duration,
    /// The longest delay at all.
    pub cap: Duration,
}

impl Backoff {
    /// The delay after so many failures: anything from nothing to [`Backoff::ceiling`], evenly.
    pub fn delay(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(fraction())
    }

    /// The longest delay after so many failures, at least one.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// From 0 to 1, evenly.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        // Without randomness there is no jitter, and still a delay.
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(300) };

    #[test]
    fn delays_double_up_to_the_cap() {
        let seconds: Vec<u64> = (1..=11).map(|n| BACKOFF.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(BACKOFF.ceiling(u32::MAX), BACKOFF.cap);
        assert_eq!(BACKOFF.ceiling(0), BACKOFF.first);
        assert_eq!(Backoff { first: Duration::MAX, cap: Duration::MAX }.ceiling(9), Duration::MAX);
    }

    #[test]
    fn jitter_spreads_evenly_over_all_of_the_delay() {
        let delays: Vec<f64> = (0..4_000).map(|_| BACKOFF.delay(4).as_secs_f64()).collect();
        assert!(delays.iter().all(|d| (0.0..=8.0).contains(d)));
        let mean = delays.iter().sum::<f64>() / 4_000.0;
        assert!((3.7..4.3).contains(&mean), "{mean}");
        assert!(delays.iter().any(|d| *d < 0.2) && delays.iter().any(|d| *d > 7.8));
    }
}
