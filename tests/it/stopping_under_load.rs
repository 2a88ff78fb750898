//! SIGTERM while senders are at work. What is promised to them:
//!
//! * A request on a connection that was accepted gets its whole answer, and with it the word that the
//!   connection closes. No accepted request is reset.
//! * Whoever comes later is refused by the kernel before a byte was sent.
//! * What the kernel had accepted for the daemon counts as accepted.

use std::io::Write;

use crate::client::{GITHUB, connect, github_request, read_answer};
use crate::daemon::{Daemon, wait_until};
use crate::flood::{Doing, Flood, body_of, raise_open_files};
use crate::worker::{body, drain};

const SENDERS: usize = 200;
/// Below 4,096, which the daemon asks for and which the kernel allows by default.
const BACKLOG: usize = 3_000;

#[test]
fn no_accepted_request_is_reset_and_everything_acknowledged_is_there() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(dir.path(), &[GITHUB]);
        let flood = Flood::start(daemon.address, SENDERS, signal);
        wait_until("every sender to be at work", || flood.acknowledged() >= 5 * SENDERS as u64);
        daemon.signal(signal);
        let tally = flood.join();
        assert_eq!(daemon.wait().code(), Some(0), "{signal}\n{}", daemon.text());
        assert_eq!(tally.broken, [], "{signal}");
        assert_eq!(tally.refused, [] as [u16; 0], "{signal}");
        assert_eq!(tally.closing, SENDERS, "{signal}: every sender was told");

        let mut wanted = tally.acknowledged;
        let messages = drain(dir.path());
        let mut came: Vec<String> =
            messages.iter().map(|m| m["deliveryId"].as_str().unwrap().to_owned()).collect();
        assert!(messages.iter().zip(&came).all(|(message, delivery)| body(message) == body_of(delivery)));
        wanted.sort();
        came.sort();
        assert_eq!(wanted.len(), came.len(), "{signal}");
        assert_eq!(wanted, came, "{signal}");
    }
}

#[test]
fn who_comes_too_late_is_refused_before_a_byte_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &[GITHUB]);
    let address = daemon.address;
    let flood = Flood::start(address, SENDERS, "early");
    wait_until("senders to be at work", || flood.acknowledged() >= SENDERS as u64);
    daemon.signal("TERM");
    assert_eq!(flood.join().broken, []);
    assert_eq!(daemon.wait().code(), Some(0));
    let late = Flood::start(address, 3, "late").join();
    assert!(late.acknowledged.is_empty());
    assert!(late.broken.iter().all(|(doing, _)| *doing == Doing::Connecting), "{:?}", late.broken);
}

#[test]
fn what_the_kernel_had_accepted_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("[limits]\nin_flight_max = {BACKLOG}\n");
    let mut daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    // Frozen, the daemon accepts nothing, but the kernel does: so many requests wait in the backlog that
    // the daemon can't have accepted all of them when it hears of the signal.
    daemon.signal("STOP");
    raise_open_files();
    let mut streams: Vec<_> = (0..BACKLOG)
        .map(|number| {
            let mut stream = connect(daemon.address);
            stream.write_all(&github_request(&format!("backlog-{number}"), b"{}")).unwrap();
            stream
        })
        .collect();
    daemon.signal("TERM");
    daemon.signal("CONT");
    for stream in &mut streams {
        let answer = read_answer(stream).expect("an answer to a request that the kernel had accepted");
        assert_eq!(answer.status, 200);
    }
    let sent = streams.len();
    drop(streams);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(drain(dir.path()).len(), sent);
}
