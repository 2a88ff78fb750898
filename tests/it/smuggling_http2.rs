//! HTTP/2 streams that say one thing in their headers and another in their frames: none is answered as a webhook.

use std::io::Write;

use crate::client::{GITHUB, GITHUB_PATH, SECRET, github_request, github_signature, send_raw};
use crate::daemon::Daemon;
use crate::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, frame, header, open, post_headers, read_all,
};
use crate::worker::{body, drain};

/// A stream with these further headers and a body in two frames; whether it got an answer of 200.
fn is_accepted(daemon: &Daemon, first: &[u8], further: &[(&str, &str)], parts: [&[u8]; 2]) -> bool {
    let lines: Vec<u8> = further.iter().flat_map(|(name, value)| header(name, value)).collect();
    let mut stream = open(daemon.address, &[]);
    let sent = [
        frame(HEADERS, END_HEADERS, 1, &[first, &lines].concat()),
        frame(DATA, 0, 1, parts[0]),
        frame(DATA, END_STREAM, 1, parts[1]),
        frame(GOAWAY, 0, 0, &[0; 8]),
    ];
    // It may be cut off at any moment.
    let _ = stream.write_all(&sent.concat());
    // `:status: 200` is entry 8 of the static table (RFC 7541, appendix A).
    read_all(&mut stream).iter().any(|(kind, id, payload)| (*kind, *id) == (HEADERS, 1) && payload[0] == 0x88)
}

#[test]
fn a_length_that_the_frames_dont_have_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let signature = github_signature(SECRET, b"{\"a\":1}");
    for length in ["6", "8", "0", "7, 7", "+7", "-7", "0x7", "7 ", "18446744073709551623", "seven", ""] {
        let further = [("content-length", length), ("x-hub-signature-256", &signature)];
        assert!(!is_accepted(&daemon, &post_headers(), &further, [b"{\"a\"", b":1}"]), "{length:?}");
    }
    let further =
        [("content-length", "7"), ("x-hub-signature-256", &*signature), ("x-github-delivery", "ok")];
    assert!(is_accepted(&daemon, &post_headers(), &further, [b"{\"a\"", b":1}"]));
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), 1);
}

#[test]
fn what_only_http_1_has_or_pseudo_headers_out_of_place_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let signature = github_signature(SECRET, b"{}");
    let signed = ("x-hub-signature-256", signature.as_str());
    for odd in [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        (":method", "GET"),
        (":path", "/other"),
        (":status", "200"),
        (":unknown", "x"),
        ("x-a\r\nx-b", "c"),
        ("x-a", "b\nx-c: d"),
        ("x-a", "b\0"),
        ("", "x"),
        ("X-Upper", "x"),
    ] {
        assert!(!is_accepted(&daemon, &post_headers(), &[signed, odd], [b"{", b"}"]), "{odd:?}");
    }
    let missing = |lines: &[Vec<u8>]| [vec![0x83], lines.concat()].concat();
    let path = header(":path", GITHUB_PATH);
    for (name, first) in [
        ("no path", missing(&[vec![0x86], header(":authority", "t")])),
        ("an empty path", missing(&[vec![0x86], header(":path", ""), header(":authority", "t")])),
        ("no scheme", missing(&[path.clone(), header(":authority", "t")])),
        ("no method", [vec![0x86], path.clone(), header(":authority", "t")].concat()),
        (
            "CONNECT with a path",
            [header(":method", "CONNECT"), vec![0x86], path, header(":authority", "t")].concat(),
        ),
    ] {
        assert!(!is_accepted(&daemon, &first, &[signed], [b"{", b"}"]), "{name}");
    }
    let answer = send_raw(daemon.address, &github_request("honest", b"{}")).expect("it serves on");
    assert_eq!(answer.status, 200);
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), [b"{}"]);
    assert_eq!(messages[0]["deliveryId"], "honest");
}
