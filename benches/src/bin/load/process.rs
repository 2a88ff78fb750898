//! What a process has used, as the kernel tells it.

use std::collections::BTreeMap;
use std::fs;

/// The unit of `/proc/PID/stat` on Linux, whatever the kernel's own is.
const TICK_NS: u64 = 10_000_000;

/// Processor time up to some moment.
pub(crate) struct Cpu {
    /// Of the whole process, in ticks of 10 ms.
    ticks: u64,
    /// Of each living thread, to the nanosecond.
    threads: BTreeMap<u32, u64>,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let gone = |error| format!("process {pid}: {error}");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(gone)?;
        // The name stands in parentheses and may hold anything; user and system time are the 12th and 13th after it.
        let after = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(gone)?.flatten() {
            let Ok(id) = thread.file_name().to_string_lossy().parse() else { continue };
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            threads.insert(id, text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0));
        }
        Ok(Self { ticks, threads })
    }

    /// Nanoseconds from then to now. Exact unless a thread has ended, which takes its own count with it.
    pub(crate) fn ns_since(&self, then: &Self) -> u64 {
        let all_live = then.threads.keys().all(|id| self.threads.contains_key(id));
        if all_live {
            self.threads.values().sum::<u64>().saturating_sub(then.threads.values().sum())
        } else {
            self.ticks.saturating_sub(then.ticks) * TICK_NS
        }
    }
}

/// Bytes that are resident now, and the most that ever were.
pub(crate) fn resident(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") << 10, kib("VmHWM:") << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted() {
        let own = std::process::id();
        let before = Cpu::of(own).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < 60 {
            std::hint::spin_loop();
        }
        let now = Cpu::of(own).unwrap();
        assert!(now.ns_since(&before) > 10 * TICK_NS / 10, "{}", now.ns_since(&before));
        assert!(now.ticks > before.ticks);
        let (now, peak) = resident(own);
        assert!(now > 100_000 && peak >= now, "{now} {peak}");
    }
}
