//! Leases: kept while the work goes on, given up by the dead, and lost only to somebody else.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluiced_queue::WebHookQueueConsumer;

use crate::daemon::sluiced;
use crate::work_common::{Worker, fill_numbers, lines, run, script, wait_that, wait_until};
use crate::work_exec::is_over;

/// Goes on for as long as the test does.
const WAITS: &str = "echo $$ >> $DIR/pids; while [ -d $DIR ]; do sleep 0.05; done";

/// What the store says.
fn sql(dir: &Path, statement: &str) -> String {
    let mut command = Command::new("sqlite3");
    let output = command.arg("-cmd").arg(".timeout 10000").arg(dir.join("queue.db")).arg(statement).output();
    let output = output.expect("sqlite3 is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A worker that is busy with its only message.
fn busy(dir: &Path) -> Worker {
    fill_numbers(dir, 1);
    let handle = script(dir, WAITS);
    let worker = Worker::start(dir, &["--exec", "sh", handle.to_str().unwrap()]);
    wait_that(|| !lines(&dir.join("pids")).is_empty(), "it has begun");
    worker
}

#[test]
fn a_lease_is_shorter_than_the_work_may_take_and_extended_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let _worker = busy(dir.path());
    let expiry = || sql(dir.path(), "SELECT expires_ms FROM leases").parse::<u64>().unwrap();
    let first = expiry();
    let next = wait_until(|| Some(expiry()).filter(|at| *at != first), || "it isn't extended".into());
    assert!((9_000..20_000).contains(&(next - first)), "{} ms", next - first);
}

#[tokio::test]
async fn whoever_has_lost_a_lease_stops_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = busy(dir.path());
    // As if the worker had been asleep for longer than its lease.
    sql(dir.path(), "UPDATE leases SET expires_ms = 1");
    let other = sluiced_embedded::EmbeddedConsumer::open(dir.path(), "webhooks").unwrap();
    let taken = other.receive(1, Duration::from_secs(60), Duration::from_secs(5)).await.unwrap();
    assert_eq!(taken.len(), 1);
    let line = worker.wait_for("the message will come again");
    assert_eq!(line["why"], "the lease was lost; what ran is stopped");
    let pid = &lines(&dir.path().join("pids"))[0];
    wait_that(|| is_over(pid), "its command is dead");
    other.acknowledge(&taken[0]).await.expect("the other one still has it");
    worker.kill();
}

#[test]
fn a_message_that_kills_its_workers_is_given_up_without_another_try() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = busy(dir.path());
    worker.kill();
    let pid: i32 = lines(&dir.path().join("pids"))[0].parse().unwrap();
    assert!(pid > 1);
    // Not with kill(1): that of procps takes a negative number for its first digit, and -1 is everybody.
    let group = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    sql(dir.path(), "UPDATE leases SET expires_ms = 1");
    let ended = run(dir.path(), &["--max-attempts", "1", "--exit-when-empty", "--exec", "echo ran"]);
    assert_eq!((ended.count("dead"), ended.out.as_slice()), (1, &b""[..]));
    let listed = sluiced().args(["dead", "list", "--data-dir"]).arg(dir.path()).output().unwrap();
    let table = String::from_utf8(listed.stdout).unwrap();
    assert!(table.contains("its worker died, or lost it (attempt 1 of 1)"), "{table}");
}
