//! What all deliveries share, and the one place where a delivery's end is counted and logged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant as StdInstant;

use http::StatusCode;
use sluiced_queue::WebHookQueueHandler;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::backend::remote::Remote;
use crate::config::Limits;
use crate::handlers::Chain;
use crate::http::budget::Budget;
use crate::keys::Keys;
use crate::live::{Live, Swap};
use crate::log::quiet::Quiet;
use crate::log::summary::Summary;
use crate::log::{DeliveryRecord, Logger, Outcome};
use crate::metrics::Metrics;
use crate::reason::Reason;

/// How far the daemon is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not at all.
    Serving,
    /// Not ready any more; still accepting, and asking senders to close.
    Leaving,
    /// The listeners are closed; idle connections end.
    Draining {
        /// Since when.
        since: Instant,
    },
}

impl Phase {
    /// Since when idle connections have been ending.
    pub fn idle_connections_end(self) -> Option<Instant> {
        match self {
            Self::Draining { since } => Some(since),
            _ => None,
        }
    }
}

/// What all deliveries share.
pub struct App {
    /// Where deliveries go, and whom they are taken from.
    pub live: Swap<Live>,
    /// Keys that providers publish.
    pub keys: Arc<Keys>,
    /// What happens to them.
    pub chain: Chain,
    /// Where the default queue handler puts them.
    pub queue: Arc<dyn WebHookQueueHandler>,
    /// The broker behind it, if there is one.
    pub remote: Option<Arc<Remote>>,
    /// Bounds.
    pub limits: Limits,
    /// Memory for bodies.
    pub budget: Arc<Budget>,
    /// One permit for each webhook between the end of its body and its answer.
    pub in_flight: Arc<Semaphore>,
    /// The tasks of webhooks from verification on.
    pub webhooks: TaskTracker,
    /// How far the daemon is with stopping.
    pub phase: watch::Sender<Phase>,
    /// Log lines.
    pub logger: Logger,
    /// Thins out refusals in the log.
    pub quiet: Quiet,
    /// Counts of the last seconds.
    pub summary: Summary,
    /// Counts since the start.
    pub metrics: Metrics,
}

impl App {
    /// Whether senders are asked to close their connections.
    pub fn is_leaving(&self) -> bool {
        *self.phase.borrow() != Phase::Serving
    }

    /// The end of a delivery: counted, and one line in the log.
    pub fn conclude(
        &self,
        record: &DeliveryRecord,
        outcome: Outcome,
        reason: Option<Reason>,
        status: StatusCode,
    ) {
        self.summary.count(outcome, record.total_us());
        self.metrics.count(record, outcome, reason);
        if reason.is_none_or(|reason| self.quiet.allows(reason, StdInstant::now())) {
            record.write(&self.logger, outcome, reason, status);
        }
    }

    /// A request that never became a delivery: not HTTP, or too slow, or one too many.
    pub fn refused_at_the_door(&self, client: IpAddr, reason: Reason, detail: &str) {
        let mut record = DeliveryRecord::new(client);
        record.detail = Some(detail.to_owned());
        let outcome = if reason.is_failure() { Outcome::Failed } else { Outcome::Refused };
        self.conclude(&record, outcome, Some(reason), reason.status());
    }
}
