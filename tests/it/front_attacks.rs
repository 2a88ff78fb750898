//! What strangers can do to cost us something, or to be heard where they shouldn't: each ends within its
//! bound, and honest webhooks pass beside it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::attack::{Attack, Then, assert_clean, withstand};
use crate::client::{
    GITHUB, GITHUB_PATH, SECRET, connect, github_request, github_signature, post, read_answer, send_raw,
};
use crate::daemon::{Daemon, PATIENCE, wait_until};
use crate::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame, header, open,
    post_headers, read_all,
};
use crate::worker::{body, drain};

/// The daemon's memory now.
fn memory_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open_files(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

fn honest(daemon: &Daemon) {
    let answer = send_raw(daemon.address, &github_request("honest", b"{}")).expect("an answer");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_megabyte_of_headers_is_refused() {
    let head = |lines: String| format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\n{lines}\r\n").into_bytes();
    let many = (0..20_000).map(|n| format!("X-{n}: {}\r\n", "x".repeat(40))).collect();
    let one = format!("X-A: {}\r\n", "x".repeat(1 << 20));
    let url = format!("POST /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(1 << 20)).into_bytes();
    let large = |name, bytes| Attack::new(name, bytes, 431, "headers_too_large").then(Then::ReadToTheEnd);
    withstand(
        &[large("many headers", head(many)), large("one header", head(one)), large("the path", url)],
        "",
    );
}

#[test]
fn streams_that_are_reset_at_once_end_their_connection() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    honest(&daemon);
    let before = memory_kib(&daemon);
    for _ in 0..20 {
        let mut stream = open(daemon.address, &[]);
        let mut sent = 0;
        // It may be cut off at any moment.
        for number in 0..20_000_u32 {
            let id = 2 * number + 1;
            let pair = [
                frame(HEADERS, END_HEADERS, id, &post_headers()),
                frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()),
            ];
            if stream.write_all(&pair.concat()).is_err() {
                break;
            }
            sent = number;
        }
        assert!(sent < 19_000, "it went on for {sent} streams");
        honest(&daemon);
    }
    assert!(memory_kib(&daemon) < before + (64 << 10));
    daemon
        .wait_for_delivery(|line| line["reason"] == "request_malformed" || line["reason"] == "rate_limited");
}

#[test]
fn streams_that_are_reset_one_after_the_other_end_their_connection() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = open(daemon.address, &[]);
    stream.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0_u32;
    // Slowly enough that each is looked at before it is reset.
    let mut write = |bytes: &[u8]| stream.write_all(bytes).is_ok();
    loop {
        let id = 2 * number + 1;
        if !write(&frame(HEADERS, END_HEADERS, id, &post_headers())) {
            break;
        }
        crate::daemon::pause();
        if !write(&frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())) {
            break;
        }
        number += 1;
        assert!(Instant::now() < deadline && number < 2_000, "it went on for {number} streams");
    }
    assert!(number > 200, "a sender may reset some: {number}");
    daemon.wait_for_delivery(|line| line["detail"] == "more streams reset than answered");
    honest(&daemon);
}

#[test]
fn headers_without_an_end_end_their_connection() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    honest(&daemon);
    let before = memory_kib(&daemon);
    let mut stream = open(daemon.address, &[]);
    stream.write_all(&frame(HEADERS, 0, 1, &post_headers())).unwrap();
    let more: Vec<u8> = (0..100).flat_map(|n| header(&format!("x-{n}"), &"x".repeat(100))).collect();
    let mut sent = 0;
    while sent < (64 << 20) && stream.write_all(&frame(CONTINUATION, 0, 1, &more)).is_ok() {
        sent += more.len();
    }
    assert!(sent < (64 << 20), "64 MiB of headers were taken");
    assert!(memory_kib(&daemon) < before + (16 << 10), "{} KiB, before {before}", memory_kib(&daemon));
    honest(&daemon);
    daemon.wait_for_delivery(|line| line["reason"] == "request_malformed");
}

#[test]
fn empty_frames_without_end_dont_keep_others_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB]);
    honest(&daemon);
    let before = memory_kib(&daemon);
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut stream = open(daemon.address, &[]);
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let begun = Instant::now();
        // Answers to these are never read.
        while begun.elapsed() < Duration::from_millis(500) && stream.write_all(&flood.repeat(500)).is_ok() {}
        honest(&daemon);
        wait_until("its end", || stream.write_all(&flood).is_err());
    }
    assert!(memory_kib(&daemon) < before + (16 << 10), "{} KiB, before {before}", memory_kib(&daemon));
}

