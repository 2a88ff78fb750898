//! The text of a message: base64 of its bytes, which is what Azure Functions and most consumers expect, and which
//! needs no escaping in XML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

const OPEN: &str = "<QueueMessage><MessageText>";
const CLOSE: &str = "</MessageText></QueueMessage>";

/// What stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The message as encoded.
    pub(crate) message: Bytes,
    /// Whether it stands there as it is: somebody else put it there. All that is ours is in base64.
    pub(crate) plain: bool,
}

impl Text {
    pub(crate) fn read(text: String) -> Self {
        match BASE64.decode(text.as_bytes()) {
            Ok(message) => Self { message: message.into(), plain: false },
            Err(_) => Self { message: text.into_bytes().into(), plain: true },
        }
    }

    /// The body of the request that sends it.
    pub(crate) fn request_body(&self) -> Bytes {
        if self.plain { plain_request_body(&self.message) } else { request_body(&self.message) }
    }
}

/// The body of the request that sends a message, in one buffer, so that repeating it copies nothing.
pub(crate) fn request_body(message: &[u8]) -> Bytes {
    let text_bytes = base64::encoded_len(message.len(), true).expect("a message is far below usize::MAX / 4");
    let mut body = Vec::with_capacity(OPEN.len() + text_bytes + CLOSE.len());
    body.extend_from_slice(OPEN.as_bytes());
    body.resize(OPEN.len() + text_bytes, 0);
    BASE64.encode_slice(message, &mut body[OPEN.len()..]).expect("the slice has the encoded length");
    body.extend_from_slice(CLOSE.as_bytes());
    body.into()
}

/// The same for a text that isn't in base64.
fn plain_request_body(text: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(OPEN.len() + text.len() + text.len() / 8 + CLOSE.len());
    body.extend_from_slice(OPEN.as_bytes());
    for &byte in text {
        match byte {
            b'&' => body.extend_from_slice(b"&amp;"),
            b'<' => body.extend_from_slice(b"&lt;"),
            b'>' => body.extend_from_slice(b"&gt;"),
            // A reader of XML would make a line feed of it.
            b'\r' => body.extend_from_slice(b"&#13;"),
            other => body.push(other),
        }
    }
    body.extend_from_slice(CLOSE.as_bytes());
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_bytes_the_body_is_xml_with_base64_in_it() {
        for message in [&b"{\"data\":\"<&>]]>\"}"[..], &[0, 255, 0x1b, b'\r', b'\n'], b"", b"a"] {
            let body = request_body(message);
            let text = std::str::from_utf8(&body).unwrap();
            let inner = text.strip_prefix(OPEN).and_then(|t| t.strip_suffix(CLOSE)).unwrap();
            let read = Text::read(inner.to_owned());
            assert_eq!(read, Text { message: Bytes::copy_from_slice(message), plain: false });
            assert_eq!(read.request_body(), body);
            assert!(inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)), "{inner}");
        }
    }

    #[test]
    fn somebody_elses_text_stays_what_it_is() {
        let text = Text::read("{\"a\":\"<&>\"}\r\n".into());
        assert_eq!(text, Text { message: Bytes::from_static(b"{\"a\":\"<&>\"}\r\n"), plain: true });
        let body = text.request_body();
        assert_eq!(&body[OPEN.len()..body.len() - CLOSE.len()], b"{\"a\":\"&lt;&amp;&gt;\"}&#13;\n");
    }
}
