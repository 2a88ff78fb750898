//! From where a receiver's deliveries come, and how many.

use std::time::{Duration, Instant};

use super::client::Origin;
use super::rate::{Limit, Rate};
use crate::config::front_door::ReceiverFrontConfig;
use crate::networks::Networks;

/// One receiver's.
#[derive(Debug, Default)]
pub struct ReceiverFront {
    allow: Option<Networks>,
    limit: Option<Limit>,
}

impl ReceiverFront {
    /// As configured; `rate` where the receiver has none of its own.
    pub fn new(config: &ReceiverFrontConfig, rate: Option<Rate>) -> Self {
        Self { allow: config.allow.clone(), limit: config.rate.or(rate).map(Limit::new) }
    }

    /// Whether the receiver is there for whom this comes from. A proxy's own address opens nothing to those
    /// behind it.
    pub fn admits(&self, origin: Origin) -> bool {
        self.allow.as_ref().is_none_or(|allow| origin.is_senders && allow.contain(origin.address))
    }

    /// Counts an authentic event.
    ///
    /// # Errors
    /// When there were too many: the time until there may be another.
    pub fn take(&self) -> Result<(), Duration> {
        self.limit.as_ref().map_or(Ok(()), |limit| limit.take(Instant::now()))
    }
}
