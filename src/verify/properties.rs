//! Properties: whatever a stranger sends, nothing panics, and only the signed request is accepted.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;

use super::form;
use super::grammar::Grammar;
use super::settings::Scope;
use super::source::Source;
use super::template::{Context, Template};
use super::tests::{post, settings};
use super::verifier::Verifier;
use super::view::View;
use super::{Admission, Mask, PublicUrl, mask};
use crate::catalog::{self, Row};
use crate::delivery::Delivery;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn row(name: &str) -> &'static Row {
    catalog::find(name).unwrap()
}

fn grammar() -> impl Strategy<Value = Grammar> {
    let separator = prop::sample::select(vec![",", " ", ";", ", "]).prop_map(str::to_owned);
    prop_oneof![
        ("[a-z0-9=]{0,4}", any::<bool>()).prop_map(|(prefix, optional)| Grammar::Raw { prefix, optional }),
        (separator.clone(), "[a-z0-9]{1,2}").prop_map(|(separator, key)| Grammar::Pairs {
            separator,
            assign: "=".to_owned(),
            keys: vec![key],
            quoted: false
        }),
        (separator.clone(), "[a-z0-9]{1,2}[,=]")
            .prop_map(|(separator, item_prefix)| Grammar::List { separator, item_prefix }),
        separator.prop_map(|separator| Grammar::TimestampFirst { separator }),
    ]
    .prop_filter("such a grammar doesn't compile", |grammar| grammar.check().is_ok())
}

/// Headers and bodies of rows, so that strangers' requests come close to real ones.
fn strangers_request() -> impl Strategy<Value = Delivery> {
    let names = vec![
        "x-hub-signature-256",
        "stripe-signature",
        "x-slack-signature",
        "x-slack-request-timestamp",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "authorization",
        "content-type",
        "x-twilio-signature",
        "messagebird-signature-jwt",
        "x-contentful-signature",
        "x-contentful-signed-headers",
        "x-contentful-timestamp",
        "recurly-signature",
    ];
    let value = prop_oneof![
        "[ -~]{0,80}",
        "(sha256=|v0=|v1,|t=1,v1=|1,)?[0-9a-f]{64}",
        "[0-9]{1,20}",
        "multipart/form-data; boundary=[a-z-]{0,3}",
        "eyJhbGciOiJIUzI1NiJ9\\.[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{43}",
    ];
    let headers = prop::collection::vec((prop::sample::select(names), value), 0..6);
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "\\{\"[a-z]{1,4}\":(\"[ -~]{0,9}\"|[0-9.eE+-]{1,9}|\\[\\{\\}\\])\\}".prop_map(String::into_bytes),
        "([a-z]{1,3}(=[ -~]{0,9})?&){0,5}".prop_map(String::into_bytes),
        "(--[a-z-]{0,3}\r\ncontent-disposition: form-data; name=\"[a-z]{0,2}\"\r\n\r\n[a-z]{0,3}\r\n){0,3}"
            .prop_map(String::into_bytes),
    ];
    let query = "(\\?([a-zA-Z0-9%=&+._-]{0,40}))?";
    (headers, body, query).prop_map(|(headers, body, query)| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
        }
        let uri = format!("/in/x{query}").parse().unwrap();
        Delivery { uri, body: Bytes::from(body), ..post(map, "") }
    })
}

