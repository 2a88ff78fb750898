use proptest::prelude::*;

use super::*;
use crate::json::tests::context;

const FORMATS: [Format; 3] = [Format::Context, Format::CloudEvents, Format::Raw];

#[test]
fn cloud_event() {
    let event = context(Some("application/json"), b"{ \"a\": 1 }\n").encode_as(Format::CloudEvents);
    insta::assert_snapshot!(String::from_utf8(event.payload.to_vec()).unwrap());
}

#[test]
fn a_raw_message_is_the_body_alone_and_its_headers_tell_the_rest() {
    let mut context = context(Some("text/plain"), b"\xffx");
    context.actions = vec!["push\r\nsluiced-id: forged".into()];
    let raw = context.encode_as(Format::Raw);
    assert_eq!(raw.payload, &b"\xffx"[..]);
    assert_eq!(raw.content_type.as_deref(), Some("text/plain"));
    let names: Vec<_> = raw.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "sluiced-receiver",
            "sluiced-id",
            "sluiced-actions",
            "sluiced-message-id",
            "sluiced-delivery-id",
            CONTEXT_HEADER
        ]
    );
    assert!(
        raw.headers.iter().all(|(_, value)| !value.contains(char::is_control)),
        "no header is broken in two"
    );
}

/// A sender that puts a control character wherever it can.
fn hostile() -> WebHookQueueContext {
    let mut context = context(Some("application/json"), b"{\"a\":1}");
    context.actions = vec!["push\r\nce-id: forged\u{85}\u{7f}".into()];
    context.id = "a b\"%\u{e9}\u{9b}\n".into();
    context.delivery_id = Some("\u{7f}\t1".into());
    context.request.query = "q=\u{85}\u{7f}".into();
    context.request.headers.extend([("x-odd", vec!["\u{9f}\u{2028}\u{e9}"])]);
    context
}

#[test]
fn a_binary_cloud_event_is_the_body_alone_and_headers_of_the_binding() {
    let context = hostile();
    let event = context.encode_for_headers(Format::CloudEvents, NATS_PREFIX);
    assert_eq!(event.payload, &b"{\"a\":1}"[..]);
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    let value = |name: &str| event.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(value("ce-specversion"), Some("1.0"));
    assert_eq!(value("ce-id"), Some(context.message_id.to_string().as_str()));
    assert_eq!(value("ce-type"), Some("github.push%0D%0Ace-id:%20forged%C2%85%7F"));
    assert_eq!(value("ce-subject"), Some("a%20b%22%25%C3%A9%C2%9B%0A"));
    assert_eq!(value("ce-datacontenttype"), Some("application/json"));
    assert!(value("ce-source").is_some_and(|source| source.starts_with("/sluiced/github/")));
    assert!(value("ce-time").is_some_and(|time| time.ends_with('Z')));

    let event = context.encode_for_headers(Format::CloudEvents, "cloudEvents:");
    let value = |name: &str| event.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(value("cloudEvents:subject"), Some("a b\"%\u{e9}  "));
    assert_eq!(value("cloudEvents:datacontenttype"), None, "the content type is the message's property");
}

#[test]
fn no_header_has_a_control_character_and_all_give_the_whole_context_back() {
    let context = hostile();
    for format in FORMATS {
        for prefix in [NATS_PREFIX, "cloudEvents:"] {
            let encoded = context.encode_for_headers(format, prefix);
            for (name, value) in &encoded.headers {
                assert!(!value.contains(char::is_control), "{format:?} {name} {value:?}");
            }
            let back = WebHookQueueContext::decode_message(&encoded.payload, &encoded.headers).unwrap();
            assert_eq!(back, context, "{format:?} {prefix}");
        }
    }
}

#[test]
fn an_attribute_without_a_value_is_left_out() {
    let mut context = context(None, b"");
    context.id = String::new();
    context.delivery_id = Some(String::new());
    let event = context.encode_for_headers(Format::CloudEvents, NATS_PREFIX);
    let names: Vec<_> = event.headers.iter().map(|(name, _)| name.as_str()).collect();
    for absent in ["ce-subject", "ce-datacontenttype", "ce-sluiceddeliveryid"] {
        assert!(!names.contains(&absent), "{names:?}");
    }
    assert!(event.headers.iter().all(|(_, value)| !value.is_empty()));
}

#[test]
fn a_line_is_one_message_in_every_form() {
    let context = context(Some("application/json"), b"{\r\n}\n");
    for format in FORMATS {
        let encoded = context.encode_as(format);
        let line = print_line(&encoded.payload, &encoded.headers).unwrap();
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "{format:?}");
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value.get("specversion").is_some(), format == Format::CloudEvents);
        assert_eq!(value.get("bodyBase64").is_some(), format != Format::CloudEvents);
    }
}

proptest! {
    #[test]
    fn every_form_gives_the_whole_context_back(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            "[ \\n]{0,2}(\\{\"a\": ?[0-9]{1,3}\\}|\\[\\]|\"[a-z]*\"|null)[ \\n]{0,2}".prop_map(String::into_bytes),
        ],
        content_type in prop_oneof![
            Just(None), Just(Some("application/json")), Just(Some("text/plain")),
            Just(Some("application/x-www-form-urlencoded")), Just(Some("image/png")),
        ],
    ) {
        let context = context(content_type, &body);
        for format in FORMATS {
            let encoded = context.encode_as(format);
            let back = WebHookQueueContext::decode_message(&encoded.payload, &encoded.headers).unwrap();
            prop_assert_eq!(&back, &context, "{:?}", format);
            let encoded = context.encode_for_headers(format, NATS_PREFIX);
            let back = WebHookQueueContext::decode_message(&encoded.payload, &encoded.headers).unwrap();
            prop_assert_eq!(&back, &context, "{:?} with headers", format);
        }
    }
}
