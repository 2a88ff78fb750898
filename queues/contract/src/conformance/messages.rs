//! Messages whose bytes all follow from what they are, so that whoever reads one can judge it.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::context::{RequestFacts, WebHookQueueContext};
use crate::data::Data;

/// A message of its own, with a body of about 200 bytes that follows from its id.
pub(super) fn message() -> WebHookQueueContext {
    of_id(Uuid::now_v7())
}

/// The message with this id.
pub(super) fn of_id(id: Uuid) -> WebHookQueueContext {
    let body = format!("{{ \"id\": \"{id}\",\n  \"filler\": \"{}\" }}\n", "äx".repeat(50));
    with_body(id, Some("application/json"), body.into())
}

/// A message whose JSON form has exactly so many bytes.
pub(super) fn of_length(bytes: usize) -> WebHookQueueContext {
    let mut message = with_body(Uuid::now_v7(), Some("text/plain"), Bytes::from_static(b"x"));
    let rest = bytes.checked_sub(message.encode().len()).expect("longer than an empty message");
    message.data = Data::Text("x".repeat(rest + 1));
    assert_eq!(message.encode().len(), bytes);
    message
}

/// A message with this body, classified as the daemon does it.
pub(super) fn with_body(id: Uuid, content_type: Option<&str>, body: Bytes) -> WebHookQueueContext {
    let mut headers = vec![
        ("host".to_owned(), vec!["hooks.example.com".to_owned()]),
        ("x-forwarded-for".to_owned(), vec!["203.0.113.7".to_owned(), "198.51.100.2".to_owned()]),
        ("x-odd".to_owned(), vec!["a,b; \"c\" \u{e9}\t:".to_owned(), String::new()]),
    ];
    headers.extend(content_type.map(|text| ("content-type".to_owned(), vec![text.to_owned()])));
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme corp/1".into(),
        actions: vec!["push".into(), "ping".into()],
        data: Data::classify(content_type, false, body),
        raw_body: false,
        message_id: id,
        delivery_id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".into()),
        received_at: Timestamp::from_microsecond(1_795_487_453_123_456).expect("in range"),
        content_type: content_type.map(str::to_owned),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        masked: vec!["header:authorization".into()],
        request: RequestFacts {
            method: "POST".into(),
            path: "/api/webhooks/incoming/github/acme%20corp%2F1".into(),
            query: "a=1&b=%C3%A9".into(),
            remote_addr: "203.0.113.7".into(),
            headers: headers.into_iter().collect(),
        },
        dedupe_for: None,
    }
}

/// Bodies of every kind, each with its content type.
pub(super) fn bodies() -> Vec<(Option<&'static str>, Bytes)> {
    let every_byte: Vec<u8> = (0..=255).collect();
    vec![
        (
            Some("application/json"),
            Bytes::from_static(b"{\"n\": 1.0e+2 ,\r\n \"n\":[12345678901234567890], \"s\":\"\\u00e9\\/\"}\n"),
        ),
        (Some("application/json; charset=utf-8"), Bytes::from_static(b" 7 ")),
        (Some("application/json"), Bytes::from_static(b"{not json")),
        (Some("application/x-www-form-urlencoded"), Bytes::from_static(b"a=1&b=%C3%A9+x&a=2&=&c")),
        (Some("text/plain"), Bytes::from_static("h\u{e9}llo\r\n\u{1F600}\u{0}\u{7f}".as_bytes())),
        (Some("application/xml"), Bytes::from_static(b"<?xml version=\"1.0\"?>\n<a b='1'>&amp;</a>")),
        (Some("application/octet-stream"), Bytes::from(every_byte)),
        (Some("application/octet-stream"), Bytes::from_static(b"\0")),
        (None, Bytes::from_static(b"x")),
        (None, Bytes::new()),
        (Some("text/plain"), Bytes::from("0123456789abcdef".repeat(1500))),
    ]
}