fn verifiers() -> Vec<Verifier> {
    let mut verifiers = Vec::new();
    for row in catalog::rows() {
        let mut settings = settings("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        settings.public_url = Some(PublicUrl::base("https://h.example").unwrap());
        for (name, _) in row.settings.iter().filter(|(_, setting)| setting.required) {
            settings.settings.insert(name.clone(), "value".into());
        }
        // Rows with public or hex keys want others; their grammars are the same.
        verifiers.extend(Verifier::compile(row, &settings));
    }
    assert!(verifiers.len() > 20);
    verifiers
}

proptest! {
    #[test]
    fn grammars_never_panic(grammar in grammar(), value: Vec<u8>, key in "[a-z]{0,2}") {
        let mut found = Vec::new();
        let _ = grammar.candidates(&value, &mut found);
        prop_assert!(found.iter().all(|candidate| !candidate.is_empty()));
        let _ = grammar.timestamp(&value, &key);
    }

    #[test]
    fn grammars_read_what_they_write(grammar in grammar(), signature in "[A-F]{4,9}", time in "[0-9]{1,5}") {
        let value = grammar.write(&signature, Some(("T", &time)));
        let mut found = Vec::new();
        grammar.candidates(value.as_bytes(), &mut found).unwrap();
        prop_assert_eq!(found, vec![signature.as_bytes()]);
        if let Grammar::Pairs { .. } | Grammar::TimestampFirst { .. } = grammar {
            prop_assert_eq!(grammar.timestamp(value.as_bytes(), "T").unwrap(), Some(time.as_bytes()));
        }
    }

    #[test]
    fn templates_and_sources_never_panic(
        text in "([ -z]|\\{|\\}|\\{body|\\{\\(|\\)\\||\\|hex\\}|json:/|header:|sorted:){0,8}",
        delivery in strangers_request(),
    ) {
        let given = BTreeMap::new();
        let scope = Scope::new(row("github"), &given).unwrap();
        let view = View::new(&delivery, None);
        if let Ok(template) = Template::parse(&text, &scope) {
            let _ = template.bytes(&Context::of(&view));
        }
        if let Ok(source) = Source::parse(&text) {
            let _ = (source.one(&view), source.names(&view), source.candidates(&view));
        }
        let _ = scope.expand(&text);
        let _ = form::sorted(&view);
    }

    #[test]
    fn literal_templates_are_their_text(text in "[ -z|~\n]{0,20}") {
        let given = BTreeMap::new();
        let scope = Scope::new(row("github"), &given).unwrap();
        let delivery = post(HeaderMap::new(), "");
        let template = Template::parse(&text, &scope).unwrap();
        prop_assert_eq!(template.bytes(&Context::of(&View::new(&delivery, None))).unwrap(), text.into_bytes());
    }

    #[test]
    fn masking_keeps_every_other_byte(body in "([a-c]{1,2}=[a-z%]{0,4}&?){0,5}") {
        let headers = HeaderMap::new();
        let masked = mask(&[Mask::parse("form:a").unwrap()], &headers, "", &Bytes::from(body.clone()));
        let masked = std::str::from_utf8(&masked.body).unwrap();
        for (old, new) in body.split('&').zip(masked.split('&')) {
            let expected = if old.starts_with("a=") { "a=***" } else { old };
            prop_assert_eq!(new, expected);
        }
    }

    #[test]
    fn only_the_signed_request_is_accepted(body: Vec<u8>, at: prop::sample::Index, flip in 1..=255_u8) {
        let verifier = Verifier::compile(row("generic-hmac"), &settings("a secret of some length")).unwrap();
        let request = verifier.sign(None, Some(body.clone().into()), "https://h.example/x", NOW, "d").unwrap();
        let delivery = |body: Vec<u8>| Delivery { body: body.into(), ..post(request.headers.clone(), "") };
        prop_assert!(matches!(verifier.admit(delivery(body.clone()), NOW), Admission::Event(_)));
        let mut changed = body.clone();
        match body.len() {
            0 => changed.push(flip),
            length => changed[at.index(length)] ^= flip,
        }
        prop_assert!(matches!(verifier.admit(delivery(changed), NOW), Admission::Refused(_)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No row accepts what it didn't sign, and none panics.
    #[test]
    fn strangers_are_refused(deliveries in prop::collection::vec(strangers_request(), 8)) {
        for verifier in verifiers() {
            for delivery in &deliveries {
                let admission = verifier.admit(delivery.clone(), NOW);
                let is_event = matches!(admission, Admission::Event(_));
                prop_assert!(!is_event, "{}: {admission:?}", verifier.provider());
            }
        }
    }
}
