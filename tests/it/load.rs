//! A thousand senders at once, each with a connection of its own: every webhook is acknowledged, once,
//! and is there afterwards.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::client::GITHUB;
use crate::daemon::{Daemon, environment, pause};
use crate::flood::{Flood, body_of};
use crate::worker::{body, drain_each};

const SENDERS: usize = 1_000;
/// What a sender waits at least before it gives up (GitHub's; Slack's is 3 s).
const SENDER_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn a_thousand_senders_are_acknowledged_and_nothing_is_missing() {
    let seconds = environment("SLUICED_TEST_LOAD_SECONDS", 5);
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let flood = Flood::start(daemon.address, SENDERS, "load");
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        pause();
    }
    let tally = flood.stop();
    let memory_kib = peak_memory_kib(daemon.pid());
    assert_eq!(tally.broken, []);
    assert_eq!(tally.refused, [] as [u16; 0]);
    let mut latencies = tally.latencies_us;
    latencies.sort_unstable();
    let at = |q: f64| Duration::from_micros(latencies[((latencies.len() - 1) as f64 * q) as usize]);
    println!(
        "{SENDERS} senders, {seconds} s: {} webhooks ({} a second), p50 {:?}, p99 {:?}, max {:?}, daemon's peak {} MiB",
        latencies.len(),
        latencies.len() as u64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0),
        memory_kib >> 10
    );
    assert!(latencies.len() >= SENDERS, "each sender got one through at least");
    assert!(at(1.0) < SENDER_TIMEOUT, "a sender would have given up");
    daemon.stop();

    let mut missing: HashSet<String> = tally.acknowledged.into_iter().collect();
    drain_each(dir.path(), |message| {
        let delivery = message["deliveryId"].as_str().unwrap();
        assert!(missing.remove(delivery), "{delivery} came twice, or was never sent");
        assert_eq!(body(&message), body_of(delivery), "{delivery}");
    });
    assert!(missing.is_empty(), "{} acknowledged and not there: {missing:?}", missing.len());
}

/// The most memory that a process has had.
fn peak_memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
