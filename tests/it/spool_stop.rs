//! Stopping, starting and killing a daemon whose spool isn't empty.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{GITHUB, get};
use crate::daemon::{Daemon, environment, wait_until};
use crate::flood::Flood;
use crate::spool_common::{Broker, metric, send};

#[test]
fn what_stays_is_named_and_goes_to_the_broker_with_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &[]);
    let sent = send(&daemon, "stays", 30);
    let begun = Instant::now();
    let log = daemon.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "an absent broker isn't waited for");
    let line = log.lines().find(|line| line.contains("messages stay in the spool")).expect("a line");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["messages"], 30);
    assert!(line["path"].as_str().unwrap().ends_with("/spool"), "{line}");
    let summary = log.lines().rfind(|line| line.contains("\"summary\"")).expect("a last summary");
    let summary: Value = serde_json::from_str(summary).unwrap();
    assert_eq!(summary["spooled"], 30, "{summary}");
    broker.restart();
    let daemon = broker.serve(dir.path(), &[]);
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    daemon.stop();
    assert_eq!(broker.deliveries(), sent);
}

#[test]
fn the_spool_is_drained_within_the_grace_when_the_broker_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let daemon = broker.serve(dir.path(), &["--ack=spool"]);
    wait_until("the broker", || metric(&daemon, "sluiced_broker_up") == Some(1));
    let flood = Flood::start(daemon.address, 16, "grace");
    wait_until("webhooks", || flood.acknowledged() > 2_000);
    daemon.signal("TERM");
    let tally = flood.join();
    let log = daemon.stop_after_signal();
    assert!(!log.contains("messages stay in the spool"), "{log}");
    let sent: HashSet<String> = tally.acknowledged.into_iter().collect();
    let missing: Vec<_> = sent.difference(&broker.deliveries()).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The broker comes and goes, and the daemon is killed again and again: whatever was acknowledged, by broker
/// or by spool, gets there.
#[test]
fn killed_under_load_with_the_broker_up_and_down_nothing_acknowledged_is_missing() {
    let rounds = environment("SLUICED_TEST_KILL_ROUNDS", 6);
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let mut acknowledged: HashSet<String> = HashSet::new();
    for round in 0..rounds {
        let args: &[&str] = if round % 3 == 2 { &["--ack=spool"] } else { &[] };
        let daemon = broker.serve(dir.path(), args);
        let flood = Flood::start(daemon.address, 32, &format!("round-{round}"));
        let enough = 100 + round * 137 % 700;
        wait_until("acknowledgements", || flood.acknowledged() >= enough);
        match round % 4 {
            0 => broker.restart(),
            1 => broker.freeze(),
            2 => broker.kill(),
            _ => {}
        }
        wait_until("more of them", || flood.acknowledged() >= 2 * enough);
        daemon.kill();
        acknowledged.extend(flood.join().acknowledged);
        if round % 4 == 1 {
            broker.thaw();
        }
    }
    broker.restart();
    let daemon = broker.serve(dir.path(), &[]);
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    daemon.stop();
    let got = broker.deliveries();
    let missing: Vec<_> = acknowledged.difference(&got).collect();
    println!("{rounds} kills, {} acknowledged, {} missing", acknowledged.len(), missing.len());
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
}

#[test]
fn a_second_daemon_on_one_directory_is_told_whose_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::absent();
    let first = broker.serve(dir.path(), &[]);
    let log = broker.try_serve(dir.path(), &[]).err().expect("it doesn't start");
    assert!(log.starts_with("exit status: 78"), "{log}");
    assert!(log.contains(&format!("process {}", first.pid())), "{log}");
    send(&first, "first", 1);
}

#[test]
fn entries_for_another_queue_are_named_and_not_sent_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &["--queue-name=old"]);
    send(&daemon, "old", 7);
    daemon.stop();
    let log = broker.try_serve(dir.path(), &["--queue-name=new"]).err().expect("it doesn't start");
    assert!(log.starts_with("exit status: 78"), "{log}");
    assert!(log.contains("7 messages for nats ") && log.contains("sluiced drain"), "{log}");
    // Nor are they forgotten where there is no spool.
    for args in [&["--queue-name=old", "--spool=off"] as &[&str], &["--queue=embedded"]] {
        let log = match args {
            ["--queue=embedded"] => Daemon::try_start(dir.path(), &[&[GITHUB], args].concat()),
            _ => broker.try_serve(dir.path(), args),
        };
        let log = log.err().expect("it doesn't start");
        assert!(log.starts_with("exit status: 78") && log.contains("7 messages for nats "), "{log}");
    }
    // The first remedy: to where they were meant for.
    broker.restart();
    let wrong = broker.drain(dir.path(), &["--queue-name=new"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("7 messages for nats "));
    let drained = broker.drain(dir.path(), &["--queue-name=old"]);
    assert_eq!(drained.status.code(), Some(0), "{}", String::from_utf8_lossy(&drained.stderr));
    assert!(String::from_utf8_lossy(&drained.stdout).contains("7 went to the broker"));
    broker.serve(dir.path(), &["--queue-name=new"]).stop();
    let taken = broker.work(&["--print", "--exit-when-empty", "--queue-name=old"]).output().unwrap();
    assert_eq!(taken.stdout.iter().filter(|b| **b == b'\n').count(), 7);
}

