//! What makes a request ambiguous although hyper takes it, told from its head as it came over the wire.
//!
//! A request with both `Transfer-Encoding` and `Content-Length` is what request smuggling looks like
//! (RFC 9112, section 6.3): two servers in a row that believe different ones see different requests. hyper
//! believes the former, drops the latter and closes the connection. That is safe, but a webhook of that
//! shape passed a proxy that may have read another one, so it is refused. So is a head with a line that
//! ends in LF alone: no provider sends one, and servers in a row differ on what it means. So are transfer
//! codings besides `chunked`, which hyper passes over, and chunked twice (section 6.1). And so is a request of
//! HTTP/1.1 without exactly one `Host`, or with one that names no host (section 3.2).

use std::sync::{Arc, Mutex};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Version};
use memchr::memmem;

use super::framing::Framing;

/// The bytes of a head, kept until the request is known; what follows it is told apart by the request's framing.
#[derive(Debug, Default)]
pub struct RawHead(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// A head, and what came in one piece with it.
    bytes: Vec<u8>,
    /// What is left of the body in front of it.
    body: Framing,
}

impl RawHead {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes bytes that came in; whether some of them belong to a head.
    pub fn push(&self, bytes: &[u8]) -> bool {
        self.lock().push(bytes)
    }

    /// Forgets the head, and says what makes its request ambiguous.
    pub fn take_ambiguity(&self, version: Version, headers: &HeaderMap) -> Option<&'static str> {
        let mut kept = self.lock();
        let bytes = std::mem::take(&mut kept.bytes);
        if version == Version::HTTP_2 {
            return None;
        }
        // hyper has parsed a head, so its end is there, or it isn't where the request before it ended.
        let Some(end) = end_of_head(&bytes) else {
            return Some("its head can't be told from what precedes it");
        };
        let (head, rest) = bytes.split_at(end);
        kept.body = Framing::of(headers);
        kept.push(rest);
        ambiguity(version, headers, head)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) -> bool {
        let rest = self.body.skip(bytes);
        self.bytes.extend_from_slice(rest);
        !rest.is_empty()
    }
}

fn ambiguity(version: Version, headers: &HeaderMap, head: &[u8]) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => return Some("not exactly one Host"),
        (_, Some(_)) => return Some("not exactly one Host"),
        (Some(host), None) if !is_host(host) => return Some("a Host that is none"),
        _ => {}
    }
    if let Some(coding) = headers.get(TRANSFER_ENCODING) {
        if headers.get_all(TRANSFER_ENCODING).iter().count() > 1
            || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        {
            return Some("a Transfer-Encoding other than chunked");
        }
        if has_content_length(head) {
            return Some("both Content-Length and Transfer-Encoding");
        }
    }
    has_bare_lf(head).then_some("a line of the headers ends in LF alone")
}

/// `uri-host [ ":" port ]`, or nothing, where the target has no authority (RFC 9112, section 3.2).
fn is_host(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    if text.is_empty() {
        return true;
    }
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let port = text.strip_prefix(authority.host()).unwrap_or("@");
    port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Behind the empty line that ends the head. Empty lines in front of the head belong to it (RFC 9112, section 2.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let empty = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let lines = &bytes[empty..];
    let ends = [&b"\n\r\n"[..], b"\n\n"];
    let end = ends.iter().filter_map(|end| Some(memmem::find(lines, end)? + end.len())).min()?;
    Some(empty + end)
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Whether a line of the head is a `Content-Length`: hyper drops it beside a `Transfer-Encoding`.
fn has_content_length(head: &[u8]) -> bool {
    head.split(|b| *b == b'\n').any(|line| {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_LINE: &str = "POST / HTTP/1.1\r\nHost: t\r\n";

    fn headers(chunked: bool) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("t"))]);
        if chunked {
            headers.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        headers
    }

    fn judged(bytes: &str, headers: &HeaderMap) -> Option<&'static str> {
        let head = RawHead::default();
        assert!(head.push(bytes.as_bytes()));
        head.take_ambiguity(Version::HTTP_11, headers)
    }

    #[test]
    fn both_lengths_are_seen_in_either_order_and_only_in_the_head() {
        let chunked = "Transfer-Encoding: chunked\r\n";
        for both in [
            format!("{HOST_LINE}Content-Length: 5\r\n{chunked}\r\n"),
            format!("{HOST_LINE}{chunked}content-LENGTH:5\r\n\r\n"),
            format!("\r\n\r\n{HOST_LINE}{chunked}Content-Length: 5\r\n\r\n"),
        ] {
            assert_eq!(
                judged(&both, &headers(true)),
                Some("both Content-Length and Transfer-Encoding"),
                "{both}"
            );
        }
        let body = format!("{HOST_LINE}{chunked}\r\n14\r\n\nContent-Length: 4\r\n\r\n0\r\n\r\n");
        assert_eq!(judged(&body, &headers(true)), None);
    }

    #[test]
    fn a_bare_lf_is_seen_in_the_head_and_not_in_the_body() {
        for (bytes, bare) in [
            ("POST / HTTP/1.1\nHost: t\n\n", true),
            ("POST / HTTP/1.1\r\nHost: t\nA: b\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nHost: t\n\r\n", true),
            ("\r\n\r\nPOST / HTTP/1.1\nHost: t\r\n\r\n", true),
            ("\nPOST / HTTP/1.1\r\nHost: t\r\n\r\n", true),
            ("\r\n\r\nPOST / HTTP/1.1\r\nHost: t\r\n\r\n{\n\n}", false),
        ] {
            assert_eq!(judged(bytes, &headers(false)).is_some(), bare, "{bytes:?}");
        }
    }

    #[test]
    fn http_1_1_has_one_host_that_is_one() {
        let judge = |hosts: &[&'static str], version| {
            let hosts = hosts.iter().map(|host| (HOST, HeaderValue::from_static(host)));
            let mut headers = HeaderMap::new();
            hosts.for_each(|(name, value)| {
                headers.append(name, value);
            });
            ambiguity(version, &headers, b"").is_none()
        };
        let one = |host| judge(&[host], Version::HTTP_11);
        for host in ["", "a", "a.example:80", "a_b", "[::1]", "[::1]:80", "192.0.2.1:", "a:0"] {
            assert!(one(host), "{host}");
        }
        for host in ["a b", "a/b", "u@a", "[::1", "<a>", "a:b", "a?b", "a:1:2", "a#b", "a\\b"] {
            assert!(!one(host), "{host}");
        }
        assert!(!judge(&[], Version::HTTP_11) && judge(&[], Version::HTTP_10));
        assert!(!judge(&["a", "b"], Version::HTTP_11) && !judge(&["a", "b"], Version::HTTP_10));
    }

    #[test]
    fn what_follows_a_body_is_a_head_and_what_is_in_it_is_none() {
        let first = format!("{HOST_LINE}Content-Length: 9\r\n\r\n{{\n\n\"a\"");
        let second = format!("{HOST_LINE}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n");
        let head = RawHead::default();
        assert!(head.push(first.as_bytes()));
        let mut length = headers(false);
        length.append(CONTENT_LENGTH, HeaderValue::from_static("9"));
        assert_eq!(head.take_ambiguity(Version::HTTP_11, &length), None);
        assert!(!head.push(b":1"), "the body goes on");
        assert!(head.push(format!("}}{}", &second[..20]).as_bytes()));
        assert!(head.push(&second.as_bytes()[20..]));
        let both = Some("both Content-Length and Transfer-Encoding");
        assert_eq!(head.take_ambiguity(Version::HTTP_11, &headers(true)), both);
    }
}
