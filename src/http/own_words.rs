//! hyper refuses what it can't parse by itself, with an empty body. Such an answer is held back, so that ours,
//! which says why, can go in its place.

use http::StatusCode;
use memchr::memmem;

/// An answer of hyper's own on its way out.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnRefusal {
    /// Where in the bytes it begins; in front of it is the end of an earlier answer.
    pub at: usize,
    /// Its status.
    pub status: StatusCode,
}

/// Whether the bytes that hyper writes end in a refusal of its own. One of ours may look the same; so it is held
/// back, not thrown away.
pub fn find(bytes: &[u8]) -> Option<OwnRefusal> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let at = memmem::rfind(bytes, b"HTTP/1.1 4")?;
    let mut lines = std::str::from_utf8(&bytes[at..bytes.len() - 4]).ok()?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let own = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let plain =
        |line: &str| matches!(line, "connection: close" | "content-length: 0") || line.starts_with("date: ");
    let lines: Vec<&str> = lines.collect();
    let closes = lines.contains(&"connection: close");
    (own && closes && lines.into_iter().all(plain)).then_some(OwnRefusal { at, status })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\
                       date: Tue, 24 Nov 2026 02:30:53 GMT\r\n\r\n";

    #[test]
    fn it_is_found_at_the_end_and_nothing_else_is() {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        assert_eq!(find(OWN.as_bytes()), Some(OwnRefusal { at: 0, status }));
        let earlier = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(
            find(format!("{earlier}{OWN}").as_bytes()),
            Some(OwnRefusal { at: earlier.len(), status })
        );
        for other in [
            earlier.to_owned(),
            format!("{OWN}x"),
            OWN.replace("431", "404"),
            OWN.replace("connection: close\r\n", ""),
            OWN.replace("date:", "content-type: a/b\r\ndate:"),
            String::new(),
        ] {
            assert_eq!(find(other.as_bytes()), None, "{other}");
        }
    }
}
