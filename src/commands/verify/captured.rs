//! A captured HTTP/1.1 request, read back from text.
//!
//! Captures go through editors and terminals, so the head's lines may end in LF or CRLF. The body's bytes
//! are never changed: a signature covers them. Where it ends is said by, in this order,
//!
//! 1. chunks, if `Transfer-Encoding` says so and they are well-formed: the body is what they hold;
//! 2. `Content-Length`, if it fits what is there, or all of it but one last line end (an editor's);
//! 3. the end of the text: a line end that an editor added there counts as the body's.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use thiserror::Error;

/// A request read back.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What a reader should know of how the body was found.
    pub(super) note: Option<Note>,
}

/// How the text and what it says of its body's length differ.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Note {
    /// As an editor leaves it.
    #[error("the line end after the body is left out, as Content-Length says that it isn't the body's")]
    LineEndLeftOut,
    /// The body was cut, or changed, or is followed by something else.
    #[error("Content-Length says {declared} bytes, and {found} are here: the body was changed or cut")]
    OtherLength {
        /// What the header says.
        declared: u64,
        /// What is there.
        found: u64,
    },
    /// As captures often are that were taken behind an HTTP library.
    #[error("Transfer-Encoding says chunked, and the body isn't: it is taken as it is")]
    NotChunked,
}

/// Why the text is no request.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum CaptureError {
    /// Nothing but line ends.
    #[error("there is no request; give one as in POST /path HTTP/1.1, headers, an empty line, the body")]
    Empty,
    /// The first line isn't a request's.
    #[error("line {line} is no request line; write POST /path HTTP/1.1")]
    RequestLine {
        /// Counted from 1.
        line: usize,
    },
    /// A line of the head that isn't a header.
    #[error("line {line} is no header; write Name: value, and an empty line before the body")]
    Header {
        /// Counted from 1.
        line: usize,
    },
    /// More headers than a map holds.
    #[error("it has too many headers")]
    TooManyHeaders,
}

impl Captured {
    /// Reads a request back.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, CaptureError> {
        let mut lines = Lines { rest: raw, number: 0 };
        let first = loop {
            match lines.next().ok_or(CaptureError::Empty)? {
                [] => {}
                line => break line,
            }
        };
        let (method, target) = request_line(first).ok_or(CaptureError::RequestLine { line: lines.number })?;
        let mut headers = HeaderMap::new();
        while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            let (name, value) = header(line).ok_or(CaptureError::Header { line: lines.number })?;
            headers.try_append(name, value).map_err(|_| CaptureError::TooManyHeaders)?;
        }
        let (body, note) = body(&headers, lines.rest);
        Ok(Self { method, target, headers, body, note })
    }
}

/// Lines without their ends, up to where somebody stops asking.
struct Lines<'t> {
    rest: &'t [u8],
    number: usize,
}

impl<'t> Lines<'t> {
    fn next(&mut self) -> Option<&'t [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = memchr::memchr(b'\n', self.rest);
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn request_line(line: &[u8]) -> Option<(Method, Uri)> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/") || words.next().is_some() {
        return None;
    }
    Some((method.parse().ok()?, target.parse().ok()?))
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = memchr::memchr(b':', line)?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

fn body(headers: &HeaderMap, rest: &[u8]) -> (Bytes, Option<Note>) {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(TRANSFER_ENCODING).is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked")) {
        return match unchunked(rest) {
            Some(body) => (body.into(), None),
            None => (Bytes::copy_from_slice(rest), Some(Note::NotChunked)),
        };
    }
    let whole = Bytes::copy_from_slice(rest);
    let Some(declared) = text(CONTENT_LENGTH).and_then(|length| length.trim().parse::<u64>().ok()) else {
        return (whole, None);
    };
    let (fits, after) = match usize::try_from(declared).ok().and_then(|length| rest.split_at_checked(length))
    {
        Some((body, after)) => (Some(body), after),
        None => (None, rest),
    };
    match (fits, after) {
        (Some(_), b"") => (whole, None),
        (Some(body), b"\n" | b"\r\n") => (Bytes::copy_from_slice(body), Some(Note::LineEndLeftOut)),
        _ => (whole, Some(Note::OtherLength { declared, found: rest.len() as u64 })),
    }
}

