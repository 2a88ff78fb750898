//! What the load prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A run's result. Times in microseconds, memory in bytes; what is said of the server is of the measured part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// How long was measured.
    pub seconds: f64,
    /// Webhooks answered, whatever the answer.
    pub answered: u64,
    /// The same in a second.
    pub per_second: f64,
    /// How many had which status.
    pub statuses: BTreeMap<u16, u64>,
    /// 2xx of the whole run, warm-up and stragglers included.
    pub acknowledged_in_all: u64,
    /// Webhooks answered in the whole run.
    pub answered_in_all: u64,
    /// Connections that broke under a webhook.
    pub broken: u64,
    /// Webhooks without an answer in the end.
    pub unanswered: u64,
    /// The median latency; from the intended time on, at a fixed rate.
    pub p50_us: f64,
    /// 99 of 100 took no longer.
    pub p99_us: f64,
    /// 999 of 1,000 took no longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// The server's processor time, user and system, per webhook answered.
    pub cpu_us: Option<f64>,
    /// The server's memory at the end, after the load.
    pub resident_bytes: Option<u64>,
    /// The most that it ever had.
    pub resident_peak_bytes: Option<u64>,
    /// This program's own, per webhook answered.
    pub own_cpu_us: f64,
}
