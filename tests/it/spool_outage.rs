//! A broker that is absent, killed, frozen: every webhook is acknowledged all the same, and gets there.

use std::collections::HashSet;
use std::time::Instant;

use crate::client::{get, github_request, send_raw};
use crate::daemon::wait_until;
use crate::flood::Flood;
use crate::spool_common::{Broker, durable_of, last_durable, lines, metric, send};

/// Trap 8: the daemon starts without the broker. Trap 7: it needs no restart to find it.
#[test]
fn a_broker_absent_at_the_start_gets_everything_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &[]);
    assert_eq!(get(daemon.ops, "/readyz").status, 200, "the spool takes webhooks");
    let sent = send(&daemon, "absent", 50);
    assert_eq!(last_durable(&daemon), "spool");
    assert_eq!(metric(&daemon, "sluiced_spool_messages"), Some(50));
    assert_eq!(metric(&daemon, "sluiced_broker_up"), Some(0));
    let verbose = String::from_utf8(get(daemon.ops, "/readyz?verbose").body).unwrap();
    assert!(verbose.contains("broker (nats ") && verbose.contains("): not ready: "), "{verbose}");
    assert!(verbose.contains("spool (nats ") && verbose.contains("): ok"), "{verbose}");
    broker.restart();
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    wait_until("a broker that is up", || metric(&daemon, "sluiced_broker_up") == Some(1));
    send(&daemon, "there", 1);
    assert_eq!(last_durable(&daemon), "broker");
    daemon.wait_for_line(|line| line["msg"] == "spool drained" && line["messages"] == 50);
    assert_eq!(lines(&daemon, "spooling"), 1, "one line for the outage");
    daemon.stop();
    let got = broker.deliveries();
    assert!(sent.is_subset(&got) && got.len() == 51, "{} of 51", got.len());
}

#[test]
fn a_broker_killed_under_load_and_started_again_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start();
    let daemon = broker.serve(dir.path(), &[]);
    let flood = Flood::start(daemon.address, 16, "outage");
    wait_until("webhooks at the broker", || flood.acknowledged() > 200);
    for _ in 0..3 {
        broker.kill();
        let before = flood.acknowledged();
        wait_until("webhooks in the spool", || flood.acknowledged() > before + 300);
        broker.restart();
        let before = flood.acknowledged();
        wait_until("webhooks after it", || flood.acknowledged() > before + 300);
    }
    let tally = flood.stop();
    assert!(tally.refused.is_empty() && tally.broken.is_empty(), "{:?} {:?}", tally.refused, tally.broken);
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    daemon.stop();
    let sent: HashSet<String> = tally.acknowledged.into_iter().collect();
    let got = broker.deliveries();
    let missing: Vec<_> = sent.difference(&got).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
}

/// Frozen, not gone: connections stand, and nothing answers. Trap 4: nobody waits for it.
#[test]
fn a_frozen_broker_costs_five_deadlines_and_then_none() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let daemon = broker.serve(dir.path(), &[]);
    let before = send(&daemon, "before", 1);
    wait_until("the broker", || {
        send(&daemon, "before", 1);
        last_durable(&daemon) == "broker"
    });
    broker.freeze();
    let begun = Instant::now();
    let frozen = send(&daemon, "frozen", 100);
    let took = begun.elapsed();
    assert!(took.as_millis() < 100 * 100, "a hundred webhooks took {took:?}");
    assert_eq!(last_durable(&daemon), "spool");
    assert_eq!(metric(&daemon, "sluiced_ack_deadlines_missed_total"), Some(5));
    broker.thaw();
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    wait_until("the broker's own receipts", || {
        send(&daemon, "after", 1);
        last_durable(&daemon) == "broker"
    });
    daemon.stop();
    let got = broker.deliveries();
    assert!(before.is_subset(&got) && frozen.is_subset(&got), "{got:?}");
}

/// `--ack spool`: nothing is acknowledged that isn't on local disk, and it goes on from there at once.
#[test]
fn acknowledged_from_the_spool_and_forwarded_behind() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let daemon = broker.serve(dir.path(), &["--ack=spool"]);
    let sent = send(&daemon, "spool", 100);
    assert!(daemon.deliveries().iter().all(|line| line["durable"] == "spool"));
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    assert_eq!(metric(&daemon, "sluiced_spool_drained_total"), Some(100));
    assert_eq!(lines(&daemon, "spooling"), 0, "nothing is wrong");
    daemon.stop();
    assert_eq!(broker.deliveries(), sent);
}

/// `--spool off`: what the broker doesn't confirm in time stays with its sender. Trap 9.
#[test]
fn without_a_spool_the_sender_keeps_what_the_broker_does_not_take() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start();
    let daemon = broker.serve(dir.path(), &["--spool=off"]);
    wait_until("the broker", || {
        send_raw(daemon.address, &github_request("up", b"{}")).unwrap().status == 200
    });
    assert_eq!(durable_of(&daemon, "up"), "broker");
    assert!(!dir.path().join("spool").exists());
    broker.kill();
    let answer = send_raw(daemon.address, &github_request("down", b"{}")).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (503, "not_durable"));
    assert!(answer.header("retry-after").is_some());
    wait_until("not being ready", || get(daemon.ops, "/readyz").status == 503);
    broker.restart();
    wait_until("the broker again", || {
        send_raw(daemon.address, &github_request("again", b"{}")).unwrap().status == 200
    });
    daemon.stop();
    let got = broker.deliveries();
    assert!(got.contains("up") && got.contains("again"), "{got:?}");
}
