//! `kill -9` at any moment loses nothing that was acknowledged: of the daemon under load, of a worker
//! in the middle of its work.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::client::GITHUB;
use crate::daemon::{Daemon, environment, wait_until};
use crate::flood::{Flood, body_of};
use crate::worker::{Worker, body, drain_each};

const SENDERS: usize = 64;

#[test]
fn a_daemon_killed_under_load_loses_nothing_acknowledged() {
    let rounds = environment("SLUICED_TEST_KILL_ROUNDS", 8);
    let dir = tempfile::tempdir().unwrap();
    let mut missing: HashSet<String> = HashSet::new();
    for round in 0..rounds {
        missing.extend(killed_under_load(dir.path(), round));
    }
    let acknowledged = missing.len();
    drain_each(dir.path(), |message| {
        // A webhook whose answer the kill cut off may be there too, but never half of it.
        assert_whole(&message);
        missing.remove(message["deliveryId"].as_str().unwrap());
    });
    println!("{rounds} kills, {acknowledged} webhooks acknowledged, {} missing", missing.len());
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
}

#[test]
fn a_worker_killed_in_the_middle_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let flood = Flood::start(daemon.address, SENDERS, "worker");
    let mut printed = Vec::new();
    for kilobytes in [1, 30, 200] {
        printed.extend(killed_worker(dir.path(), kilobytes << 10));
    }
    let tally = flood.stop();
    assert_eq!(tally.broken, []);
    let mut missing: HashSet<String> = tally.acknowledged.into_iter().collect();
    let mut took = |message: Value| {
        assert_whole(&message);
        missing.remove(message["deliveryId"].as_str().unwrap());
    };
    printed.into_iter().for_each(&mut took);
    // What the killed ones held comes back when their leases end: this waits for it.
    drain_each(dir.path(), took);
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    daemon.stop();
}

/// Starts the daemon, kills it under load, and returns what it had acknowledged. Each round is another
/// length: it ends after some number of acknowledgements, in the middle of the others.
fn killed_under_load(dir: &Path, round: u64) -> Vec<String> {
    let daemon = Daemon::start(dir, &[GITHUB]);
    let flood = Flood::start(daemon.address, SENDERS, &format!("round-{round}"));
    let enough = 100 + round * 137 % 1_000;
    wait_until("acknowledgements", || flood.acknowledged() >= enough);
    daemon.kill();
    let tally = flood.join();
    assert_eq!(tally.broken.len(), SENDERS, "every sender was at work when it was killed");
    tally.acknowledged
}

/// Starts a worker, kills it after it has written so much, and returns the whole lines that it wrote.
fn killed_worker(dir: &Path, bytes: usize) -> Vec<Value> {
    let mut worker = Worker::start(dir, &[]);
    let mut stdout = worker.stdout.take().unwrap();
    let mut written = vec![0; bytes];
    stdout.read_exact(&mut written).unwrap();
    worker.kill().unwrap();
    worker.wait().unwrap();
    stdout.read_to_end(&mut written).unwrap();
    let whole = written.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let lines = String::from_utf8(written[..whole].to_vec()).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_whole(message: &Value) {
    let delivery = message["deliveryId"].as_str().unwrap();
    assert_eq!(body(message), body_of(delivery), "{delivery}");
}
