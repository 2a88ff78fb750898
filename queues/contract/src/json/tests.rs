use proptest::prelude::*;

use super::*;
use crate::format::print_line;

pub(crate) fn context(content_type: Option<&str>, body: &[u8]) -> WebHookQueueContext {
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::classify(content_type, false, Bytes::copy_from_slice(body)),
        raw_body: false,
        message_id: "0193d3f2-7c61-7b3a-9d0e-1f2a3b4c5d6e".parse().unwrap(),
        delivery_id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".into()),
        received_at: "2026-11-24T02:30:53.123456Z".parse().unwrap(),
        content_type: content_type.map(Into::into),
        traceparent: None,
        masked: vec![],
        request: RequestFacts {
            method: "POST".into(),
            path: "/api/webhooks/incoming/github/acme".into(),
            query: String::new(),
            remote_addr: "203.0.113.7".into(),
            headers: [("x-github-event", vec!["push"]), ("accept", vec!["a", "b\"\u{ff}"])]
                .into_iter()
                .collect(),
        },
        dedupe_for: None,
    }
}

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../schema/webhook-queue-context.v1.schema.json");
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

/// Encodes, checks against the schema, decodes, and hands back the text.
fn round_trip(context: &WebHookQueueContext) -> String {
    let message = context.encode();
    let value = serde_json::from_slice(&message).unwrap();
    let errors: Vec<_> = schema().iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(&WebHookQueueContext::decode(&message).unwrap(), context);
    String::from_utf8(message.to_vec()).unwrap()
}

#[test]
fn json_body() {
    insta::assert_snapshot!(round_trip(&context(
        Some("application/json"),
        b"{ \"n\": 1.0e+2,\r\n \"n\":2}\n"
    )));
}

#[test]
fn form_body() {
    insta::assert_snapshot!(round_trip(&context(
        Some("application/x-www-form-urlencoded"),
        b"payload=%7B%7D&a=1&a=2"
    )));
}

#[test]
fn text_body() {
    insta::assert_snapshot!(round_trip(&context(
        Some("text/xml; charset=utf-8"),
        "<a>\u{e4}\n</a>".as_bytes()
    )));
}

#[test]
fn binary_body() {
    insta::assert_snapshot!(round_trip(&context(Some("application/octet-stream"), b"\x00\xff")));
}

#[test]
fn empty_body_and_unknown_values() {
    let mut context = context(None, b"");
    context.id.clear();
    context.actions.clear();
    context.delivery_id = None;
    insta::assert_snapshot!(round_trip(&context));
}

#[test]
fn raw_body_adds_the_bytes_to_every_kind() {
    for (content_type, body) in [
        ("application/json", &b"{}"[..]),
        ("text/plain", b"x"),
        ("application/x-www-form-urlencoded", b"a=1"),
    ] {
        let mut context = context(Some(content_type), body);
        context.raw_body = true;
        let text = round_trip(&context);
        assert!(text.ends_with(&format!(",\"bodyBase64\":\"{}\"}}", BASE64.encode(body))), "{text}");
    }
}

#[test]
fn a_newer_version_is_refused() {
    let text = String::from_utf8(context(None, b"").encode().to_vec()).unwrap();
    let newer = text.replace("\"version\":1", "\"version\":2");
    assert_eq!(WebHookQueueContext::decode(newer.as_bytes()), Err(DecodeError::Version(2)));
}

#[test]
fn unknown_keys_are_ignored() {
    let text = String::from_utf8(context(None, b"").encode().to_vec()).unwrap();
    let more = text.replace("\"version\":1", "\"new\":{\"a\":[]},\"version\":1");
    assert!(WebHookQueueContext::decode(more.as_bytes()).is_ok());
}

#[test]
fn a_printed_line_is_one_line_with_the_exact_bytes() {
    let body = b"\r\n{\r\n \"a\": \"x\\ny\"\n}\n";
    let line = print_line(&context(Some("application/json"), body).encode(), &[]).unwrap();
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["data"]["a"], "x\ny");
    assert_eq!(BASE64.decode(value["bodyBase64"].as_str().unwrap()).unwrap(), body);
}

proptest! {
    #[test]
    fn any_body_of_any_type_comes_back_byte_for_byte(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[ \\n\\r\\t]{0,3}(\\{\"a\": ?[0-9]{1,3}\\}|\\[\\]|\"[a-z\u{e4}]*\"|null|true)[ \\n]{0,3}".prop_map(String::into_bytes),
            "[a-z%+&=0-9\u{fc}]{0,40}".prop_map(String::into_bytes),
        ],
        content_type in prop_oneof![
            Just(None), Just(Some("")), Just(Some("application/json")), Just(Some("text/plain")),
            Just(Some("application/x-www-form-urlencoded")), Just(Some("image/png")),
        ],
        raw_body: bool,
    ) {
        let mut context = context(content_type, &body);
        context.raw_body = raw_body && !matches!(context.data, Data::Bytes(_));
        let message = context.encode();
        let back = WebHookQueueContext::decode(&message).unwrap();
        prop_assert_eq!(back.data.bytes(), &body[..]);
        prop_assert_eq!(&back, &context);
        let line = print_line(&message, &[]).unwrap();
        prop_assert!(!line.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(BASE64.decode(value["bodyBase64"].as_str().unwrap()).unwrap(), body);
    }
}
