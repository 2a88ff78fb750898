//! `work --forward`: what a server gets, and what its answer means.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::send_raw;
use crate::daemon::Daemon;
use crate::work_common::{Ended, fill_numbers, run};
use crate::work_server::{ERROR, OK, Server};

const ONE: &[&str] = &["--limit", "1"];

fn forward(dir: &Path, args: &[&str], url: &str) -> Ended {
    run(dir, &[args, &["--retry-first", "1ms", "--forward", url]].concat())
}

#[test]
fn a_server_gets_the_original_request_but_for_what_belonged_to_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let token = ["--receiver=generic-token/shop=text:it-is-only-a-token"];
    let daemon = Daemon::start(dir.path(), &token);
    let head = "PUT /api/webhooks/incoming/generic-token/shop?a=1 HTTP/1.1\r\nHost: hooks.example.com\r\n\
                Content-Type: application/json\r\nX-Webhook-Token: it-is-only-a-token\r\n\
                Authorization: Basic c2VjcmV0\r\nX-Twice: one\r\nX-Twice: two\r\nX-Umlaut: \u{e4}\r\n\
                Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
                Trailer: X-T\r\nProxy-Connection: close\r\nProxy-Authorization: Basic eA==\r\nUpgrade: h2c\r\n\
                Sluiced-Attempt: 99\r\nSluiced-Forged: yes\r\nTransfer-Encoding: chunked\r\n\r\n\
                8\r\n{\"a\":\r\n1\r\n2\r\n }\r\n0\r\n\r\n";
    assert_eq!(send_raw(daemon.address, head.as_bytes()).unwrap().status, 200);
    let message_id = daemon.wait_for_delivery(|_| true)["message_id"].clone();
    daemon.stop();
    let server = Server::start(|_| Some(OK));
    let ended = forward(dir.path(), ONE, &server.url("/in?key=v"));
    assert_eq!(ended.count("acknowledged"), 1, "{}", ended.text);
    assert!(!ended.text.contains("key=v"), "the query may hold a secret");
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "PUT /in?key=v HTTP/1.1");
    assert_eq!(seen.body, b"{\"a\":\r\n1 }");
    for (name, values) in [
        ("host", vec![server.address.to_string()]),
        ("content-length", vec!["10".to_owned()]),
        ("content-type", vec!["application/json".to_owned()]),
        ("x-twice", vec!["one".to_owned(), "two".to_owned()]),
        ("x-umlaut", vec!["\u{e4}".to_owned()]),
        ("x-webhook-token", vec!["***".to_owned()]),
        ("authorization", vec!["***".to_owned()]),
        ("sluiced-attempt", vec!["1".to_owned()]),
        ("sluiced-message-id", vec![message_id.as_str().unwrap().to_owned()]),
        ("sluiced-receiver", vec!["generic-token".to_owned()]),
        ("sluiced-id", vec!["shop".to_owned()]),
        ("sluiced-path", vec!["/api/webhooks/incoming/generic-token/shop".to_owned()]),
        ("sluiced-query", vec!["a=1".to_owned()]),
        ("sluiced-remote-addr", vec!["127.0.0.1".to_owned()]),
    ] {
        assert_eq!(seen.values(name), values, "{name}");
    }
    for name in [
        "connection",
        "x-hop",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "sluiced-forged",
        "sluiced-delivery-id",
    ] {
        assert!(seen.values(name).is_empty(), "{name}: {seen:?}");
    }
    let masked = seen.values("sluiced-masked").concat();
    assert!(masked.contains("header:x-webhook-token") && masked.contains("header:authorization"));
}

#[test]
fn what_is_not_a_2xx_is_a_failure_and_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let server = Server::start(|number| Some(if number < 2 { ERROR } else { OK }));
    let ended = forward(dir.path(), &["--exit-when-empty"], &server.url("/"));
    assert_eq!(ended.count("acknowledged"), 1);
    let failures = ended.lines("attempt failed");
    assert!(failures.len() == 2 && failures.iter().all(|line| line["why"] == "HTTP status 500"));
    let attempts: Vec<String> =
        server.seen().iter().map(|seen| seen.values("sluiced-attempt").concat()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
}

#[test]
fn a_redirect_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let server = Server::start(|_| {
        Some(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
    });
    let ended = forward(dir.path(), ONE, &server.url("/here"));
    assert_eq!(ended.lines("attempt failed")[0]["why"], "HTTP status 307: redirects are not followed");
    let lines: Vec<String> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["POST /here HTTP/1.1"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let server = Server::start(|number| if number == 0 { None } else { Some(OK) });
    let ended = forward(dir.path(), &["--timeout", "200ms", "--exit-when-empty"], &server.url("/"));
    assert_eq!(ended.lines("attempt failed")[0]["why"], "not done within 200ms");
    assert_eq!((ended.count("acknowledged"), server.seen().len()), (1, 2));
}

#[test]
fn a_server_that_is_not_there_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    // Bound and let go: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = forward(dir.path(), ONE, &format!("http://{free}/"));
    let why = ended.lines("attempt failed")[0]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("no answer: ") && why.contains("refused"), "{why}");
}

#[test]
fn a_connection_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 10);
    let server = Server::start(|number| Some(if number == 3 { ERROR } else { OK }));
    let ended = forward(dir.path(), &["--exit-when-empty"], &server.url("/"));
    assert_eq!((ended.count("acknowledged"), server.seen().len(), server.connections()), (10, 11, 1));
}

#[test]
fn an_answer_without_end_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 2);
    let server = Server::start(|_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\nand so on"));
    let began = Instant::now();
    let ended = forward(dir.path(), &["--limit", "2", "--concurrency", "2"], &server.url("/"));
    assert_eq!(ended.count("acknowledged"), 2);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
