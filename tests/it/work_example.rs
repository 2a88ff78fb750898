//! `examples/worker.rs`: does each event's work once, whatever the queue has of it.

use std::path::PathBuf;
use std::process::Command;

use crate::client::{GITHUB, github_request, send_raw};
use crate::daemon::{Daemon, binary};

/// Built together with the tests; by itself when only one test binary was asked for.
fn example(name: &str) -> PathBuf {
    let path = binary().parent().unwrap().join("examples").join(name);
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success());
    }
    path
}

#[test]
fn a_worker_of_ones_own_does_an_event_that_was_sent_twice_once() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    // A retry of the sender's, and another event.
    for (delivery, body) in [("d1", "{\"n\":1}"), ("d1", "{\"n\":1}"), ("d2", "{\"n\":2}")] {
        let answer = send_raw(daemon.address, &github_request(delivery, body.as_bytes())).unwrap();
        assert_eq!(answer.status, 200);
    }
    let done = dir.path().join("done");
    let output = Command::new(example("worker")).args([dir.path(), &done]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
    let mut bodies: Vec<String> = std::fs::read_dir(&done)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["{\"n\":1}", "{\"n\":2}"]);
    daemon.stop();
    assert!(crate::worker::drain(dir.path()).is_empty(), "all are acknowledged");
}
