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

#[test]
fn a_second_request_with_both_lengths_ends_the_connection() {
    // Behind another request it may be judged by Transfer-Encoding alone, if the connection ends then.
    let both = hiding("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n");
    let dir = tempfile::tempdir().unwrap();
    let daemon = crate::attack::daemon(dir.path(), "");
    let mut stream = crate::client::connect(daemon.address);
    std::io::Write::write_all(&mut stream, &[github_request("first", b"{}"), both].concat()).unwrap();
    let mut answers = std::iter::from_fn(|| crate::client::read_answer(&mut stream)).map(|a| a.status);
    assert_eq!(answers.next(), Some(200));
    assert!(answers.next().is_some_and(|status| status >= 400));
    assert_eq!(answers.next(), None);
    drop(stream);
    daemon.stop();
    assert_eq!(crate::worker::drain(dir.path()).len(), 1, "only the first");
}
