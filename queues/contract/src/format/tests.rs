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
        }
    }
}
