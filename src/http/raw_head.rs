//! The head of a request as it came over the wire, for what hyper doesn't tell.
//!
//! A request with both `Transfer-Encoding` and `Content-Length` is what request smuggling looks like
//! (RFC 9112, section 6.3): two servers in a row that believe different ones see different requests. hyper
//! believes the former, drops the latter and closes the connection. That is safe, but a webhook of that
//! shape passed a proxy that may have read another one, so it is refused.

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
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

    /// Forgets the head, and says whether it had both lengths.
    pub fn take_has_both_lengths(&self, headers: &HeaderMap) -> bool {
        let head = std::mem::take(&mut *self.0.lock().expect("nothing panics under this lock"));
        headers.contains_key(TRANSFER_ENCODING) && has_content_length(&head)
    }
}

/// Whether a line of the head, up to the empty one, is a `Content-Length`.
fn has_content_length(head: &[u8]) -> bool {
    let end = [&b"\r\n\r\n"[..], b"\n\n"].iter().filter_map(|end| memmem::find(head, end)).min();
    let head = &head[..end.unwrap_or(head.len())];
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
            assert!(has_content_length(both.as_bytes()), "{both}");
        }
        let body = format!("POST /?Content-Length:1 HTTP/1.1\r\n{chunked}\r\n4\r\n\nContent-Length: 4\r\n");
        assert!(!has_content_length(body.as_bytes()));
    }

    #[test]
    fn without_transfer_encoding_nothing_is_wrong() {
        let head = RawHead::default();
        head.push(b"POST / HTTP/1.1\r\nContent-", true);
        head.push(b"Length: 5\r\n\r\n", false);
        assert!(!head.take_has_both_lengths(&HeaderMap::new()));
        head.push(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", true);
        let headers = HeaderMap::from_iter([(TRANSFER_ENCODING, http::HeaderValue::from_static("chunked"))]);
        assert!(head.take_has_both_lengths(&headers));
        assert!(!head.take_has_both_lengths(&headers), "it was forgotten");
    }
}
