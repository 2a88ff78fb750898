//! Past a bound: 503 with `Retry-After`, never a stall, and those within their bounds go on.

use std::io::Write;
use std::net::TcpStream;

use crate::client::{Answer, GITHUB, GITHUB_PATH, connect, github_request, read_answer, send_raw};
use crate::daemon::{Daemon, memory_in_use, wait_until};
use crate::worker::drain;

#[test]
fn connections_past_the_bound_are_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(
        dir.path(),
        "[limits]\nconnections_max = 20\nconnections_per_address_max = 20\n",
        &[GITHUB],
    );
    let mut held: Vec<TcpStream> =
        (0..20).map(|number| answered(&daemon, &format!("held-{number}"))).collect();
    for _ in 0..200 {
        // Told without having asked: a client past the bound isn't even read.
        let answer = read_answer(&mut connect(daemon.address)).expect("an answer");
        assert_overloaded(&answer);
    }
    let line = daemon.wait_for_delivery(|line| line["reason"] == "overloaded");
    assert_eq!(line["outcome"], "failed");
    // Those within it go on, and a place that becomes free is given away.
    held[0].write_all(&github_request("still", b"{}")).unwrap();
    assert_eq!(read_answer(&mut held[0]).unwrap().status, 200);
    held.clear();
    wait_until("a free place", || {
        send_raw(daemon.address, &github_request("later", b"{}")).is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_request_sent_on_a_connection_past_the_bound_is_answered_too() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nconnections_max = 1\n", &[GITHUB]);
    let _held = answered(&daemon, "held");
    for number in 0..50 {
        let answer = send_raw(daemon.address, &github_request(&format!("past-{number}"), &[b'x'; 9_000]));
        assert_overloaded(&answer.expect("an answer, not a reset"));
    }
}

#[test]
fn large_bodies_past_the_memory_are_refused_while_small_ones_pass() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nbody_memory_max = \"2MiB\"\n", &[GITHUB]);
    // One address may have half of it: these two unfinished uploads take 800 KiB.
    let uploads: Vec<TcpStream> = (0..2).map(|_| upload(&daemon, 1_000_000, 400 << 10)).collect();
    wait_until("the memory to be taken", || memory_in_use(&daemon) >= 2 * (400 << 10));
    let mut third = upload(&daemon, 1_000_000, 400 << 10);
    assert_overloaded(&read_answer(&mut third).expect("an answer"));
    for number in 0..50 {
        let answer = send_raw(daemon.address, &github_request(&format!("small-{number}"), &[b'x'; 1_000]));
        assert_eq!(answer.unwrap().status, 200, "small bodies pass");
    }
    // What is given up is given back.
    drop(uploads);
    wait_until("the memory to be free", || {
        let answer = send_raw(daemon.address, &github_request("large", &vec![b'x'; 400 << 10]));
        answer.is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_declared_length_alone_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nbody_memory_max = \"2MiB\"\n", &[GITHUB]);
    let _claims: Vec<TcpStream> = (0..100).map(|_| upload(&daemon, 20 << 20, 1)).collect();
    let answer = send_raw(daemon.address, &github_request("large", &vec![b'x'; 300 << 10])).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn an_upload_over_the_limit_can_read_its_answer_while_it_sends_on() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nbody_max = \"1MiB\"\n", &[GITHUB]);
    for chunked in [false, true] {
        let mut stream = connect(daemon.address);
        let length = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 16777216" };
        let head = format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\n{length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let piece = [b'x'; 64 << 10];
        // As most clients do, it sends everything before it reads.
        for _ in 0..256 {
            let sent = if chunked {
                stream
                    .write_all(b"10000\r\n")
                    .and_then(|()| stream.write_all(&piece))
                    .and_then(|()| stream.write_all(b"\r\n"))
            } else {
                stream.write_all(&piece)
            };
            sent.expect("no reset while it sends");
        }
        let answer = read_answer(&mut stream).expect("its answer");
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "chunked: {chunked}");
        assert!(read_answer(&mut stream).is_none());
    }
}

#[test]
fn a_body_within_the_limit_of_the_daemon_and_over_the_receivers_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[[receivers]]\nname = \"github\"\nid = \"small\"\nbody_max = \"10B\"\n\
                  secret = { text = \"it-is-only-a-test-secret\" }\n";
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB]);
    let whole = String::from_utf8(github_request("d", b"{\"more\":\"than ten\"}")).unwrap();
    let small = whole.replace("/github ", "/github/small ");
    assert_eq!(send_raw(daemon.address, whole.as_bytes()).unwrap().status, 200);
    let answer = send_raw(daemon.address, small.as_bytes()).unwrap();
    assert_eq!(answer.status, 413);
    assert!(String::from_utf8_lossy(&answer.body).contains("\"limit\":10"), "{answer:?}");
}

#[test]
fn webhooks_in_flight_past_the_bound_are_told_to_come_again_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[limits]\nin_flight_max = 1\n", &[GITHUB]);
    let (mut accepted, mut overloaded) = (0, 0);
    wait_until("somebody to be turned away", || {
        let mut streams: Vec<TcpStream> = (0..32).map(|_| connect(daemon.address)).collect();
        for stream in &mut streams {
            stream.write_all(&github_request(&format!("at-once-{accepted}"), b"{}")).unwrap();
        }
        for stream in &mut streams {
            let answer = read_answer(stream).expect("an answer");
            if answer.status == 200 {
                accepted += 1;
            } else {
                assert_overloaded(&answer);
                overloaded += 1;
            }
        }
        accepted > 0 && overloaded > 0
    });
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), accepted);
}

fn assert_overloaded(answer: &Answer) {
    assert_eq!((answer.status, answer.reason().as_str()), (503, "overloaded"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"));
}

/// A connection that has had an answer.
fn answered(daemon: &Daemon, delivery: &str) -> TcpStream {
    let mut stream = connect(daemon.address);
    stream.write_all(&github_request(delivery, b"{}")).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    stream
}

/// An unsigned upload of so many bytes, of which some are sent.
fn upload(daemon: &Daemon, length: usize, sent: usize) -> TcpStream {
    let mut stream = connect(daemon.address);
    let head = format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
    // It may be refused before all is sent.
    let _ = stream.write_all(&[head.as_bytes(), &vec![b'x'; sent]].concat());
    stream
}
