//! The log's few lines about an outage: what is wrong and what to do, once; that it is over, once.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::handler::EnqueueError;

/// What kind of trouble: each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Away,
    Late,
    Rejected,
    Full,
    Unroutable,
    Misconfigured,
}

const KINDS: usize = 6;

/// The same is told again after it was over for so long.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

impl Trouble {
    pub(super) fn of(error: &EnqueueError) -> Self {
        match error {
            EnqueueError::Unavailable(_) => Self::Away,
            EnqueueError::TimedOut { .. } => Self::Late,
            // One that is too large never comes here: it isn't spooled.
            EnqueueError::Rejected(_) | EnqueueError::TooLarge { .. } => Self::Rejected,
            EnqueueError::Full(_) => Self::Full,
            EnqueueError::Unroutable(_) => Self::Unroutable,
            EnqueueError::Misconfigured(_) => Self::Misconfigured,
        }
    }

    /// Whether one message alone may be the reason.
    pub(super) fn may_be_one_message(self) -> bool {
        matches!(self, Self::Rejected | Self::Unroutable)
    }

    /// Whether time alone may mend it.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Away | Self::Late)
    }

    fn what_to_do(self) -> &'static str {
        match self {
            Self::Away => "it goes on by itself when the broker is back",
            Self::Late => "it goes on by itself when the broker confirms in time again",
            Self::Rejected => "look at the broker's log and policies for why it refuses",
            Self::Full => "make room: let workers consume, or raise the queue's bound",
            Self::Unroutable => "create the queue, stream or binding, or mend the destination's name",
            Self::Misconfigured => "mend the credentials or permissions",
        }
    }
}

/// The state of a destination as the log has told it.
#[derive(Debug)]
pub(super) struct Outage {
    destination: String,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    began: Instant,
    told: [Option<Instant>; KINDS],
    draining: bool,
    /// Trouble was told, and nothing of its end yet.
    news: bool,
    drained: u64,
}

impl Open {
    fn new() -> Self {
        Self { began: Instant::now(), told: [None; KINDS], draining: false, news: true, drained: 0 }
    }
}

impl Outage {
    pub(super) fn new(destination: &str) -> Self {
        Self { destination: destination.to_owned(), open: Mutex::new(None) }
    }

    /// Messages go to the spool, or stay there.
    pub(super) fn trouble(&self, trouble: Trouble, why: &str) {
        let told = self.with(|open| {
            let open = open.get_or_insert_with(Open::new);
            let last = &mut open.told[trouble as usize];
            let old = last.is_some_and(|at| open.draining && at.elapsed() > TOLD_AGAIN);
            open.draining = false;
            let tell = last.is_none() || old;
            if tell {
                *last = Some(Instant::now());
                open.news = true;
            }
            tell
        });
        let destination = self.destination.as_str();
        match trouble {
            _ if !told => {}
            Trouble::Misconfigured | Trouble::Unroutable => {
                tracing::error!(destination, why, what_to_do = trouble.what_to_do(), "spooling");
            }
            _ => tracing::warn!(destination, why, what_to_do = trouble.what_to_do(), "spooling"),
        }
    }

    /// Messages of an earlier run are there.
    pub(super) fn backlog(&self, messages: u64) {
        self.with(|open| {
            open.get_or_insert_with(Open::new);
        });
        tracing::info!(destination = self.destination.as_str(), messages, "messages in the spool");
    }

    /// The broker took a spooled message. Told once after trouble was told, however often it comes and goes.
    pub(super) fn drained_one(&self) {
        if self.is_news_that_one_drained() {
            tracing::info!(destination = self.destination.as_str(), "draining the spool");
        }
    }

    fn is_news_that_one_drained(&self) -> bool {
        self.with(|open| {
            let Some(open) = open else { return false };
            open.drained += 1;
            open.draining = true;
            std::mem::take(&mut open.news)
        })
    }

    /// Nothing is left in the spool, and the broker takes messages.
    pub(super) fn over(&self) {
        if let Some(open) = self.with(Option::take) {
            let took_ms = u64::try_from(open.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let messages = open.drained;
            tracing::info!(destination = self.destination.as_str(), messages, took_ms, "spool drained");
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Open>) -> T) -> T {
        look(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_comes_and_goes_is_not_told_each_time() {
        let outage = Outage::new("queue webhooks");
        outage.trouble(Trouble::Late, "5 in a row");
        assert!(outage.is_news_that_one_drained());
        for _ in 0..10 {
            outage.trouble(Trouble::Late, "5 in a row");
            assert!(!outage.is_news_that_one_drained(), "the trouble wasn't told again, so neither is this");
        }
        outage.trouble(Trouble::Away, "connection refused");
        assert!(outage.is_news_that_one_drained(), "another trouble was told");
        outage.over();
        outage.trouble(Trouble::Late, "5 in a row");
        assert!(outage.is_news_that_one_drained());
    }
}
