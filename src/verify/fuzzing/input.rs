//! How bytes become what properties take.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::NOW;
use crate::delivery::Delivery;

/// Bytes that are taken from the front.
#[derive(Clone, Copy)]
pub(super) struct Input<'d>(pub(super) &'d [u8]);

impl<'d> Input<'d> {
    /// The next byte; 0 at the end.
    pub(super) fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    /// As many bytes as the next one says, at most `max`.
    pub(super) fn bytes(&mut self, max: usize) -> &'d [u8] {
        let length = usize::from(self.byte()) % (max + 1);
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The same as text.
    pub(super) fn text(&mut self, max: usize) -> String {
        String::from_utf8_lossy(self.bytes(max)).into_owned()
    }
}

/// A request as lines have it: target, headers, an empty line, the body. What can't be one is left out.
pub(super) fn delivery(input: Input<'_>) -> Delivery {
    let mut rest = input.0;
    let mut line = || {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        line
    };
    let target = line();
    let method = if target.len() % 4 == 3 { Method::GET } else { Method::POST };
    let mut headers = HeaderMap::new();
    loop {
        let line = line();
        let Some(colon) = memchr::memchr(b':', line) else { break };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            let _ = headers.try_append(name, value);
        }
    }
    Delivery {
        method,
        uri: Uri::try_from(target).unwrap_or_default(),
        headers,
        body: Bytes::copy_from_slice(rest),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        id: String::new(),
        received_at: NOW,
    }
}
