//! The figures, and where they were measured.

use serde::{Deserialize, Serialize};
use sluiced_benches::report::Report;

use crate::backend::Backend;
use crate::measure::Load;

/// Everything that a call of this program has measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) cells: Vec<Cell>,
}

/// One comparison.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) backend: Backend,
    /// Bytes of a body.
    pub(crate) size: usize,
    pub(crate) load: Load,
    pub(crate) pairs: Vec<Pair>,
}

/// One run of each, right after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) floor: Report,
    pub(crate) daemon: Report,
}

impl Results {
    /// None yet, on this machine.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
        let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        Self {
            cpu: model.unwrap_or("unknown").trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            at: now.map_or(0, |now| now.as_secs()),
            cells: Vec::new(),
        }
    }
}

impl Cell {
    /// The median of a figure over the runs of one of the two.
    pub(crate) fn median(&self, of: impl Fn(&Pair) -> f64) -> f64 {
        median(self.pairs.iter().map(of).collect())
    }

    /// How often the floor's processor time the daemon takes: the median of the pairs' ratios, the least, and the
    /// greatest.
    pub(crate) fn ratio(&self) -> (f64, f64, f64) {
        let ratios: Vec<f64> = self.pairs.iter().map(|pair| cpu(&pair.daemon) / cpu(&pair.floor)).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(0.0, f64::max);
        (median(ratios), least, greatest)
    }

    /// Answers of all runs that weren't the expected one, broken connections and missing answers included.
    pub(crate) fn wrong(&self) -> u64 {
        let expected = self.backend.status();
        let wrong = |report: &Report| {
            let right = report.statuses.get(&expected).copied().unwrap_or(0);
            report.answered - right + report.broken + report.unanswered
        };
        self.pairs.iter().map(|pair| wrong(&pair.floor) + wrong(&pair.daemon)).sum()
    }
}

/// Microseconds of processor time per webhook.
pub(crate) fn cpu(report: &Report) -> f64 {
    report.cpu_us.unwrap_or(f64::NAN)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => (figures[n / 2 - 1] + figures[n / 2]) / 2.0,
        n => figures[n / 2],
    }
}
