//! `kill -9` at random moments: nothing that was acknowledged is missing, nothing is altered.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use crate::child::{self, Process};
use crate::common::{consumer, dir, drain, id_in, open, random, sql_do};

const ROUNDS: usize = 20;

/// Lets a child run for a random while after its first line, kills it, and returns its lines.
fn run_and_kill(mut process: Process) -> thread::JoinHandle<Vec<Uuid>> {
    thread::spawn(move || {
        let first = process.line().expect("the child says something");
        let (_never, wait) = mpsc::sync_channel::<()>(0);
        let _ = wait.recv_timeout(Duration::from_micros(random(200_000)));
        process.kill();
        let lines = std::iter::once(first).chain(process.rest());
        // The kill may have cut the last line, but then it has no end and wasn't returned.
        lines.map(|line| line.parse().unwrap()).collect()
    })
}

fn start(job: &str, dir: &Path) -> Process {
    Process::start(&mut child::command(job, dir))
}

#[tokio::test]
async fn a_killed_daemon_loses_nothing() {
    let dir = dir();
    let mut total = 0;
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(start("append", dir.path())).join().unwrap();
        let queue = open(dir.path());
        let found: HashSet<Uuid> =
            drain(&consumer(dir.path())).await.iter().map(|message| id_in(&message.message)).collect();
        let missing: Vec<&Uuid> = acknowledged.iter().filter(|id| !found.contains(id)).collect();
        assert!(missing.is_empty(), "round {round}: {} of {} missing", missing.len(), acknowledged.len());
        total += acknowledged.len();
        queue.close().await;
    }
    assert!(total > 20 * ROUNDS, "too few to mean anything: {total}");
}

/// A worker is killed too. What it named may be gone, for it acknowledges next; all else must be there.
#[tokio::test]
async fn killed_workers_lose_nothing_either() {
    let dir = dir();
    open(dir.path()).close().await;
    let (mut acknowledged, mut worked_on) = (HashSet::new(), HashSet::new());
    for _ in 0..ROUNDS {
        let daemon = run_and_kill(start("append", dir.path()));
        let worker = run_and_kill(start("work", dir.path()));
        acknowledged.extend(daemon.join().unwrap());
        worked_on.extend(worker.join().unwrap());
    }
    let queue = open(dir.path());
    // Those that a killed worker held: its lease is long.
    sql_do(dir.path(), "UPDATE leases SET expires_ms = 0");
    let found: HashSet<Uuid> =
        drain(&consumer(dir.path())).await.iter().map(|message| id_in(&message.message)).collect();
    let missing = acknowledged.iter().filter(|id| !found.contains(id) && !worked_on.contains(id)).count();
    assert_eq!(missing, 0, "of {}", acknowledged.len());
    assert!(worked_on.len() > ROUNDS, "too few to mean anything: {}", worked_on.len());
    assert_eq!(queue.depth().await.unwrap().messages, 0);
    queue.close().await;
}

/// Killed while it makes the store: whatever is left, the next one goes on from there.
#[tokio::test]
async fn a_daemon_killed_at_its_first_start_leaves_no_damage() {
    for _ in 0..ROUNDS {
        let dir = dir();
        let mut process = start("obey", dir.path());
        let (_never, wait) = mpsc::sync_channel::<()>(0);
        let _ = wait.recv_timeout(Duration::from_micros(random(25_000)));
        process.kill();
        let queue = open(dir.path());
        crate::common::append(&queue, "x").await;
        queue.close().await;
    }
}
