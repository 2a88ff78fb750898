//! How a worker ends: by a signal, at its limit, when nothing is left; and how it waits to begin.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use sluiced_queue::{Backlog, WebHookQueueConsumer};

use crate::client::GITHUB;
use crate::daemon::{Daemon, sluiced};
use crate::work_common::{Worker, fill, fill_numbers, lines, run, script, send_all, wait_that};

/// Says that it runs, and goes on until it is let go.
const WAITS: &str =
    "echo $$ >> $DIR/pids; while [ -d $DIR -a ! -e $DIR/go ]; do sleep 0.02; done; echo done >> $DIR/done";

fn backlog(dir: &Path) -> Backlog {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let onlooker = sluiced_embedded::EmbeddedConsumer::open(dir, "webhooks").unwrap();
        onlooker.backlog().await.unwrap()
    })
}

#[test]
fn told_to_stop_it_takes_no_more_and_lets_what_runs_finish() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        fill_numbers(dir.path(), 5);
        let handle = script(dir.path(), WAITS);
        let worker =
            Worker::start(dir.path(), &["--concurrency", "2", "--exec", "sh", handle.to_str().unwrap()]);
        wait_that(|| lines(&dir.path().join("pids")).len() == 2, "two run");
        worker.signal(signal);
        worker.wait_for("finishing what has begun");
        std::fs::write(dir.path().join("go"), "").unwrap();
        let ended = worker.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.text);
        assert_eq!((ended.count("acknowledged"), lines(&dir.path().join("done")).len()), (2, 2));
        assert_eq!(backlog(dir.path()), Backlog { visible: 3, leased: 0, delayed: 0 });
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_its_commands_with_it() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let dir = tempfile::tempdir().unwrap();
        fill_numbers(dir.path(), 2);
        let handle = script(dir.path(), WAITS);
        let worker =
            Worker::start(dir.path(), &["--concurrency", "2", "--exec", "sh", handle.to_str().unwrap()]);
        wait_that(|| lines(&dir.path().join("pids")).len() == 2, "two run");
        worker.signal(signal);
        worker.wait_for("finishing what has begun");
        worker.signal(signal);
        let ended = worker.wait();
        assert_eq!((ended.status.code(), ended.status.signal()), (Some(code), None));
        for pid in lines(&dir.path().join("pids")) {
            wait_that(|| crate::work_exec::is_over(&pid), "its commands are dead");
        }
        assert!(!dir.path().join("done").exists());
    }
}

#[test]
fn an_idle_worker_ends_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[]);
    for args in [&["--print"][..], &["--exec", "true"]] {
        let worker = Worker::start(dir.path(), &[&["--log-level", "debug"], args].concat());
        // It has opened the store once its signals are heard: that comes first.
        wait_that(|| listens(worker.pid()), "it listens for signals");
        worker.signal("TERM");
        let ended = worker.wait();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.text);
    }
}

/// SIGTERM is caught: bit 15 of the mask.
fn listens(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 14) != 0)
}

#[test]
fn printing_to_somebody_who_does_not_read_can_be_stopped_and_gives_the_rest_back() {
    let dir = tempfile::tempdir().unwrap();
    let large = format!("[\"{}\"]", "x".repeat(100_000));
    fill(dir.path(), &[large.as_bytes(); 8]);
    let mut command = sluiced();
    command.args(["work", "--print", "--data-dir"]).arg(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_that(|| backlog(dir.path()).leased == 8, "they are leased");
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let status = crate::work_common::wait_until(|| child.try_wait().unwrap(), || "it doesn't end".into());
    assert_eq!(status.code(), Some(0));
    assert_eq!(backlog(dir.path()), Backlog { visible: 8, leased: 0, delayed: 0 });
}

#[test]
fn a_closed_stdout_gives_the_rest_back_and_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let large = format!("[\"{}\"]", "x".repeat(100_000));
    fill(dir.path(), &[large.as_bytes(); 8]);
    let mut command = sluiced();
    command.args(["work", "--print", "--data-dir"]).arg(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    let status = crate::work_common::wait_until(|| child.try_wait().unwrap(), || "it doesn't end".into());
    assert_eq!(status.code(), Some(1));
    assert_eq!(backlog(dir.path()), Backlog { visible: 8, leased: 0, delayed: 0 });
}

#[test]
fn it_ends_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 9);
    let ended = run(dir.path(), &["--limit", "2", "--print"]);
    assert_eq!(ended.out.iter().filter(|b| **b == b'\n').count(), 2);
    let ended = run(dir.path(), &["--limit", "3", "--concurrency", "8", "--exec", "true"]);
    assert!(ended.status.success());
    assert_eq!(ended.count("acknowledged"), 3);
    assert_eq!(backlog(dir.path()), Backlog { visible: 4, leased: 0, delayed: 0 });
}

#[test]
fn empty_means_that_nothing_is_leased_or_delayed_either() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    // Fails once, and comes back after a while.
    let handle = script(dir.path(), "echo $SLUICED_ATTEMPT >> $DIR/attempts; [ $SLUICED_ATTEMPT -gt 2 ]");
    let args = ["--retry-first", "900ms", "--exit-when-empty", "--exec", "sh", handle.to_str().unwrap()];
    assert_eq!(run(dir.path(), &args).count("acknowledged"), 1);
    assert_eq!(lines(&dir.path().join("attempts")), ["1", "2", "3"]);

    fill_numbers(dir.path(), 1);
    let handle = script(dir.path(), WAITS);
    let busy = Worker::start(dir.path(), &["--limit", "1", "--exec", "sh", handle.to_str().unwrap()]);
    wait_that(|| backlog(dir.path()).leased == 1, "it is leased");
    let mut waiting = Worker::start(dir.path(), &["--exit-when-empty", "--exec", "true"]);
    waiting.wait_for("working");
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(busy.wait().count("acknowledged"), 1);
    assert!(waiting.status().success());
}

#[test]
fn a_queue_that_is_not_there_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("later");
    let worker = Worker::start(&data, &["--limit", "1", "--exit-when-empty", "--exec", "cat"]);
    worker.wait_for("there is no queue yet; waiting for `sluiced serve`");
    let daemon = Daemon::start(&data, &[GITHUB]);
    send_all(&daemon, &[b"[1]"]);
    // It may have found the queue before there was anything in it; that isn't a failure.
    let ended = worker.wait();
    assert!(ended.status.success(), "{}", ended.text);
    assert_eq!(ended.lines("there is no queue yet; waiting for `sluiced serve`").len(), 1, "said once");
    if ended.count("acknowledged") == 0 {
        assert_eq!(run(&data, &["--limit", "1", "--exec", "cat"]).out, b"[1]");
    }
    daemon.stop();
}
