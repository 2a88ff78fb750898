//! HTTP/1 as real clients speak it: chunks, expectations, pipelines, old versions, other methods.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::{
    Answer, GITHUB, GITHUB_PATH, SECRET, connect, github_request, github_signature, post, read_answer,
    request, send_raw,
};
use crate::daemon::Daemon;
use crate::worker::{body, drain};

#[test]
fn a_chunked_body_comes_out_whole() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let body_sent = b"{\"in\":\"several chunks\"}";
    let mut stream = connect(daemon.address);
    stream.write_all(&head("1.1", "Transfer-Encoding: chunked\r\nTrailer: X-End", body_sent)).unwrap();
    for chunk in body_sent.chunks(5) {
        stream.write_all(format!("{:x};extension=1\r\n", chunk.len()).as_bytes()).unwrap();
        stream.write_all(chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\nX-End: 1\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    // The connection goes on behind a chunked body.
    stream.write_all(&github_request("next", b"{}")).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    drop(stream);
    daemon.stop();
    assert_eq!(body(&drain(dir.path())[0]), body_sent);
}

#[test]
fn an_empty_body_is_a_webhook_too() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    for lines in ["Content-Length: 0", "X-No-Length: 1"] {
        assert_eq!(send_raw(daemon.address, &head("1.1", lines, b"")).unwrap().status, 200, "{lines}");
    }
    let chunked = [&head("1.1", "Transfer-Encoding: chunked", b"")[..], b"0\r\n\r\n"].concat();
    assert_eq!(send_raw(daemon.address, &chunked).unwrap().status, 200);
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|m| m["data"].is_null() && body(m).is_empty()), "{messages:?}");
}

#[test]
fn an_expectation_is_met_before_the_body_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = expecting(&daemon, GITHUB_PATH, 2);
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
}

#[test]
fn an_expectation_that_cannot_be_met_is_answered_without_a_hundred() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let path = "/api/webhooks/incoming/nobody";
    for (path, length, status) in [(path, 2, 404), (GITHUB_PATH, 26 << 20, 413)] {
        let mut stream = expecting(&daemon, path, length);
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(String::from_utf8_lossy(&first), format!("HTTP/1.1 {status}"), "no 100 before it");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = connect(daemon.address);
    let forged = post("github", &[("X-Hub-Signature-256", &github_signature("guess", b"{}"))], b"{}");
    let one = github_request("one", b"{\"n\":1}");
    let two = github_request("two", b"{\"n\":2}");
    stream.write_all(&[&one[..], &forged, &two].concat()).unwrap();
    let statuses: Vec<u16> = (0..3).map(|_| read_answer(&mut stream).unwrap().status).collect();
    assert_eq!(statuses, [200, 401, 200]);
    drop(stream);
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(
        messages.iter().map(|m| m["deliveryId"].as_str().unwrap()).collect::<Vec<_>>(),
        ["one", "two"]
    );
}

#[test]
fn http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = connect(daemon.address);
    stream.write_all(&[&head("1.0", "Content-Length: 2", b"{}")[..], b"{}"].concat()).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    assert!(read_answer(&mut stream).is_none(), "HTTP/1.0 closes");
    let keep = "Connection: keep-alive\r\nContent-Length: 2";
    let mut stream = connect(daemon.address);
    for _ in 0..2 {
        stream.write_all(&[&head("1.0", keep, b"{}")[..], b"{}"].concat()).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    }
}

#[test]
fn a_connection_is_kept_and_closed_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = connect(daemon.address);
    for number in 0..100 {
        stream.write_all(&github_request(&format!("kept-{number}"), b"{}")).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    }
    let close = head("1.1", "Connection: close\r\nContent-Length: 2", b"{}");
    stream.write_all(&[&close[..], b"{}"].concat()).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    assert!(read_answer(&mut stream).is_none());
}

#[test]
fn a_request_may_come_in_pieces_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let whole = github_request("in-pieces", b"{\"in\":\"pieces\"}");
    for size in [1, 2, 7, 23, 24, 25, 64] {
        let mut stream = connect(daemon.address);
        for piece in whole.chunks(size) {
            stream.write_all(piece).unwrap();
        }
        assert_eq!(read_answer(&mut stream).unwrap().status, 200, "pieces of {size}");
    }
}

#[test]
fn the_absolute_form_of_a_path_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let signature = github_signature(SECRET, b"{}");
    let url = format!("http://hooks.example.com{GITHUB_PATH}");
    let answer = request(daemon.address, "POST", &url, &[("X-Hub-Signature-256", &signature)], b"{}");
    assert_eq!(answer.status, 200);
    let tunnel = b"CONNECT github.com:443 HTTP/1.1\r\nHost: github.com:443\r\n\r\n";
    assert_eq!(send_raw(daemon.address, tunnel).unwrap().status, 404, "it is no proxy");
}

#[test]
fn methods_that_the_provider_never_sends_are_named_what_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let signature = github_signature(SECRET, b"");
    for method in ["GET", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let answer =
            request(daemon.address, method, GITHUB_PATH, &[("X-Hub-Signature-256", &signature)], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(answer.reason(), "method_not_allowed", "{method}");
        daemon.wait_for_delivery(|line| line["reason"] == "method_not_allowed" && line["status"] == 405);
    }
    let answer = head_of(&daemon);
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    daemon.stop();
    assert!(drain(dir.path()).is_empty());
}

/// The answer to HEAD has a length and no body, so that it can't be read like others.
fn head_of(daemon: &Daemon) -> Answer {
    let mut stream = connect(daemon.address);
    let text = format!("HEAD {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(bytes.ends_with(b"\r\n\r\n"), "no body");
    let head = String::from_utf8(bytes).unwrap();
    Answer { status: head[9..12].parse().unwrap(), head, body: Vec::new() }
}

/// A head that waits for 100 Continue.
fn expecting(daemon: &Daemon, path: &str, length: usize) -> TcpStream {
    let mut stream = connect(daemon.address);
    let signature = github_signature(SECRET, b"{}");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nX-Hub-Signature-256: {signature}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// A signed head with these lines; the body is sent by whoever calls.
fn head(version: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let signature = github_signature(SECRET, body);
    format!(
        "POST {GITHUB_PATH} HTTP/{version}\r\nHost: t\r\nContent-Type: application/json\r\n\
         X-Hub-Signature-256: {signature}\r\n{lines}\r\n\r\n"
    )
    .into_bytes()
}
