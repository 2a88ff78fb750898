//! What anybody can cause, thinned out: so many lines a second and reason stand alone, the
//! rest becomes a count. A scan of the internet's must not fill the disk.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Level, Logger, Outcome};
use crate::bounds::LOG_REFUSALS_PER_S;
use crate::reason::Reason;

/// One reason's current second.
#[derive(Clone, Copy)]
struct Window {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// Decides which refusals get a line of their own.
pub struct Quiet {
    windows: Mutex<[Option<Window>; Reason::ALL.len()]>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self { windows: Mutex::new([None; Reason::ALL.len()]) }
    }
}

impl Quiet {
    /// Whether a line for this reason may be written now. Counts it when not.
    pub fn allows(&self, reason: Reason, now: Instant) -> bool {
        if !reason.is_noise() {
            return true;
        }
        let mut windows = self.windows.lock().expect("nothing panics under this lock");
        let window = windows[reason as usize].get_or_insert(Window { since: now, written: 0, left_out: 0 });
        if now.duration_since(window.since) >= Duration::from_secs(1) && window.left_out == 0 {
            *window = Window { since: now, written: 0, left_out: 0 };
        }
        if window.written < LOG_REFUSALS_PER_S {
            window.written += 1;
            return true;
        }
        window.left_out += 1;
        false
    }

    /// The counts of the seconds that have passed; to be called about once a second, and at the end
    /// with `all`.
    pub fn take_counts(&self, now: Instant, all: bool) -> Vec<(Reason, u64)> {
        let mut windows = self.windows.lock().expect("nothing panics under this lock");
        let over = |window: &Window| all || now.duration_since(window.since) >= Duration::from_secs(1);
        let mut counts = Vec::new();
        for reason in Reason::ALL {
            let slot = &mut windows[reason as usize];
            if let Some(window) = slot.take_if(|window| over(window))
                && window.left_out > 0
            {
                counts.push((reason, window.left_out));
            }
        }
        counts
    }

    /// Writes a line for each count.
    pub fn report(&self, logger: &Logger, now: Instant, all: bool) {
        for (reason, count) in self.take_counts(now, all) {
            if logger.enabled(Level::Warn) {
                let mut line = logger.line(Level::Warn, "more deliveries refused, without a line each");
                let outcome = if reason.is_failure() { Outcome::Failed } else { Outcome::Refused };
                line.string("outcome", outcome.as_str())
                    .string("reason", reason.as_str())
                    .number("count", count);
                logger.write(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_second_stand_alone_and_the_rest_is_counted() {
        let quiet = Quiet::default();
        let start = Instant::now();
        let allowed = (0..25).filter(|_| quiet.allows(Reason::SignatureMismatch, start)).count();
        assert_eq!(allowed, 10);
        assert!(quiet.allows(Reason::UnknownReceiver, start), "each reason has its own ten");
        assert!(quiet.allows(Reason::BodyTooLarge, start), "others are always written");
        assert!(quiet.take_counts(start, false).is_empty(), "the second isn't over");
        let later = start + Duration::from_secs(1);
        assert_eq!(quiet.take_counts(later, false), [(Reason::SignatureMismatch, 15)]);
        assert!(quiet.allows(Reason::SignatureMismatch, later), "a new second");
        assert!(quiet.take_counts(later, true).is_empty());
    }
}
