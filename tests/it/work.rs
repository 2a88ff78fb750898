//! `sluiced work --print`: one message a line, acknowledged once it is written.

use std::io::{BufRead, BufReader, Read, read_to_string};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{GITHUB, github_request, send_raw};
use crate::daemon::{Daemon, pause, wait_until};
use crate::worker::{Worker, body, drain, drain_each, work};

#[test]
fn a_limit_ends_it_and_the_rest_stays() {
    let dir = filled(5, b"{}");
    for (limit, printed) in [("2", 2), ("1", 1), ("9", 2)] {
        let output = work(dir.path(), &["--exit-when-empty", "--limit", limit]);
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), printed);
    }
    let none = work(dir.path(), &["--limit", "0"]);
    assert!(none.status.success() && none.stdout.is_empty());
}

#[test]
fn messages_come_in_order_and_once() {
    let dir = filled(200, b"{}");
    let ids: Vec<String> =
        drain(dir.path()).iter().map(|m| m["deliveryId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..200).map(|number| format!("d{number}")).collect::<Vec<_>>());
    assert!(drain(dir.path()).is_empty());
}

#[test]
fn a_pretty_printed_body_stays_one_line_and_its_bytes_are_exact() {
    let pretty = b"{\r\n  \"a\": [\n    1,\r    2\n  ],\n\t\"text\": \"two\\nlines \xe2\x80\xa8 \"\n}\n\n";
    let dir = filled(2, pretty);
    let output = work(dir.path(), &["--exit-when-empty"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches(['\n', '\r']).count(), 2, "{text:?}");
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        assert_eq!(body(&message), pretty);
        assert_eq!(message["data"], serde_json::from_slice::<Value>(pretty).unwrap());
    }
}

#[test]
fn a_closed_stdout_is_exit_1_and_everything_is_back_at_once() {
    let dir = filled(20, b"{}");
    let mut worker = Worker::start(dir.path(), &[]);
    drop(worker.stdout.take());
    let told = read_to_string(worker.stderr.take().unwrap()).unwrap();
    assert_eq!(worker.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("back in the queue"), "{told}");
    let begun = Instant::now();
    assert_eq!(drain(dir.path()).len(), 20);
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for a lease to end");
}

#[test]
fn what_was_not_written_when_stdout_closed_is_back() {
    let dir = filled(60, &[b'x'; 10_000]);
    let mut worker = Worker::start(dir.path(), &[]);
    let mut stdout = BufReader::new(worker.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    assert_eq!(worker.wait().unwrap().code(), Some(1));
    let back = drain(dir.path()).len();
    // What the pipe and the reader's buffer held counts as written: 64 KiB and 8 KiB of 23-KiB lines.
    assert!((60 - 5..60).contains(&back), "{back}");
}

#[test]
fn it_waits_for_a_queue_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("not/there/yet");
    let mut worker = Worker::start(&data, &["--limit", "1"]);
    let mut told = BufReader::new(worker.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("waiting") && line.contains("not/there/yet"), "{line}");
    assert!(!data.exists(), "it is the daemon that makes it");
    let daemon = Daemon::start(&data, &[GITHUB]);
    send_raw(daemon.address, &github_request("awaited", b"{}")).unwrap();
    let text = read_to_string(worker.stdout.take().unwrap()).unwrap();
    assert!(worker.wait().unwrap().success());
    assert!(text.contains("\"awaited\""), "{text}");
}

#[test]
fn it_goes_on_while_the_daemon_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut worker = Worker::start(dir.path(), &["--limit", "2"]);
    let mut stdout = BufReader::new(worker.stdout.take().unwrap());
    let mut next = |daemon: &Daemon, delivery: &str| {
        send_raw(daemon.address, &github_request(delivery, b"{}")).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains(delivery), "{line}");
    };
    next(&daemon, "before");
    daemon.kill();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    next(&daemon, "after");
    assert!(worker.wait().unwrap().success());
}

#[test]
fn two_workers_never_get_the_same_message() {
    let dir = filled(300, b"{}");
    // Both are read at once: one that stalls would hold its messages, and the other would wait for it.
    let read = || {
        let mut ids = Vec::new();
        drain_each(dir.path(), |message| ids.push(message["deliveryId"].to_string()));
        ids
    };
    let mut ids: Vec<String> = std::thread::scope(|scope| {
        let workers = [scope.spawn(read), scope.spawn(read)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 300);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 300);
}

#[test]
fn what_another_worker_holds_is_not_empty() {
    let dir = filled(30, &[b'x'; 10_000]);
    // Nobody reads the first one: it stalls with most of the messages leased.
    let mut stalled = Worker::start(dir.path(), &["--limit", "30"]);
    let mut first = [0; 1];
    stalled.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let mut waiting = Worker::start(dir.path(), &["--exit-when-empty"]);
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert!(waiting.try_wait().unwrap().is_none(), "it took leased messages for none");
        pause();
    }
    let text = read_to_string(stalled.stdout.take().unwrap()).unwrap();
    assert_eq!(text.lines().count(), 30);
    assert!(stalled.wait().unwrap().success());
    wait_until("the other's end", || waiting.try_wait().unwrap().is_some());
    assert!(waiting.wait().unwrap().success());
    assert_eq!(read_to_string(waiting.stdout.take().unwrap()).unwrap(), "", "nothing was left for it");
}

#[test]
fn a_signal_ends_it_between_two_messages() {
    for signal in ["TERM", "INT"] {
        let dir = filled(3, b"{}");
        let mut worker = Worker::start(dir.path(), &[]);
        let mut stdout = BufReader::new(worker.stdout.take().unwrap());
        for _ in 0..3 {
            stdout.read_line(&mut String::new()).unwrap();
        }
        Command::new("kill").args(["-s", signal, &worker.id().to_string()]).status().unwrap();
        assert_eq!(worker.wait().unwrap().code(), Some(0), "{signal}");
        assert!(drain(dir.path()).is_empty());
    }
}

/// A data directory with so many messages of this body.
fn filled(count: usize, body: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    for number in 0..count {
        let answer = send_raw(daemon.address, &github_request(&format!("d{number}"), body)).unwrap();
        assert_eq!(answer.status, 200);
    }
    daemon.stop();
    dir
}
