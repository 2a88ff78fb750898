use sluiced_queue::{Data, RequestFacts};

use super::*;

/// A webhook as others come.
pub(crate) fn sample() -> WebHookQueueContext {
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::Json(r#"{"n": 1.0}"#.into()),
        raw_body: false,
        message_id: uuid::Uuid::from_u128(7),
        delivery_id: Some("d-1".into()),
        received_at: "2026-11-24T02:30:53.123456Z".parse().unwrap(),
        content_type: Some("application/json".into()),
        traceparent: None,
        masked: Vec::new(),
        request: RequestFacts { method: "POST".into(), path: "/x".into(), ..RequestFacts::default() },
        dedupe_for: None,
    }
}

#[test]
fn every_message_is_persistent_and_has_its_id() {
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let message = Message::encode(&sample(), format, bounds::FRAME_BYTES);
        assert_eq!(message.properties.delivery_mode(), &Some(2));
        let id = message.properties.message_id().as_ref().unwrap();
        assert_eq!(id.as_str(), sample().message_id.to_string());
    }
}

#[test]
fn headers_that_fill_a_frame_go_into_the_body() {
    let mut context = sample();
    context.request.headers = [("x", vec!["\"".repeat(80_000)])].into_iter().collect();
    for format in [Format::CloudEvents, Format::Raw] {
        let message = Message::encode(&context, format, bounds::FRAME_BYTES);
        assert!(message.encoded.headers.is_empty());
        let back = WebHookQueueContext::decode_message(&message.encoded.payload, &[]).unwrap();
        assert_eq!(back.request, context.request);
        let roomy = Message::encode(&context, format, 0);
        assert!(!roomy.encoded.headers.is_empty(), "without a limit they stay headers");
    }
}

#[test]
fn a_content_type_that_amqp_cannot_carry_stays_in_the_context() {
    let mut context = sample();
    context.content_type = Some(format!("text/{}", "x".repeat(400)));
    let message = Message::encode(&context, Format::Raw, bounds::FRAME_BYTES);
    assert_eq!(message.properties.content_type(), &None);
    let back =
        WebHookQueueContext::decode_message(&message.encoded.payload, &message.encoded.headers).unwrap();
    assert_eq!(back.content_type, context.content_type);
}

#[test]
fn short_strings_are_cut_between_characters() {
    assert_eq!(short(&"é".repeat(200)).as_str().len(), 254);
    assert_eq!(short("plain").as_str(), "plain");
}
