//! The bounds: a message that the broker doesn't take, a disk that is full.

use sluiced_test_brokers::nats;

use crate::client::{get, github_request, send_raw};
use crate::daemon::wait_until;
use crate::spool_common::{Broker, last_durable, metric, send};

fn small() -> nats::Options {
    nats::Options { max_payload: Some(8_192), ..nats::Options::default() }
}

fn large_body() -> Vec<u8> {
    format!("{{\"a\":\"{}\"}}", "x".repeat(20_000)).into_bytes()
}

/// Trap 26: NATS takes less than HTTP. The answer names the limit, also when only an earlier process has
/// heard of it, and while the broker is away.
#[test]
fn a_message_over_the_brokers_limit_is_413_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::with(small());
    broker.restart();
    let daemon = broker.serve(dir.path(), &[]);
    wait_until("the broker", || {
        send(&daemon, "up", 1);
        last_durable(&daemon) == "broker"
    });
    let too_large = |daemon: &crate::daemon::Daemon| {
        let answer = send_raw(daemon.address, &github_request("large", &large_body())).unwrap();
        assert_eq!((answer.status, answer.reason().as_str()), (413, "message_too_large"));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        // What the server takes, less what its headers need.
        let limit = body["limit"].as_u64().unwrap();
        assert!((4_096..=8_192).contains(&limit), "{body}");
    };
    too_large(&daemon);
    wait_until("the limit on disk", || dir.path().join("spool/limits.json").exists());
    broker.kill();
    wait_until("the spool", || {
        send(&daemon, "down", 1);
        last_durable(&daemon) == "spool"
    });
    too_large(&daemon);
    daemon.stop();
    let daemon = broker.serve(dir.path(), &[]);
    too_large(&daemon);
    daemon.stop();
}

/// Nobody knew: the message is acknowledged and then found to be too long. It is kept, and named.
#[test]
fn what_the_drain_finds_too_large_is_a_local_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::with(small());
    let daemon = broker.serve(dir.path(), &[]);
    let answer = send_raw(daemon.address, &github_request("large", &large_body())).unwrap();
    assert_eq!(answer.status, 200);
    let sent = send(&daemon, "small", 3);
    broker.restart();
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    assert_eq!(metric(&daemon, "sluiced_spool_dead_total"), Some(1));
    daemon.wait_for_line(|line| {
        line["level"] == "error" && line["msg"].as_str().is_some_and(|msg| msg.contains("dead letter"))
    });
    assert_eq!(broker.deliveries(), sent);
    let mut command = crate::daemon::sluiced();
    command.args(["dead", "list", "--local", "--json", "--data-dir"]).arg(dir.path()).args(broker.flags());
    let listed = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("the queue takes "), "{listed}");
    daemon.stop();
}

/// Trap 10: our own outage is 503, with the time to come again, and nothing that was acknowledged goes.
#[test]
fn a_full_spool_is_503_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &["--spool-max=4MiB"]);
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(50_000)).into_bytes();
    let mut acknowledged = 0;
    let refused = loop {
        let answer = send_raw(daemon.address, &github_request(&format!("f-{acknowledged}"), &body)).unwrap();
        if answer.status != 200 {
            break answer;
        }
        acknowledged += 1;
        assert!(acknowledged < 1_000, "4 MiB hold no 50 MB");
    };
    assert_eq!((refused.status, refused.reason().as_str()), (503, "not_durable"));
    assert!(refused.header("retry-after").is_some() && acknowledged > 10, "{acknowledged}");
    wait_until("not being ready", || get(daemon.ops, "/readyz").status == 503);
    daemon.wait_for_line(|line| line["msg"] == "spool filling" && line["percent"].as_u64() >= Some(50));
    broker.restart();
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    wait_until("being ready", || get(daemon.ops, "/readyz").status == 200);
    wait_until("webhooks", || {
        send_raw(daemon.address, &github_request("again", &body)).unwrap().status == 200
    });
    daemon.stop();
    assert_eq!(broker.deliveries().len(), acknowledged + 1);
}