#[test]
fn whoever_never_reads_its_answers_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[limits]\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB]);
    honest(&daemon);
    wait_until("the honest one's end", || open_files(&daemon) > 0);
    let (files, memory) = (open_files(&daemon), memory_kib(&daemon));
    let forged = post("github", &[], b"{}").repeat(2_000);
    let _deaf: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = connect(daemon.address);
            stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
            let _ = stream.write_all(&forged);
            stream
        })
        .collect();
    // And over HTTP/2, with a window that lets no body out.
    let no_window = [&4_u16.to_be_bytes()[..], &0_u32.to_be_bytes()].concat();
    let _windowless: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = open(daemon.address, &no_window);
            for number in 0..100 {
                let headers = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &post_headers());
                let _ = stream.write_all(&headers);
            }
            stream
        })
        .collect();
    assert!(memory_kib(&daemon) < memory + (32 << 10), "{} KiB, before {memory}", memory_kib(&daemon));
    honest(&daemon);
    wait_until("their end", || open_files(&daemon) <= files);
}

#[test]
fn a_stream_that_breaks_the_protocol_doesnt_break_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let odd = |lines: &[(&str, &str)]| {
        lines.iter().flat_map(|(name, value)| header(name, value)).collect::<Vec<_>>()
    };
    for (number, extra) in [
        odd(&[("Upper-Case", "x")]),
        odd(&[("connection", "keep-alive")]),
        odd(&[("transfer-encoding", "chunked")]),
        odd(&[(":path", "/other")]),
        odd(&[("x-a", "b\r\nx-hub-signature-256: c")]),
        odd(&[("content-length", "5"), ("content-length", "6")]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = open(daemon.address, &[]);
        let headers = [post_headers(), extra].concat();
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers)).unwrap();
        // So that the connection ends once the stream has been judged.
        stream.write_all(&frame(GOAWAY, 0, 0, &[0; 8])).unwrap();
        let frames = read_all(&mut stream);
        let of_it = |kind: u8| frames.iter().any(|(of, id, _)| *of == kind && *id == 1);
        let ended = frames.iter().any(|(kind, _, _)| *kind == GOAWAY);
        assert!((of_it(RST_STREAM) || ended) && !of_it(HEADERS), "{number}: {frames:?}");
        honest(&daemon);
        let refused =
            || daemon.deliveries().iter().filter(|line| line["reason"] == "request_malformed").count();
        wait_until("its line", || refused() == number + 1);
    }
    daemon.wait_for_delivery(|line| line["detail"] == "a stream broke the protocol");
    daemon.stop();
    assert!(drain(dir.path()).iter().all(|message| message["deliveryId"] == "honest"));
}

#[test]
fn tricks_with_the_path_find_no_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let base = "/api/webhooks/incoming";
    for path in [
        "/api/webhooks/incoming/x/../github",
        "/api/webhooks/incoming/./github",
        "/api/webhooks/incoming/%2e/github",
        "/api/webhooks/incoming//github",
        "//api/webhooks/incoming/github",
        "/api/webhooks/incoming/github/",
        "/api/webhooks/incoming/github//",
        "/api/webhooks/incoming/github/..",
        "/api/webhooks/incoming/github/%2e%2e",
        "/api/webhooks/incoming/github%2f",
        "/api/webhooks/incoming%2fgithub",
        "/api/webhooks/incoming/github%00",
        "/api/webhooks/incoming/github%0d%0a",
        "/api/webhooks/incoming/github;x=y",
        "/api/webhooks/incoming/github%20",
        "/api/webhooks/incoming/%67ithub%252f",
        "/api/webhooks/incoming/g\u{131}thub",
        "/api/webhooks\\incoming\\github",
        "/livez",
        "/metrics",
        "*",
    ] {
        let signature = github_signature(SECRET, b"{}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nX-Hub-Signature-256: {signature}\r\nX-GitHub-Delivery: trick\r\n\
             Content-Length: 2\r\n\r\n{{}}"
        );
        let answer = send_raw(daemon.address, head.as_bytes()).unwrap();
        let same = path == format!("{base}/github/");
        assert_eq!(answer.status, if same { 200 } else { 404 }, "{path}: {answer:?}");
    }
    let text = daemon.stop();
    assert_clean(&text);
}