/// What chunks hold (RFC 9112, 7.1), whose lines may end in LF here; `None` when they aren't well-formed.
fn unchunked(rest: &[u8]) -> Option<Vec<u8>> {
    let mut lines = Lines { rest, number: 0 };
    let mut body = Vec::new();
    loop {
        let size = lines.next()?.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?.trim(), 16).ok()?;
        if size == 0 {
            break;
        }
        let (chunk, after) = lines.rest.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        lines.rest = after;
        if !lines.next()?.is_empty() {
            return None;
        }
    }
    // Trailers, which nothing here reads, and the line ends of an editor.
    std::iter::from_fn(|| lines.next()).all(|line| line.is_empty() || header(line).is_some()).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> (String, Option<Note>) {
        let captured = Captured::parse(raw.as_bytes()).unwrap();
        (String::from_utf8(captured.body.to_vec()).unwrap(), captured.note)
    }

    fn error(raw: &str) -> CaptureError {
        Captured::parse(raw.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_head_may_have_line_ends_of_either_kind_and_the_body_keeps_its_own() {
        for end in ["\n", "\r\n"] {
            let raw = format!("{end}PUT /in/x?a=%20b HTTP/1.1{end}X-A:  one {end}x-a: two{end}{end}a\r\nb\n");
            let captured = Captured::parse(raw.as_bytes()).unwrap();
            assert_eq!((captured.method, captured.target.to_string()), (Method::PUT, "/in/x?a=%20b".into()));
            let values: Vec<_> = captured.headers.get_all("x-a").iter().collect();
            assert_eq!(values, ["one", "two"]);
            assert_eq!((&captured.body[..], captured.note), (&b"a\r\nb\n"[..], None));
        }
    }

    #[test]
    fn content_length_leaves_out_an_editors_line_end_and_nothing_else() {
        let raw = |length: &str, body: &str| format!("POST / HTTP/1.1\nContent-Length: {length}\n\n{body}");
        assert_eq!(read(&raw("2", "{}")), ("{}".into(), None));
        assert_eq!(read(&raw("3", "{}\n")), ("{}\n".into(), None));
        assert_eq!(read(&raw("2", "{}\n")), ("{}".into(), Some(Note::LineEndLeftOut)));
        assert_eq!(read(&raw("2", "{}\r\n")), ("{}".into(), Some(Note::LineEndLeftOut)));
        for (declared, body) in [(2, "{}\n\n"), (2, "{ }"), (3, "{}"), (u64::MAX, "{}")] {
            let note = Note::OtherLength { declared, found: body.len() as u64 };
            assert_eq!(read(&raw(&declared.to_string(), body)), (body.to_owned(), Some(note)));
        }
        assert_eq!(read(&raw("some", "{}\n")), ("{}\n".into(), None));
        assert_eq!(read("POST / HTTP/1.1\nA: b\n\n{}\n"), ("{}\n".into(), None));
        assert_eq!(read("GET /?a=b HTTP/1.1\nA: b"), (String::new(), None));
    }

    #[test]
    fn chunks_are_put_together_if_they_are_chunks() {
        let raw = |body: &str| format!("POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n{body}");
        for chunks in
            ["4\r\n{\"a\"\r\nA;x=y\r\n: \"\r\n\r\n1\"}\r\n0\r\n\r\n", "3\n{\"a\n3\n\": \n3\n1\"}\n0"]
        {
            let (body, note) = read(&raw(chunks));
            assert_eq!((&body[..4], note), ("{\"a\"", None), "{chunks:?}");
        }
        assert_eq!(read(&raw("2\n{}\n0\nTrailer: x\n\n\n")), ("{}".into(), None));
        for not in
            ["{}", "", "2\n{}", "2\n{}\n", "3\n{}\n0\n", "2\n{} \n0\n", "2\n{}\n0\nx", "ffffffffffffffff\n"]
        {
            assert_eq!(read(&raw(not)), (not.to_owned(), Some(Note::NotChunked)), "{not:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_named_by_its_line() {
        assert_eq!(error(""), CaptureError::Empty);
        assert_eq!(error("\r\n\n"), CaptureError::Empty);
        for line in
            ["{}", "POST /", "POST / HTTP/1.1 x", "PO ST / HTTP/1.1", "HTTP/1.1 200 OK", "POST  HTTP/1.1"]
        {
            assert_eq!(error(&format!("\n{line}\n")), CaptureError::RequestLine { line: 2 }, "{line}");
        }
        for line in ["{}", ": x", " folded: x", "a b: c", "A: \u{1}"] {
            assert_eq!(error(&format!("GET / HTTP/1.1\r\nA: b\r\n{line}")), CaptureError::Header { line: 3 });
        }
        let many: String = (0..40_000).map(|number| format!("A{number}: b\n")).collect();
        let error = Captured::parse(format!("GET / HTTP/1.1\n{many}").as_bytes()).err();
        assert_eq!(error, Some(CaptureError::TooManyHeaders));
    }
}
