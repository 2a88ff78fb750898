//! SIGTERM and SIGINT: what a stop leaves alone, what it doesn't wait for, and how to insist.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{
    GITHUB, GITHUB_PATH, SECRET, connect, get, github_request, github_signature, read_answer, send_raw,
};
use crate::daemon::{Daemon, wait_until};
use crate::worker::drain;

/// Far below every grace (drain delay 20 s, drain timeout 25 s, lingering 5 s), far above what a stop
/// with nothing in flight takes: half a second for a request that may be on its way.
const SOON: Duration = Duration::from_secs(3);

#[test]
fn a_webhook_in_flight_is_finished() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(dir.path(), &[GITHUB]);
        let (mut stream, rest) = half_sent(&daemon, "in-flight");
        daemon.signal(signal);
        wait_until("the listener to close", || TcpStream::connect(daemon.address).is_err());
        stream.write_all(rest).unwrap();
        let answer = read_answer(&mut stream).expect("an answer to a webhook that had begun");
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{signal}");
        drop(stream);
        assert_eq!(daemon.wait().code(), Some(0), "{signal}");
        assert_eq!(drain(dir.path()).len(), 1, "{signal}");
    }
}

#[test]
fn what_is_in_flight_for_too_long_is_given_up_and_the_sender_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &[GITHUB, "--drain-timeout=300ms"]);
    let (mut stream, _) = half_sent(&daemon, "given-up");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(read_answer(&mut stream).is_none_or(|answer| answer.status >= 400), "it was never whole");
    assert!(daemon.text().contains("drain timeout"), "{}", daemon.text());
    assert!(drain(dir.path()).is_empty());
}

#[test]
fn idle_connections_do_not_delay_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &[GITHUB]);
    let idle: Vec<TcpStream> = (0..20)
        .map(|number| {
            let mut stream = connect(daemon.address);
            // Half of them have had an answer, half have never said a word.
            if number % 2 == 0 {
                stream.write_all(&github_request(&format!("idle-{number}"), b"{}")).unwrap();
                assert_eq!(read_answer(&mut stream).unwrap().status, 200);
            }
            stream
        })
        .collect();
    let begun = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(begun.elapsed() < SOON, "it waited for idle connections: {:?}", begun.elapsed());
    for mut stream in idle {
        assert!(read_answer(&mut stream).is_none(), "closed without a word");
    }
}

#[test]
fn a_request_that_arrives_on_an_idle_connection_just_then_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = connect(daemon.address);
    stream.write_all(&github_request("before", b"{}")).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    daemon.signal("TERM");
    daemon.wait_for_line(|line| line["msg"] == "draining");
    // A sender that has not noticed uses its connection once more.
    stream.write_all(&github_request("after", b"{}")).unwrap();
    let answer = read_answer(&mut stream).expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    drop(stream);
    daemon.stop_after_signal();
    assert_eq!(drain(dir.path()).len(), 2);
}

#[test]
fn the_drain_delay_keeps_accepting_while_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB, "--drain-delay=1500ms"]);
    let mut kept = connect(daemon.address);
    kept.write_all(&github_request("kept-1", b"{}")).unwrap();
    assert_eq!(read_answer(&mut kept).unwrap().header("connection"), None);
    let begun = Instant::now();
    daemon.signal("TERM");
    wait_until("not being ready", || get(daemon.ops, "/readyz").status == 503);
    assert_eq!(get(daemon.ops, "/livez").status, 200);
    assert!(String::from_utf8_lossy(&get(daemon.ops, "/readyz?verbose").body).contains("draining"));
    let fresh = send_raw(daemon.address, &github_request("fresh", b"{}")).expect("still accepting");
    assert_eq!((fresh.status, fresh.header("connection")), (200, Some("close")));
    kept.write_all(&github_request("kept-2", b"{}")).unwrap();
    let answer = read_answer(&mut kept).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(read_answer(&mut kept).is_none(), "and it does close");
    drop(kept);
    daemon.stop_after_signal();
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_eq!(drain(dir.path()).len(), 3);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(dir.path(), &[GITHUB, "--drain-delay=20s"]);
        assert_eq!(send_raw(daemon.address, &github_request("d", b"{}")).unwrap().status, 200);
        let begun = Instant::now();
        daemon.signal(first);
        daemon.wait_for_line(|line| line["msg"] == "draining");
        daemon.signal(second);
        assert_eq!(daemon.wait().code(), Some(code), "{first}, {second}");
        assert!(begun.elapsed() < SOON);
        assert_eq!(drain(dir.path()).len(), 1, "nothing acknowledged is lost by it");
    }
}

#[test]
fn a_stopped_daemon_says_so_and_leaves_its_port() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let address = daemon.address;
    let text = daemon.stop();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["msg"], "stopped", "{text}");
    assert!(TcpStream::connect(address).is_err());
}

/// A webhook of which only the head and half of the body were sent, and the other half.
fn half_sent(daemon: &Daemon, delivery: &str) -> (TcpStream, &'static [u8]) {
    let body: &[u8] = br#"{"half":"way"}"#;
    let mut stream = connect(daemon.address);
    let head = format!(
        "POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nX-GitHub-Event: push\r\n\
         X-GitHub-Delivery: {delivery}\r\nX-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\r\n",
        github_signature(SECRET, body),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // 100 Continue shows that the daemon has the head and waits for the body.
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body[..7]).unwrap();
    (stream, &br#"{"half":"way"}"#[7..])
}