#[test]
fn nothing_that_a_proxy_passes_on_forges_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "trusted_proxies = [\"127.0.0.1\"]\n", &[GITHUB]);
    let odd: [&[u8]; 6] = [
        b"203.0.113.7\", \"outcome\":\"accepted",
        b"\xc2\x9b31m203.0.113.7",
        b"\xff\xfe",
        "\u{202e}7.311.0.302".as_bytes(),
        b"203.0.113.7\tx",
        b"for=\"203.0.113.7\\\"\"",
    ];
    for (number, value) in odd.iter().enumerate() {
        for name in ["X-Forwarded-For", "Forwarded"] {
            let request = github_request(&format!("d{number}{name}"), b"{}");
            let at = request.windows(8).position(|w| w == b"Content-").unwrap();
            let line = [name.as_bytes(), b": ", value, b"\r\n"].concat();
            let bytes = [&request[..at], &line, &request[at..]].concat();
            assert_eq!(send_raw(daemon.address, &bytes).unwrap().status, 200);
        }
    }
    wait_until("all lines", || daemon.deliveries().len() == 2 * odd.len());
    for line in daemon.deliveries() {
        let client: Result<std::net::IpAddr, _> = line["client"].as_str().unwrap().parse();
        assert!(client.is_ok(), "{line}");
    }
    assert_clean(&daemon.stop());
}

#[test]
fn json_that_is_100_000_deep_is_neither_parsed_nor_lost() {
    let dir = tempfile::tempdir().unwrap();
    let token = "--receiver=generic-token=text:it-is-only-a-test-secret";
    let from = "--receiver-set=generic-token.from=text:json:/token";
    let daemon = Daemon::start(dir.path(), &[GITHUB, token, from]);
    let deep = [&b"[".repeat(100_000)[..], &b"]".repeat(100_000)].concat();
    let objects = [&b"{\"a\":".repeat(100_000)[..], b"1", &b"}".repeat(100_000)].concat();
    for bytes in [&deep, &objects] {
        let forged = post("github", &[("X-Hub-Signature-256", &github_signature("guess", bytes))], bytes);
        assert_eq!(send_raw(daemon.address, &forged).unwrap().status, 401);
        assert_eq!(send_raw(daemon.address, &github_request("deep", bytes)).unwrap().status, 200);
        let parsed = send_raw(daemon.address, &post("generic-token", &[], bytes)).unwrap();
        assert!(matches!(parsed.status, 400 | 401), "{parsed:?}");
    }
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), [deep, objects]);
    assert!(messages.iter().all(|message| message["data"].is_null()));
}

#[test]
fn a_compressed_body_is_verified_and_passed_on_as_it_was_sent() {
    // `{}` as gzip has it.
    const GZIP: [u8; 22] =
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let send = |signed: &[u8]| {
        let headers = [
            ("X-Hub-Signature-256", &*github_signature(SECRET, signed)),
            ("Content-Encoding", "gzip"),
            ("Content-Type", "application/json"),
        ];
        send_raw(daemon.address, &post("github", &headers, &GZIP)).unwrap().status
    };
    assert_eq!(send(&GZIP), 200);
    assert_eq!(send(b"{}"), 401, "what it would be isn't what was sent");
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 1);
    assert_eq!(body(&messages[0]), GZIP);
    assert!(messages[0]["data"].is_null());
    assert_eq!(messages[0]["request"]["headers"]["content-encoding"][0], "gzip");
}

#[test]
fn what_cant_be_parsed_is_refused_behind_an_answer_too() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let mut stream = connect(daemon.address);
    stream.write_all(&[github_request("first", b"{}"), b"GARBAGE\r\n\r\n".to_vec()].concat()).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    let answer = read_answer(&mut stream).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (400, "request_malformed"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

/// A handler's answer may look like hyper's own; it is given all the same.
#[test]
fn an_empty_400_of_a_handler_is_no_refusal_of_the_http_library() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[[handlers]]\norder = 1\nreceiver = \"github\"\nrespond = { status = 400 }\n";
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB]);
    let whole = String::from_utf8(github_request("d", b"{}")).unwrap();
    let closing = whole.replace("Host: t\r\n", "Host: t\r\nConnection: close\r\n");
    let mut stream = connect(daemon.address);
    stream.write_all(closing.as_bytes()).unwrap();
    let answer = read_answer(&mut stream).expect("its answer");
    assert_eq!((answer.status, answer.body.len(), answer.header("connection")), (400, 0, Some("close")));
    let mut kept = connect(daemon.address);
    for _ in 0..3 {
        kept.write_all(whole.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut kept).unwrap().status, 400);
    }
}