/// The second remedy.
#[test]
fn draining_all_sends_entries_to_the_queue_that_is_configured_now() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &["--queue-name=old"]);
    let sent = send(&daemon, "old", 5);
    daemon.stop();
    broker.restart();
    let drained = broker.drain(dir.path(), &["--all"]);
    assert_eq!(drained.status.code(), Some(0), "{}", String::from_utf8_lossy(&drained.stderr));
    assert_eq!(broker.deliveries(), sent);
}

#[test]
fn drain_says_what_is_left_and_leaves_a_running_daemon_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &[]);
    let sent = send(&daemon, "d", 3);
    let refused = broker.drain(dir.path(), &[]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("process {}", daemon.pid())));
    daemon.kill();
    broker.restart();
    let drained = broker.drain(dir.path(), &[]);
    assert_eq!(drained.status.code(), Some(0), "{}", String::from_utf8_lossy(&drained.stderr));
    assert_eq!(broker.deliveries(), sent);
    let nothing = tempfile::tempdir().unwrap();
    assert_eq!(broker.drain(nothing.path(), &[]).status.code(), Some(0));
}

/// It gives up after half a minute in which nothing went; a signal ends it at once. Both say what is left.
#[test]
fn drain_ends_with_one_and_the_count_when_the_broker_is_away_or_a_signal_comes() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::absent();
    let daemon = broker.serve(dir.path(), &[]);
    send(&daemon, "d", 4);
    daemon.kill();
    let mut command = crate::daemon::sluiced();
    command.args(["drain", "--data-dir"]).arg(dir.path()).args(broker.flags());
    let drain = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (lock, own) = (dir.path().join("spool/serve.lock"), drain.id().to_string());
    wait_until("the drain to have the spool", || {
        std::fs::read_to_string(&lock).is_ok_and(|pid| pid.trim() == own)
    });
    let begun = Instant::now();
    let pid = rustix::process::Pid::from_raw(drain.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let stopped = drain.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&stopped.stderr);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(stopped.status.code(), Some(1), "{text}");
    assert!(text.contains("SIGTERM: 4 messages are left in the spool"), "{text}");
    let given_up = broker.drain(dir.path(), &[]);
    let text = String::from_utf8_lossy(&given_up.stderr);
    assert_eq!(given_up.status.code(), Some(1), "{text}");
    assert!(text.contains("took nothing for 30 s") && text.contains("4 messages are left"), "{text}");
}

/// Trap 23: it is named with the way out, nothing is reset, and there is a way to serve meanwhile.
#[test]
fn a_damaged_spool_names_the_way_out_and_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    broker.serve(dir.path(), &[]).stop();
    let db = dir.path().join("spool/queue.db");
    std::fs::write(&db, b"rot").unwrap();
    let log = broker.try_serve(dir.path(), &[]).err().expect("it doesn't start");
    assert!(log.starts_with("exit status: 78"), "{log}");
    assert!(log.contains("aside together") && log.contains("`--spool off`"), "{log}");
    assert_eq!(std::fs::read(&db).unwrap(), b"rot");
    broker.serve(dir.path(), &["--spool=off"]).stop();
}

/// The same directory as an embedded queue, and a receiver besides: the spool is apart.
#[test]
fn the_spool_is_not_the_embedded_queue() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Daemon::start(dir.path(), &[GITHUB]);
    send(&embedded, "embedded", 2);
    embedded.stop();
    let broker = Broker::start();
    let daemon = broker.serve(dir.path(), &["--ack=spool"]);
    let sent = send(&daemon, "nats", 2);
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    daemon.stop();
    assert_eq!(broker.deliveries(), sent);
    assert_eq!(crate::worker::drain(dir.path()).len(), 2);
}

/// Trap 27: the listener closes first and the connection to the broker last. Without a spool, so that nothing but the
/// broker can give a receipt.
#[test]
fn the_broker_is_let_go_of_after_the_last_webhook() {
    const SENDERS: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let mut daemon = broker.serve(dir.path(), &["--spool=off", "--ack-deadline=5s", "--drain-delay=300ms"]);
    wait_until("the broker", || get(daemon.ops, "/readyz").status == 200);
    let flood = Flood::start(daemon.address, SENDERS, "stop");
    wait_until("every sender to be at work", || flood.acknowledged() >= 5 * SENDERS as u64);
    let before = flood.acknowledged();
    daemon.signal("TERM");
    let tally = flood.join();
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.text());
    assert_eq!(tally.broken, []);
    assert_eq!(tally.refused, [] as [u16; 0]);
    assert_eq!(tally.closing, SENDERS, "every sender was told");
    assert!(tally.acknowledged.len() as u64 > before, "nothing came after the signal");
    let sent: HashSet<String> = tally.acknowledged.into_iter().collect();
    assert_eq!(broker.deliveries(), sent);
}
