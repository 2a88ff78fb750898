//! Duplicates that a configuration has left out: answered like the first, logged, not queued again.

use std::path::Path;

use crate::client::{Answer, GITHUB_PATH, SECRET, github_signature, request};
use crate::daemon::Daemon;
use crate::worker::drain;

/// Dedupes GitHub's webhooks and answers them behind the queue.
fn daemon(dir: &Path) -> Daemon {
    let config = format!(
        "[[handlers]]\nreceiver = \"github\"\ndedupe = \"1h\"\n\
         [[handlers]]\norder = 60\nrespond = {{ body = \"thanks\" }}\n\
         [[receivers]]\nname = \"github\"\nsecret = {{ text = \"{SECRET}\" }}\n"
    );
    Daemon::with_config(dir, &config, &[])
}

fn send(daemon: &Daemon, delivery: Option<&str>, body: &[u8]) -> Answer {
    let signature = github_signature(SECRET, body);
    let mut headers = vec![("X-Hub-Signature-256", &*signature), ("X-GitHub-Event", "push")];
    headers.extend(delivery.map(|id| ("X-GitHub-Delivery", id)));
    request(daemon.address, "POST", GITHUB_PATH, &headers, body)
}

fn outcomes(daemon: &Daemon) -> Vec<String> {
    daemon.deliveries().iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_duplicate_is_answered_like_the_first_and_not_queued_again() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    for _ in 0..3 {
        let answer = send(&daemon, Some("twice"), b"{}");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"thanks"[..]));
    }
    assert_eq!(send(&daemon, Some("twice"), b"{ }").status, 200, "another body is another event");
    assert_eq!(send(&daemon, None, b"{}").status, 200);
    assert_eq!(send(&daemon, None, b"{}").status, 200, "without an id nothing is left out");
    crate::daemon::wait_until("six lines", || daemon.deliveries().len() == 6);
    assert_eq!(outcomes(&daemon), ["accepted", "duplicate", "duplicate", "accepted", "accepted", "accepted"]);
    assert_eq!(drain(dir.path()).len(), 4);
    assert_eq!(send(&daemon, Some("twice"), b"{}").status, 200);
    assert!(drain(dir.path()).is_empty(), "what was worked off stays a duplicate");
}

#[test]
fn a_restart_does_not_forget() {
    let dir = tempfile::tempdir().unwrap();
    let first = daemon(dir.path());
    assert_eq!(send(&first, Some("once"), b"{}").status, 200);
    first.kill();
    let second = daemon(dir.path());
    assert_eq!(send(&second, Some("once"), b"{}").status, 200);
    second.wait_for_delivery(|line| line["outcome"] == "duplicate");
    assert_eq!(drain(dir.path()).len(), 1);
}

#[test]
fn retries_at_once_leave_exactly_one() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(send(&daemon, Some("race"), b"{}").status, 200));
        }
    });
    assert_eq!(drain(dir.path()).len(), 1);
}
