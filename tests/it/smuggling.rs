//! Requests that two servers in a row could read as different ones, and bytes that are no HTTP at all.
//! Each is refused, its connection ends, and the signed webhook hidden behind it is never seen.

use crate::attack::{Attack, Then, withstand};
use crate::client::{GITHUB_PATH, github_request};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A head with these lines in its middle, and behind it `body`, which ends in a signed webhook.
fn hiding(lines: &str, body: &str) -> Vec<u8> {
    request(&format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\n{lines}\r\n\r\n{body}"))
}

fn request(text: &str) -> Vec<u8> {
    [text.as_bytes(), &github_request("smuggled", b"{}")].concat()
}

fn malformed(name: &'static str, bytes: Vec<u8>) -> Attack {
    Attack::new(name, bytes, 400, "request_malformed").then(Then::ReadToTheEnd)
}

#[test]
fn ambiguous_lengths_are_refused() {
    let chunked = "Transfer-Encoding: chunked";
    withstand(
        &[
            malformed("CL.TE", hiding(&format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n")),
            malformed("TE.CL", hiding(&format!("{chunked}\r\nContent-Length: 5"), "0\r\n\r\n")),
            malformed("two lengths", hiding("Content-Length: 0\r\nContent-Length: 5", "")),
            malformed("two lengths in one", hiding("Content-Length: 0, 5", "")),
            malformed("a signed length", hiding("Content-Length: +5", "12345")),
            malformed("a negative length", hiding("Content-Length: -1", "")),
            malformed("a length in hex", hiding("Content-Length: 0x5", "12345")),
            malformed("an empty length", hiding("Content-Length: ", "")),
            malformed("a length beyond 64 bits", hiding("Content-Length: 18446744073709551621", "12345")),
        ],
        "",
    );
}

#[test]
fn transfer_codings_that_are_not_chunked_alone_are_refused() {
    withstand(
        &[
            malformed("unknown", hiding("Transfer-Encoding: xchunked", "0\r\n\r\n")),
            malformed("identity", hiding("Transfer-Encoding: identity", "")),
            malformed("chunked not last", hiding("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
            malformed(
                "a second one",
                hiding("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n"),
            ),
            malformed("chunked twice", hiding("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")),
            malformed(
                "chunked twice, in two",
                hiding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            ),
            malformed("another in front", hiding("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
            malformed("identity in front", hiding("Transfer-Encoding: identity, chunked", "0\r\n\r\n")),
            malformed("nothing in front", hiding("Transfer-Encoding: ,chunked", "0\r\n\r\n")),
            malformed("a space before the colon", hiding("Transfer-Encoding : chunked", "0\r\n\r\n")),
            malformed("a vertical tab", hiding("Transfer-Encoding:\x0bchunked", "0\r\n\r\n")),
            malformed(
                "in HTTP/1.0",
                request(&format!(
                    "POST {GITHUB_PATH} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                )),
            ),
        ],
        "",
    );
}

#[test]
fn broken_chunks_are_refused() {
    let chunks = |body: &str| hiding("Transfer-Encoding: chunked", body);
    withstand(
        &[
            malformed("a size beyond 64 bits", chunks("fffffffffffffffff\r\n")),
            malformed("a size that isn't hex", chunks("g\r\n")),
            malformed("a negative size", chunks("-1\r\n")),
            malformed("a size with a prefix", chunks("0x2\r\n{}\r\n0\r\n\r\n")),
            malformed("data longer than its size", chunks("2\r\n{}}\r\n0\r\n\r\n")),
            malformed("a size that ends in LF", chunks("2\n{}\r\n0\r\n\r\n")),
        ],
        "",
    );
}

#[test]
fn odd_lines_of_the_head_are_refused() {
    let head = |text: &str| request(&format!("POST {GITHUB_PATH} {text}"));
    withstand(
        &[
            malformed("a folded header", hiding("X-A: b\r\n c\r\nContent-Length: 0", "")),
            malformed("a space before the colon", hiding("Content-Length : 5", "12345")),
            malformed("white space before the first header", head("HTTP/1.1\r\n Host: t\r\n\r\n")),
            malformed("lines that end in LF", head("HTTP/1.1\nHost: t\nContent-Length: 0\n\n")),
            malformed("one line that ends in LF", hiding("X-A: b\nContent-Length: 0", "")),
            malformed("a CR in a value", hiding("X-A: b\rc\r\nContent-Length: 0", "")),
            malformed("a NUL in a value", hiding("X-A: b\0c\r\nContent-Length: 0", "")),
            malformed("an escape in a value", hiding("X-A: \x1b[2J\r\nContent-Length: 0", "")),
            malformed("a header without a name", hiding(": b\r\nContent-Length: 0", "")),
            malformed("a header without a colon", hiding("X-A\r\nContent-Length: 0", "")),
            malformed("no version", head("\r\nHost: t\r\n\r\n")),
            malformed("a version of the future", head("HTTP/1.9\r\nHost: t\r\n\r\n")),
        ],
        "",
    );
}

/// A server ignores empty lines in front of a request (RFC 9112, section 2.2), and nothing else for their sake.
#[test]
fn empty_lines_in_front_of_a_head_hide_nothing_of_it() {
    let behind = |lines: &str, head: Vec<u8>| [lines.as_bytes(), &head].concat();
    let both = || hiding("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n");
    let bare = || hiding("X-A: b\nContent-Length: 0", "");
    withstand(
        &[
            malformed("both lengths behind one", behind("\r\n", both())),
            malformed("both lengths behind two", behind("\r\n\r\n", both())),
            malformed("a bare LF behind two", behind("\r\n\r\n", bare())),
            malformed("a bare LF behind three", behind("\r\n\r\n\r\n", bare())),
            malformed("an empty line of LF", behind("\n", hiding("Content-Length: 0", ""))),
        ],
        "",
    );
}

#[test]
fn a_host_that_is_none_is_refused() {
    let with = |host: &str| {
        request(&format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"))
    };
    withstand(
        &[
            malformed("two in one", with("a b")),
            malformed("a path", with("a/b")),
            malformed("a user", with("user@a")),
            malformed("a port that is none", with("a:b")),
            malformed("half an address", with("[::1")),
            malformed("markup", with("<a>")),
        ],
        "",
    );
}

/// RFC 9112, section 3.2, asks for it in as many words.
#[test]
fn a_request_without_exactly_one_host_is_refused() {
    withstand(
        &[
            malformed("none", request(&format!("POST {GITHUB_PATH} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"))),
            malformed("two", hiding("Host: u\r\nContent-Length: 0", "")),
        ],
        "",
    );
}

#[test]
fn what_is_no_http_is_refused() {
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let path = |path: &[u8]| {
        [b"POST /api/webhooks/incoming/", path, b" HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"].concat()
    };
    withstand(
        &[
            malformed("a TLS handshake", tls.to_vec()),
            malformed("a method with a space", request("PO ST / HTTP/1.1\r\nHost: t\r\n\r\n")),
            malformed("malformed UTF-8 in the path", path(b"github\xff\xfe")),
            malformed("a NUL in the path", path(b"github\0")),
            malformed("an escape in the path", path(b"github\x1b[2J")),
            malformed("HTTP/2 as text", b"PRI * HTTP/2.0\r\nHost: t\r\n\r\n".to_vec()),
            malformed("HTTP/2 and garbage", [PREFACE, &[0xff; 64]].concat()).then(Then::ReadFrames),
            malformed("half of what begins HTTP/2", PREFACE[..20].to_vec()).then(Then::HangUp),
        ],
        "",
    );
}

/// Sends all of it at once; the statuses of the answers, up to the end of the connection.
fn pipeline(daemon: &crate::daemon::Daemon, bytes: &[u8]) -> Vec<u16> {
    let mut stream = crate::client::connect(daemon.address);
    std::io::Write::write_all(&mut stream, bytes).unwrap();
    std::iter::from_fn(|| crate::client::read_answer(&mut stream)).map(|answer| answer.status).collect()
}

#[test]
fn a_second_request_with_both_lengths_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = crate::attack::daemon(dir.path(), "");
    let both = hiding("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n");
    let bare = hiding("X-A: b\nContent-Length: 0", "");
    for (number, second) in [both, bare].into_iter().enumerate() {
        let first = github_request(&format!("first-{number}"), b"{\n\n}");
        let between = github_request(&format!("between-{number}"), b"");
        assert_eq!(pipeline(&daemon, &[first, between, second].concat()), [200, 200, 400]);
    }
    daemon.stop();
    assert_eq!(crate::worker::drain(dir.path()).len(), 4, "nothing that was hidden");
}

#[test]
fn requests_one_behind_the_other_are_told_apart_whatever_their_bodies_hold() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = crate::attack::daemon(dir.path(), "");
    let body = "{\n\n\"a\":\"\r\n\r\n0\r\n\r\nPOST / HTTP/1.1\nContent-Length: 1\n\n\"}";
    let plain = |delivery: &str| String::from_utf8(github_request(delivery, body.as_bytes())).unwrap();
    let chunked = |delivery: &str, size: &str, trailers: &str| {
        let head = plain(delivery);
        let head = head.split("\r\n\r\n").next().unwrap();
        let length = format!("Content-Length: {}", body.len());
        assert!(head.to_lowercase().contains(&length.to_lowercase()), "{head}");
        let lines = head.split("\r\n").filter(|line| !line.eq_ignore_ascii_case(&length));
        let head = lines.collect::<Vec<_>>().join("\r\n");
        format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n{body}\r\n0\r\n{trailers}\r\n")
    };
    let size = format!("{:x}", body.len());
    let all = [
        plain("a"),
        chunked("b", &size, ""),
        format!("\r\n{}", plain("c")),
        chunked("d", &format!("000{size};x=\"y\""), "X-A: b\r\nContent-Length: 7\r\n"),
        plain("e").replacen("HTTP/1.1\r\n", "HTTP/1.1\r\nConnection: close\r\n", 1),
    ];
    assert_eq!(pipeline(&daemon, all.concat().as_bytes()), [200; 5]);
    daemon.stop();
    let messages = crate::worker::drain(dir.path());
    assert_eq!(messages.len(), 5);
    assert!(messages.iter().all(|message| crate::worker::body(message) == body.as_bytes()));
}
