//! Where a request's body ends on an HTTP/1 connection (RFC 9112, section 6), so that the next head is known to
//! begin there. hyper reads bodies by itself, and refuses what is malformed; what it takes is followed here.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    #[default]
    Ended,
    /// So many bytes.
    Length(u64),
    /// The line with a chunk's size: the size so far, and whether its digits have ended.
    Size(u64, bool),
    /// So many bytes of a chunk's data, and the line end behind them.
    Data(u64),
    /// The trailers: how much of CR LF CR LF was seen, of which the first half ends the line before.
    Trailers(u8),
}

impl Framing {
    /// Of a request that hyper took.
    pub fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Self::Size(0, false);
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        match length {
            None | Some(0) => Self::Ended,
            Some(length) => Self::Length(length),
        }
    }

    /// What stands behind the body, or follows it.
    pub fn skip<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        while *self != Self::Ended && !bytes.is_empty() {
            bytes = match self {
                Self::Length(left) | Self::Data(left) => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= skipped as u64;
                    if *left == 0 {
                        *self =
                            if matches!(self, Self::Data(_)) { Self::Size(0, false) } else { Self::Ended };
                    }
                    &bytes[skipped..]
                }
                Self::Size(..) | Self::Trailers(_) => {
                    self.step(bytes[0]);
                    &bytes[1..]
                }
                Self::Ended => bytes,
            };
        }
        bytes
    }

    fn step(&mut self, byte: u8) {
        *self = match (*self, byte) {
            // A chunk of no length is the last one.
            (Self::Size(0, _), b'\n') => Self::Trailers(2),
            (Self::Size(size, _), b'\n') => Self::Data(size.saturating_add(2)),
            (Self::Size(size, false), byte) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into()), false),
                None => Self::Size(size, true),
            },
            (Self::Trailers(3), b'\n') => Self::Ended,
            (Self::Trailers(1), b'\n') => Self::Trailers(2),
            (Self::Trailers(2), b'\r') => Self::Trailers(3),
            (Self::Trailers(_), b'\r') => Self::Trailers(1),
            (Self::Trailers(_), _) => Self::Trailers(0),
            (other, _) => other,
        };
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// However the bytes are cut, what follows the body is the same.
    fn left(framing: Framing, bytes: &str) -> (Framing, String) {
        let mut ends: Vec<(Framing, Vec<u8>)> = Vec::new();
        for size in 1..=bytes.len() {
            let mut framing = framing;
            let rest: Vec<u8> =
                bytes.as_bytes().chunks(size).flat_map(|piece| framing.skip(piece)).copied().collect();
            ends.push((framing, rest));
        }
        ends.dedup();
        assert_eq!(ends.len(), 1, "{bytes:?}");
        let (framing, rest) = ends.remove(0);
        (framing, String::from_utf8(rest).unwrap())
    }

    #[test]
    fn a_body_of_a_length_ends_after_it() {
        assert_eq!(left(Framing::Length(5), "12345POST /"), (Framing::Ended, "POST /".into()));
        assert_eq!(left(Framing::Length(5), "123"), (Framing::Length(2), String::new()));
        assert_eq!(left(Framing::Ended, "POST /"), (Framing::Ended, "POST /".into()));
    }

    #[test]
    fn chunks_end_with_the_empty_line_behind_the_last() {
        let chunks = Framing::Size(0, false);
        for body in [
            "0\r\n\r\n",
            "2\r\n{}\r\n0\r\n\r\n",
            "a\r\n0\r\n\r\nPOST\r\n\r\n00\r\n\r\n",
            "2;a=b\r\n{}\r\n1F ;0\r\n0123456789012345678901234567890\r\n0;f=1\r\nA: b\r\nC: d\r\n\r\n",
            "0\r\nA: b\nc\n\r\n\r\n",
        ] {
            assert_eq!(left(chunks, &format!("{body}POST /")), (Framing::Ended, "POST /".into()), "{body:?}");
        }
        assert_ne!(left(chunks, "2\r\n{}\r\n0\r\n").0, Framing::Ended);
    }

    #[test]
    fn a_request_without_length_has_no_body() {
        let of = |name, value| Framing::of(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]));
        assert_eq!(Framing::of(&HeaderMap::new()), Framing::Ended);
        assert_eq!(of(CONTENT_LENGTH, "0"), Framing::Ended);
        assert_eq!(of(CONTENT_LENGTH, "12"), Framing::Length(12));
        assert_eq!(of(TRANSFER_ENCODING, "chunked"), Framing::Size(0, false));
    }
}
