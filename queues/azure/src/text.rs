//! The text of a message: base64 of its bytes, which is what Azure Functions and most consumers expect, and which
//! needs no escaping in XML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

const OPEN: &str = "<QueueMessage><MessageText>";
const CLOSE: &str = "</MessageText></QueueMessage>";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_bytes_the_body_is_xml_with_base64_in_it() {
        for message in [&b"{\"data\":\"<&>]]>\"}"[..], &[0, 255, 0x1b, b'\r', b'\n'], b"", b"a"] {
            let body = request_body(message);
            let text = std::str::from_utf8(&body).unwrap();
            let inner = text.strip_prefix(OPEN).and_then(|t| t.strip_suffix(CLOSE)).unwrap();
            assert_eq!(BASE64.decode(inner).unwrap(), message);
            assert!(inner.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)), "{inner}");
        }
    }
}
