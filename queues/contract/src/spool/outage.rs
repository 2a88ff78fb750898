//! The log's few lines about an outage: what is wrong and what to do, once; that it is over, once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bounds;
use crate::handler::EnqueueError;

/// What kind of trouble: each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    Away,
    Late,
    Rejected,
    Full,
    Unroutable,
    Misconfigured,
}

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
        matches!(self, Self::Rejected)
    }

    /// Whether it is about where the message should go: others may get to where they should.
    pub(super) fn is_the_routes(self) -> bool {
        matches!(self, Self::Full | Self::Unroutable | Self::Misconfigured)
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
    told: HashMap<(Trouble, String), Instant>,
    draining: bool,
    /// The broker took a message since trouble began: it isn't everybody's.
    took_one: bool,
    /// Trouble was told, and nothing of its end yet.
    news: bool,
    drained: u64,
}

impl Open {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            told: HashMap::new(),
            draining: false,
            took_one: false,
            news: true,
            drained: 0,
        }
    }
}

impl Outage {
    pub(super) fn new(destination: &str) -> Self {
        Self { destination: destination.to_owned(), open: Mutex::new(None) }
    }

    /// Messages go to the spool, or stay there.
    pub(super) fn trouble(&self, trouble: Trouble, why: &str) {
        self.trouble_on(trouble, "", why);
    }

    /// The same for those of one route, where a destination has more than one. Each has its own line, unless
    /// none of them leads anywhere: then one stands for all.
    pub(super) fn trouble_on(&self, trouble: Trouble, route: &str, why: &str) {
        if !self.is_news(trouble, route) {
            return;
        }
        let destination = self.destination.as_str();
        let route = (!route.is_empty()).then_some(route);
        match trouble {
            Trouble::Misconfigured | Trouble::Unroutable => {
                tracing::error!(destination, route, why, what_to_do = trouble.what_to_do(), "spooling");
            }
            _ => tracing::warn!(destination, route, why, what_to_do = trouble.what_to_do(), "spooling"),
        }
    }

    fn is_news(&self, trouble: Trouble, route: &str) -> bool {
        self.with(|open| {
            let open = open.get_or_insert_with(Open::new);
            let key = (trouble, route.to_owned());
            let last = open.told.get(&key);
            // A route that is refused stays so while others are drained.
            let over = open.draining && !trouble.is_the_routes();
            let tell = match last {
                Some(at) => over && at.elapsed() > TOLD_AGAIN,
                None if open.took_one => open.told.len() < bounds::ROUTES_MAX,
                None => !open.told.keys().any(|(told, _)| *told == trouble),
            };
            open.draining = false;
            if tell {
                open.told.insert(key, Instant::now());
                open.news = true;
            }
            tell
        })
    }

    /// The broker took a live message.
    pub(super) fn took_one(&self) {
        self.with(|open| {
            if let Some(open) = open {
                open.took_one = true;
            }
        });
    }

    /// The route takes messages again: if it doesn't once more, that is news, but not each few seconds.
    pub(super) fn route_is_back(&self, route: &str) {
        self.with(|open| {
            if let Some(open) = open {
                open.told.retain(|(_, told), at| told != route || at.elapsed() <= TOLD_AGAIN);
            }
        });
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
            open.took_one = true;
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
    fn a_route_has_a_line_of_its_own_while_others_lead_somewhere() {
        let outage = Outage::new("exchange hooks");
        assert!(outage.is_news(Trouble::Unroutable, "a"));
        assert!(!outage.is_news(Trouble::Unroutable, "b"), "nothing goes anywhere: that was said");
        outage.took_one();
        assert!(outage.is_news(Trouble::Unroutable, "b"));
        for _ in 0..10 {
            assert!(!outage.is_news(Trouble::Unroutable, "a") && !outage.is_news(Trouble::Unroutable, "b"));
            outage.is_news_that_one_drained();
        }
        assert!(outage.is_news(Trouble::Full, "b"), "another trouble");
    }

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
