//! From a verified delivery to the message: facts of the request, masks, ids.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;
use sluiced_queue::data::is_encoding;
use sluiced_queue::{Data, RequestFacts, RequestHeaders, WebHookQueueContext};
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::verify::{Verified, mask};

/// What of a receiver's configuration shapes its messages.
#[derive(Clone, Debug)]
pub struct MessageOptions {
    /// The receiver's name as configured, in lower case.
    pub receiver: String,
    /// Adds the exact bytes to every message.
    pub raw_body: bool,
    /// Replaces credentials.
    pub mask: bool,
}

/// Builds the message of a verified delivery.
pub fn build(verified: &Verified, options: &MessageOptions) -> WebHookQueueContext {
    let delivery = verified.delivery();
    let masks = if options.mask { verified.masks() } else { &[] };
    let masked = mask(masks, &delivery.headers, delivery.query(), &delivery.body);
    let encoded = is_encoded(&delivery.headers);
    let content_type = content_type(&delivery.headers);
    WebHookQueueContext {
        receiver: options.receiver.clone(),
        id: delivery.id.clone(),
        actions: verified.actions().to_vec(),
        data: Data::classify(content_type.as_deref(), encoded, masked.body),
        raw_body: options.raw_body,
        message_id: message_id(&options.receiver, delivery, verified.delivery_id()),
        delivery_id: verified.delivery_id().map(str::to_owned),
        received_at: delivery.received_at,
        content_type: content_type.map(Cow::into_owned),
        traceparent: traceparent(&delivery.headers),
        masked: masked.masked,
        request: RequestFacts {
            method: delivery.method.as_str().to_owned(),
            path: delivery.uri.path().to_owned(),
            query: masked.query.into_owned(),
            remote_addr: delivery.client.to_string(),
            headers: headers(&masked.headers),
        },
        dedupe_for: None,
    }
}

/// A message's id. With a delivery id it is derived from what makes an event the same one, so that a
/// sender's retry carries the id of its first try and two different events never share one; the body
/// counts because a delivery id is the sender's word, often unsigned. Without one it is new.
fn message_id(receiver: &str, delivery: &Delivery, delivery_id: Option<&str>) -> Uuid {
    let Some(delivery_id) = delivery_id else { return Uuid::now_v7() };
    let mut hash = Context::new(&SHA256);
    for part in [receiver.as_bytes(), delivery.id.as_bytes(), delivery_id.as_bytes(), &delivery.body[..]] {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finish().as_ref()[..16]);
    Uuid::new_v8(bytes)
}

/// Every header and value in order of arrival.
fn headers(map: &HeaderMap) -> RequestHeaders {
    let bytes = map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut headers = RequestHeaders::with_capacity(map.keys_len() + map.len(), bytes);
    for name in map.keys() {
        headers.push_name(name.as_str());
        map.get_all(name).iter().for_each(|value| headers.push_value(&text(value.as_bytes())));
    }
    headers
}

/// UTF-8 as it is, anything else as Latin-1: no byte is lost either way.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
    }
}

fn content_type(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    headers.get(http::header::CONTENT_TYPE).map(|value| text(value.as_bytes()))
}

/// Whether the body is in another coding than its own.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(http::header::CONTENT_ENCODING).iter().any(|value| is_encoding(value.as_bytes()))
}

/// The W3C trace context, if it is well-formed: version 00, and neither id all zeros.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, span, flags] = parts.as_slice() else { return None };
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    let good = *version == "00"
        && hex(trace, 32)
        && nonzero(trace)
        && hex(span, 16)
        && nonzero(span)
        && hex(flags, 2);
    good.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;

    fn delivery(id: &str, body: &'static [u8]) -> Delivery {
        Delivery {
            method: http::Method::POST,
            uri: "/x?a=b".parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body),
            client: Ipv4Addr::LOCALHOST.into(),
            id: id.into(),
            received_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_retry_has_the_same_id_and_another_event_never() {
        let first = message_id("github", &delivery("a", b"x"), Some("d"));
        assert_eq!(first, message_id("github", &delivery("a", b"x"), Some("d")));
        assert_eq!(first.get_version_num(), 8);
        for other in [
            message_id("stripe", &delivery("a", b"x"), Some("d")),
            message_id("github", &delivery("b", b"x"), Some("d")),
            message_id("github", &delivery("a", b"y"), Some("d")),
            message_id("github", &delivery("a", b"x"), Some("e")),
            message_id("github", &delivery("", b"x"), Some("ad")),
            message_id("githuba", &delivery("", b"x"), Some("d")),
        ] {
            assert_ne!(first, other);
        }
        let (one, two) =
            (message_id("x", &delivery("", b""), None), message_id("x", &delivery("", b""), None));
        assert!(one != two && one.get_version_num() == 7);
    }

    #[test]
    fn headers_keep_every_value_and_every_byte() {
        let mut map = HeaderMap::new();
        map.append("x-a", "1".parse().unwrap());
        map.append("x-b", http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
        map.append("x-a", http::HeaderValue::from_bytes("ä".as_bytes()).unwrap());
        let expected = [("x-a", vec!["1", "ä"]), ("x-b", vec!["café"])].into_iter().collect();
        assert_eq!(headers(&map), expected);
    }

    #[test]
    fn trace_context_is_passed_on_only_when_well_formed() {
        let with = |value: &str| {
            let mut map = HeaderMap::new();
            map.insert("traceparent", value.parse().unwrap());
            traceparent(&map)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(with(good).as_deref(), Some(good));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(with(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_content_encoding_other_than_identity_is_one() {
        let with = |value: &str| {
            let mut map = HeaderMap::new();
            map.insert("content-encoding", value.parse().unwrap());
            is_encoded(&map)
        };
        assert!(with("gzip") && with("identity, gzip"));
        assert!(!with("identity") && !with("Identity") && !with(""));
    }
}
