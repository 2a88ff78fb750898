//! Requests that end too early, come too slowly, or are too large.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::attack::{Attack, Then, daemon, withstand};
use crate::client::{GITHUB_PATH, connect, github_request, read_answer};
use crate::daemon::wait_until;

/// Short, so that being late takes no time here.
const SHORT: &str = "[limits]\nheader_timeout = \"400ms\"\nbody_timeout = \"400ms\"\nbody_max = \"64KiB\"\n";

#[test]
fn who_hangs_up_in_the_middle_has_sent_nothing() {
    let whole = github_request("cut-off", b"{\"only\":\"half\"}");
    let head = whole.len() - 15;
    let cut = |name, bytes: &[u8], reason| Attack::new(name, bytes, 400, reason).then(Then::HangUp);
    let chunked = whole_head("Transfer-Encoding: chunked");
    withstand(
        &[
            cut("in the method", b"PO", "request_malformed"),
            cut("in the path", &whole[..20], "request_malformed"),
            cut("in the headers", &whole[..head - 30], "request_malformed"),
            cut("before the body", &whole[..head], "body_incomplete"),
            cut("in the body", &whole[..head + 7], "body_incomplete"),
            cut("before the last byte", &whole[..whole.len() - 1], "body_incomplete"),
            cut("before the first chunk", &chunked, "body_incomplete"),
            cut("in a chunk", &[&chunked[..], b"5\r\n{\"a\""].concat(), "body_incomplete"),
            cut("before the last chunk", &[&chunked[..], b"2\r\n{}\r\n"].concat(), "body_incomplete"),
        ],
        "",
    );
}

#[test]
fn who_resets_the_connection_in_the_middle_gets_a_line_too() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    let whole = github_request("reset", b"{}");
    let mut stream = connect(daemon.address);
    stream.write_all(&whole[..whole.len() - 1]).unwrap();
    // A lingering time of zero makes closing a reset.
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    let line = daemon.wait_for_delivery(|line| line["reason"] == "body_incomplete");
    assert_eq!(line["outcome"], "refused");
}

#[test]
fn who_hangs_up_after_the_last_byte_has_sent_a_webhook() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    for number in 0..50 {
        connect(daemon.address).write_all(&github_request(&format!("gone-{number}"), b"{}")).unwrap();
    }
    wait_until("a line for each", || daemon.deliveries().len() == 50);
    assert!(daemon.deliveries().iter().all(|line| line["outcome"] == "accepted"), "{}", daemon.text());
    daemon.stop();
    assert_eq!(crate::worker::drain(dir.path()).len(), 50);
}

#[test]
fn who_says_that_no_more_will_come_gets_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    for number in 0..50 {
        let mut stream = connect(daemon.address);
        stream.write_all(&github_request(&format!("half-{number}"), b"{}")).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_answer(&mut stream).map(|answer| answer.status), Some(200), "{number}");
    }
}

#[test]
fn a_connection_without_a_byte_is_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    drop(connect(daemon.address));
    let text = daemon.stop();
    assert!(!text.contains("\"msg\":\"delivery\""), "{text}");
}

#[test]
fn what_comes_too_slowly_is_answered_408() {
    let whole = github_request("slow", b"{\"only\":\"half\"}");
    withstand(
        &[
            Attack::new("headers that stop", &whole[..60], 408, "too_slow").then(Then::ReadToTheEnd),
            Attack::new("a body that stops", &whole[..whole.len() - 3], 408, "too_slow")
                .then(Then::ReadToTheEnd),
            Attack::new("a body that never begins", whole_head("Content-Length: 9"), 408, "too_slow")
                .then(Then::ReadToTheEnd),
            Attack::new("chunks that stop", chunk_begun(), 408, "too_slow").then(Then::ReadToTheEnd),
        ],
        SHORT,
    );
}

#[test]
fn trickling_buys_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), SHORT);
    let mut stream = connect(daemon.address);
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begun = Instant::now();
    let mut first = [0; 12];
    wait_until("the answer", || {
        // A byte of the head at a time, until the daemon has had enough.
        let _ = stream.write_all(b"P");
        stream.read_exact(&mut first).is_ok()
    });
    assert_eq!(&first, b"HTTP/1.1 408");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn what_is_too_large_is_refused_with_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), SHORT);
    let limit = 64 << 10;
    let answer = |bytes: &[u8]| crate::client::send_raw(daemon.address, bytes).expect("an answer");
    let exactly = answer(&github_request("exactly", &vec![b'x'; limit]));
    assert_eq!(exactly.status, 200, "the limit itself is within it");
    let over = answer(&github_request("over", &vec![b'x'; limit + 1]));
    assert_eq!(over.status, 413);
    let problem: serde_json::Value = serde_json::from_slice(&over.body).unwrap();
    assert_eq!((&problem["reason"], &problem["limit"]), (&"body_too_large".into(), &limit.into()));
}

#[test]
fn what_is_too_large_gets_its_status() {
    let chunks =
        [&whole_head("Transfer-Encoding: chunked")[..], b"10001\r\n", &[b'x'; 65_537], b"\r\n0\r\n\r\n"];
    let declared = whole_head("Content-Length: 65537");
    let huge = whole_head(&format!("X-Huge: {}\r\nContent-Length: 0", "x".repeat(70 << 10)));
    let many = whole_head(&format!("{}Content-Length: 0", "X-Many: 1\r\n".repeat(100)));
    let url = format!("POST {GITHUB_PATH}?{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(70 << 10));
    let end = Then::ReadToTheEnd;
    withstand(
        &[
            Attack::new("declared", declared, 413, "body_too_large").then(end),
            Attack::new("in chunks", chunks.concat(), 413, "body_too_large").then(end),
            Attack::new("a huge header", huge, 431, "headers_too_large").then(end),
            Attack::new("too many headers", many, 431, "headers_too_large").then(end),
            Attack::new("a long URL", url, 431, "headers_too_large").then(end),
        ],
        SHORT,
    );
}

fn whole_head(lines: &str) -> Vec<u8> {
    format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\n{lines}\r\n\r\n").into_bytes()
}

fn chunk_begun() -> Vec<u8> {
    [&whole_head("Transfer-Encoding: chunked")[..], b"f\r\n{\"half"].concat()
}

#[test]
fn slow_senders_do_not_keep_honest_ones_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    let slow: Vec<_> = (0..200)
        .map(|number| {
            let mut stream = connect(daemon.address);
            let whole = github_request(&format!("slow-{number}"), b"{}");
            let much = if number % 2 == 0 { 40 } else { whole.len() - 1 };
            stream.write_all(&whole[..much]).unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    let mut honest = connect(daemon.address);
    for number in 0..50 {
        honest.write_all(&github_request(&format!("honest-{number}"), b"{}")).unwrap();
        assert_eq!(read_answer(&mut honest).unwrap().status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(slow);
}
