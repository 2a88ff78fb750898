//! The figures, and where they were measured.

use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sluiced_benches::report::Report;

use crate::Failure;
use crate::backend::Backend;

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Seconds since 1970.
    pub(crate) at: u64,
    pub(crate) cells: Vec<Cell>,
    #[serde(default)]
    pub(crate) allocations: Vec<Allocations>,
    #[serde(default)]
    pub(crate) scale: Vec<Point>,
}

/// How webhooks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) connections: u16,
    /// Webhooks a second; without it as many as are answered.
    pub(crate) rate: Option<u64>,
}

/// Allocations per webhook under a saturating load.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Allocations {
    pub(crate) backend: Backend,
    /// Bytes of a body.
    pub(crate) size: usize,
    pub(crate) floor: Allocated,
    pub(crate) daemon: Allocated,
}

/// Of one of the two.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Allocated {
    pub(crate) count: f64,
    /// Bytes asked for.
    pub(crate) bytes: f64,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Axis {
    Connections,
    Receivers,
    BodyBytes,
    Depth,
}

impl Axis {
    pub(crate) const ALL: [Self; 4] = [Self::Connections, Self::Receivers, Self::BodyBytes, Self::Depth];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Receivers => "receivers",
            Self::BodyBytes => "body bytes",
            Self::Depth => "queued",
        }
    }
}

/// The daemon at one place of an axis.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) axis: Axis,
    pub(crate) x: u64,
    /// From its start until it listened.
    pub(crate) start_ms: f64,
    pub(crate) report: Report,
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
    /// How many of the daemon's went to its spool.
    #[serde(default)]
    pub(crate) spooled: u64,
}

impl Results {
    /// The figures that are there, on this machine or not; or none yet.
    pub(crate) fn read_or_new(file: &Path) -> Result<Self, Failure> {
        match std::fs::read(file) {
            Ok(text) => Ok(serde_json::from_slice(&text)
                .map_err(|error| format!("{}: {error}; take it away to begin anew", file.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::here()),
            Err(error) => Err(format!("{}: {error}", file.display()).into()),
        }
    }

    pub(crate) fn write(&mut self, file: &Path) -> Result<(), Failure> {
        let Self { cpu, cores, kernel, at, .. } = Self::here();
        (self.cpu, self.cores, self.kernel, self.at) = (cpu, cores, kernel, at);
        Ok(std::fs::write(file, serde_json::to_string(self)?)?)
    }

    /// In the place of the same comparison's.
    pub(crate) fn put(&mut self, cell: Cell) {
        let same = |old: &Cell| (old.backend, old.size, old.load) == (cell.backend, cell.size, cell.load);
        self.cells.retain(|old| !same(old));
        self.cells.push(cell);
    }

    pub(crate) fn put_allocations(&mut self, counted: Allocations) {
        self.allocations.retain(|old| (old.backend, old.size) != (counted.backend, counted.size));
        self.allocations.push(counted);
    }

    pub(crate) fn put_point(&mut self, point: Point) {
        // How deep a queue is comes out as it comes.
        let same = |old: &Point| old.axis == point.axis && (old.x == point.x || near(old.x, point.x));
        self.scale.retain(|old| !same(old));
        self.scale.push(point);
    }

    fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            cpu: model.unwrap_or("unknown").trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            at: now.map_or(0, |now| now.as_secs()),
            cells: Vec::new(),
            allocations: Vec::new(),
            scale: Vec::new(),
        }
    }
}

fn near(one: u64, other: u64) -> bool {
    one.min(other) > 0 && one.max(other) < 2 * one.min(other)
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
        self.pairs
            .iter()
            .map(|pair| wrong(self.backend, &pair.floor) + wrong(self.backend, &pair.daemon))
            .sum()
    }
}

/// A run's answers that weren't the expected one, broken connections and missing answers included.
pub(crate) fn wrong(backend: Backend, report: &Report) -> u64 {
    let right = report.statuses.get(&backend.status()).copied().unwrap_or(0);
    report.answered - right + report.broken + report.unanswered
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cpu_us: f64) -> Report {
        serde_json::from_value(serde_json::json!({
            "seconds": 1.0, "answered": 10, "per_second": 10.0, "statuses": { "200": 9, "503": 1 },
            "acknowledged_in_all": 9, "answered_in_all": 10, "broken": 2, "unanswered": 3, "p50_us": 1.0,
            "p99_us": 1.0, "p999_us": 1.0, "max_us": 1.0, "cpu_us": cpu_us, "resident_bytes": null,
            "resident_peak_bytes": null, "own_cpu_us": 1.0,
        }))
        .unwrap()
    }

    fn cell(pairs: &[(f64, f64)]) -> Cell {
        let pair =
            |&(floor, daemon): &(f64, f64)| Pair { floor: report(floor), daemon: report(daemon), spooled: 0 };
        let load = Load { connections: 64, rate: None };
        Cell { backend: Backend::Nats, size: 1024, load, pairs: pairs.iter().map(pair).collect() }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_pairs_not_of_the_sides() {
        let cell = cell(&[(1.0, 2.0), (10.0, 30.0), (2.0, 10.0)]);
        assert_eq!(cell.ratio(), (3.0, 2.0, 5.0));
    }

    #[test]
    fn whatever_was_not_acknowledged_is_wrong() {
        assert_eq!(cell(&[(1.0, 1.0)]).wrong(), 2 * (1 + 2 + 3));
    }

    #[test]
    fn a_comparison_replaces_itself_and_no_other() {
        let mut results = Results::here();
        results.put(cell(&[(1.0, 1.0)]));
        results.put(Cell { size: 2048, ..cell(&[(1.0, 1.0)]) });
        results.put(cell(&[(1.0, 2.0)]));
        let ratios: Vec<f64> = results.cells.iter().map(|cell| cell.ratio().0).collect();
        assert_eq!(ratios, [1.0, 2.0]);
    }
}
