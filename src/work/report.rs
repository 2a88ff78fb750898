//! The worker's log: a line for each failure, one for each dead letter, and a summary at the end. Never
//! bodies, never secrets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluiced_queue::LeasedMessage;

use super::attempt::{AttemptError, Job};
use crate::log::line::Line;
use crate::log::{Level, Logger};

/// Writes the lines and counts.
pub struct Report {
    logger: Logger,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    lost: AtomicU64,
    returned: AtomicU64,
}

impl Report {
    /// Writes through this logger.
    pub fn new(logger: Logger) -> Self {
        let zero = || AtomicU64::new(0);
        Self { logger, acknowledged: zero(), failed: zero(), dead: zero(), lost: zero(), returned: zero() }
    }

    /// A message is done.
    pub fn acknowledged(&self) {
        count(&self.acknowledged);
    }

    /// A message that wasn't begun went back.
    pub fn returned(&self) {
        count(&self.returned);
    }

    /// An attempt failed, and the message comes back.
    pub fn failed(&self, job: &Job, why: &AttemptError, delay: Duration) {
        count(&self.failed);
        self.line(Level::Warn, "attempt failed", |line| {
            about(line, job).string("why", &why.to_string()).number("retry_in_ms", ms(delay));
        });
    }

    /// A message became a dead letter.
    pub fn buried(&self, message: &LeasedMessage, job: Option<&Job>, reason: &str) {
        count(&self.dead);
        self.line(Level::Error, "dead letter", |line| {
            match job {
                Some(job) => about(line, job),
                None => line.number("tag", message.tag).number("attempt", message.attempt.into()),
            };
            line.string("reason", reason);
        });
    }

    /// Somebody else may have the message by now, or what came of it couldn't be written down.
    pub fn lost(&self, message: &LeasedMessage, job: Option<&Job>, why: &str) {
        count(&self.lost);
        self.line(Level::Warn, "the message will come again", |line| {
            match job {
                Some(job) => about(line, job),
                None => line.number("tag", message.tag).number("attempt", message.attempt.into()),
            };
            line.string("why", why);
        });
    }

    /// The last line.
    pub fn summary(&self) {
        self.line(Level::Info, "work ended", |line| {
            for (key, counter) in [
                ("acknowledged", &self.acknowledged),
                ("failed", &self.failed),
                ("dead", &self.dead),
                ("lost", &self.lost),
                ("returned", &self.returned),
            ] {
                line.number(key, counter.load(Ordering::Relaxed));
            }
        });
    }

    fn line(&self, level: Level, msg: &str, fill: impl FnOnce(&mut Line)) {
        if self.logger.enabled(level) {
            let mut line = self.logger.line(level, msg);
            fill(&mut line);
            self.logger.write(line);
        }
    }
}

fn about<'l>(line: &'l mut Line, job: &Job) -> &'l mut Line {
    let context = &job.context;
    line.string("message_id", &context.message_id.to_string())
        .string("receiver", &context.receiver)
        .string("id", &context.id)
        .number("attempt", job.message.attempt.into())
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
