//! The main job: a signed webhook goes in, is acknowledged, and comes out of a worker, byte for byte.

use crate::client::{GITHUB, GITHUB_PATH, SECRET, get, github_request, github_signature, request, send_raw};
use crate::daemon::Daemon;
use crate::worker::{body, drain};

#[test]
fn a_signed_webhook_comes_out_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let sent = b"{ \"zen\":\r\n\"\\u00e4\", \"n\": 1.0e+2 }\n";
    let answer = send_raw(daemon.address, &github_request("72d3162e", sent)).unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    let line = daemon.wait_for_delivery(|line| line["delivery_id"] == "72d3162e");
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(body(message), sent);
    assert_eq!(message["receiver"], "github");
    assert_eq!(message["actions"][0], "push");
    assert_eq!(message["deliveryId"], "72d3162e");
    assert_eq!(message["messageId"], line["message_id"]);
    assert_eq!(message["data"]["n"], 100.0);
    assert!(drain(dir.path()).is_empty(), "what was acknowledged is gone");
    daemon.stop();
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    for number in 0..20 {
        let answer = send_raw(daemon.address, &github_request(&format!("d{number}"), b"{}")).unwrap();
        assert_eq!(answer.status, 200);
    }
    daemon.kill();
    assert_eq!(drain(dir.path()).len(), 20);
}

#[test]
fn a_forged_webhook_is_refused_and_not_queued() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let forged = github_signature("another secret", b"{}");
    let answer = request(daemon.address, "POST", GITHUB_PATH, &[("X-Hub-Signature-256", &forged)], b"{}");
    assert_eq!((answer.status, answer.reason().as_str()), (401, "signature_mismatch"));
    let answer = request(daemon.address, "POST", GITHUB_PATH, &[], b"{}");
    assert_eq!((answer.status, answer.reason().as_str()), (401, "signature_missing"));
    assert!(drain(dir.path()).is_empty());
    assert!(!daemon.text().contains(SECRET));
}

#[test]
fn it_is_alive_and_ready() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    assert_eq!(get(daemon.ops, "/livez").status, 200);
    assert_eq!(get(daemon.ops, "/readyz").status, 200);
    let verbose = get(daemon.ops, "/readyz?verbose");
    assert_eq!(String::from_utf8_lossy(&verbose.body), "daemon: ok\nqueue: ok\n");
    assert_eq!(get(daemon.ops, "/").status, 404);
}
