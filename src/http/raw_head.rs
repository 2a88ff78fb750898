//! What makes a request ambiguous although hyper takes it, told from its head as it came over the wire.
//!
//! A request with both `Transfer-Encoding` and `Content-Length` is what request smuggling looks like
//! (RFC 9112, section 6.3): two servers in a row that believe different ones see different requests. hyper
//! believes the former, drops the latter and closes the connection. That is safe, but a webhook of that
//! shape passed a proxy that may have read another one, so it is refused. So is a head with a line that
//! ends in LF alone: no provider sends one, and servers in a row differ on what it means. And so is a
//! request of HTTP/1.1 without exactly one `Host` (RFC 9112, section 3.2).

use std::sync::{Arc, Mutex};

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use memchr::memmem;

/// The bytes of a head, kept until the request is known.
#[derive(Debug, Default)]
pub struct RawHead(Mutex<Vec<u8>>);

impl RawHead {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds bytes that belong to a head, the first ones of it or further ones. A body may begin in them.
    pub fn push(&self, bytes: &[u8], first: bool) {
        let mut head = self.0.lock().expect("nothing panics under this lock");
        if first {
            head.clear();
        }
        head.extend_from_slice(bytes);
    }

    /// Forgets the head, and says what makes its request ambiguous.
    pub fn take_ambiguity(&self, version: Version, headers: &HeaderMap) -> Option<&'static str> {
        if version == Version::HTTP_11 && headers.get_all(HOST).iter().count() != 1 {
            return Some("not exactly one Host");
        }
        let bytes = std::mem::take(&mut *self.0.lock().expect("nothing panics under this lock"));
        let head = head_of(&bytes);
        if headers.contains_key(TRANSFER_ENCODING) && has_content_length(head) {
            return Some("both Content-Length and Transfer-Encoding");
        }
        has_bare_lf(head).then_some("a line of the headers ends in LF alone")
    }
}

/// The part up to the empty line. Without one the bytes are not a whole head: they began behind another
/// request's, and hyper alone has judged them.
fn head_of(bytes: &[u8]) -> &[u8] {
    let ends = [&b"\n\r\n"[..], b"\n\n"];
    let end = ends.iter().filter_map(|end| memmem::find(bytes, end)).min().map(|at| at + 1);
    &bytes[..end.unwrap_or_default()]
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Whether a line of the head is a `Content-Length`.
fn has_content_length(head: &[u8]) -> bool {
    head.split(|b| *b == b'\n').skip(1).any(|line| {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"content-length")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_are_seen_in_either_order_and_only_in_the_head() {
        let chunked = "Transfer-Encoding: chunked\r\n";
        for both in [
            format!("POST / HTTP/1.1\r\nContent-Length: 5\r\n{chunked}\r\n"),
            format!("POST / HTTP/1.1\r\n{chunked}content-LENGTH:5\r\n\r\n"),
            format!("POST / HTTP/1.1\n{chunked}Content-Length: 5\n\n"),
        ] {
            assert!(has_content_length(head_of(both.as_bytes())), "{both}");
        }
        let body = format!("POST /?Content-Length:1 HTTP/1.1\r\n{chunked}\r\n4\r\n\nContent-Length: 4\r\n");
        assert!(!has_content_length(head_of(body.as_bytes())));
    }

    #[test]
    fn a_bare_lf_is_seen_in_the_head_and_not_in_the_body() {
        for (bytes, bare) in [
            ("POST / HTTP/1.1\nHost: t\n\n", true),
            ("POST / HTTP/1.1\r\nHost: t\nA: b\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nHost: t\n\r\n", true),
            ("POST / HTTP/1.1\r\nHost: t\r\n\r\n{\n\n}", false),
        ] {
            let head = RawHead::default();
            head.push(bytes.as_bytes(), true);
            assert_eq!(head.take_ambiguity(Version::HTTP_10, &HeaderMap::new()).is_some(), bare, "{bytes:?}");
        }
    }

    #[test]
    fn http_1_1_has_one_host() {
        let host = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            hosts.iter().for_each(|host| {
                headers.append(HOST, http::HeaderValue::from_static(host));
            });
            RawHead::default().take_ambiguity(Version::HTTP_11, &headers).is_some()
        };
        assert!(host(&[]) && host(&["a", "b"]) && !host(&["a"]));
    }

    #[test]
    fn without_transfer_encoding_nothing_is_wrong() {
        let head = RawHead::default();
        head.push(b"POST / HTTP/1.1\r\nContent-", true);
        head.push(b"Length: 5\r\n\r\n", false);
        assert_eq!(head.take_ambiguity(Version::HTTP_10, &HeaderMap::new()), None);
        head.push(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", true);
        let headers = HeaderMap::from_iter([(TRANSFER_ENCODING, http::HeaderValue::from_static("chunked"))]);
        assert!(head.take_ambiguity(Version::HTTP_10, &headers).is_some());
        assert_eq!(head.take_ambiguity(Version::HTTP_10, &headers), None, "it was forgotten");
    }
}
