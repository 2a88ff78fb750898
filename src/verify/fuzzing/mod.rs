//! Properties that hold whatever bytes come: the fuzz targets in `fuzz/` run them, and so do ordinary tests with
//! random bytes. Each function panics where its property doesn't hold.

mod input;
mod sealed;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use sluiced_queue::{Format, WebHookQueueContext};

use super::encoding::Encoding;
use super::form;
use super::grammar::{CANDIDATES_MAX, Grammar};
use super::json::{Document, Pointer};
use super::settings::{ReceiverSettings, Scope};
use super::source::Source;
use super::template::{Context, Template};
use super::verifier::Verifier;
use super::view::View;
use super::{Admission, Mask, OutgoingRequest, PublicUrl, mask};
use crate::catalog::{self, Row, Setting};
use crate::delivery::Delivery;
use crate::message::{self, MessageOptions};
use input::{Input, delivery};
pub use sealed::{aes, certificate, jws, xml};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ANOTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
const HTTPS: &str = "https://hooks.example.com/in/x";

/// Candidates of a signature's value are parts of it, never empty, and bounded in number.
pub fn grammar(data: &[u8]) {
    let mut input = Input(data);
    let (kind, separator, word) = (input.byte(), input.text(3), input.text(8));
    let grammar = match kind % 4 {
        0 => Grammar::Raw { prefix: word, optional: kind > 127 },
        1 => Grammar::Pairs { separator, assign: input.text(2), keys: vec![word], quoted: kind > 127 },
        2 => Grammar::List { separator, item_prefix: word },
        _ => Grammar::TimestampFirst { separator },
    };
    if grammar.check().is_err() {
        return;
    }
    let value = input.0;
    let mut found = Vec::new();
    let _ = grammar.candidates(value, &mut found);
    assert!(found.len() <= CANDIDATES_MAX);
    let within = value.as_ptr_range();
    for candidate in found {
        let part = candidate.as_ptr_range();
        assert!(!candidate.is_empty() && within.start <= part.start && part.end <= within.end);
    }
    let _ = grammar.timestamp(value, "t");
}

/// A template that parses gives the same bytes each time; sources never panic.
pub fn template(data: &[u8]) {
    let mut input = Input(data);
    let text = input.text(255);
    let Ok(scope) = Scope::new(row("github"), &NO_SETTINGS) else { return };
    let delivery = delivery(input);
    let view = View::new(&delivery, None);
    if let Ok(template) = Template::parse(&text, &scope) {
        let context = Context::of(&view);
        assert_eq!(template.bytes(&context), template.bytes(&context));
    }
    if let Ok(source) = Source::parse(&text) {
        let _ = (source.one(&view), source.names(&view), source.candidates(&view));
    }
}

/// A field that is masked can't be read any more, in whichever kind of form.
pub fn form(data: &[u8]) {
    let delivery = delivery(Input(data));
    let before = View::new(&delivery, None);
    let _ = (form::sorted(&before), form::sorted_query(delivery.query()), form::values(&before, "a"));
    let Ok(field) = Mask::parse("form:a") else { return };
    // Multipart bodies aren't masked by fields.
    if before.boundary().is_some() {
        return;
    }
    let masked = mask(&[field], &delivery.headers, delivery.query(), &delivery.body);
    let delivery = Delivery { body: masked.body, ..delivery };
    let after = View::new(&delivery, None);
    for value in form::values(&after, "a").unwrap_or_default() {
        assert!(value == "***" || value.is_empty(), "{value:?} of {:?}", delivery.body);
    }
}

/// What a pointer selects is JSON, and what another library finds there.
pub fn json_pointer(data: &[u8]) {
    let mut input = Input(data);
    let text = input.text(32);
    let (Ok(pointer), Some(document)) = (Pointer::parse(&text), Document::parse(input.0)) else { return };
    let selected = document.select(&pointer);
    let texts = selected.iter().map(|span| document.text(span.clone()));
    // What is out of a library's range (1e999) is JSON all the same.
    let values: Vec<_> = texts.map(serde_json::from_str::<serde_json::Value>).collect();
    let Ok(whole) = serde_json::from_slice::<serde_json::Value>(input.0) else { return };
    // Of a repeated key both take the last; on the way there ours takes every one.
    if !pointer.is_plural() && selected.len() <= 1 {
        let ours = values.into_iter().next().map(|value| value.expect("a part of JSON is JSON"));
        assert_eq!(ours.as_ref(), whole.pointer(&text), "{text:?}");
    }
}

/// No token is believed that the secret didn't sign.
pub fn jwt(data: &[u8]) {
    let Ok(token) = HeaderValue::from_bytes(data) else { return };
    let verifier = verifier(row("livekit"), SECRET).expect("any text is its secret");
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, token);
    let delivery = Delivery { headers, ..delivery(Input(b"")) };
    assert!(matches!(verifier.admit(delivery, NOW), Admission::Refused(_)));
}

/// One text stands for one value, and the other way round.
pub fn encodings(data: &[u8]) {
    use Encoding as E;
    for encoding in [E::Hex, E::Base64, E::Base64Unpadded, E::Base64Url, E::Base64UrlUnpadded] {
        assert_eq!(encoding.decode(encoding.encode(data).as_bytes()).as_deref(), Some(data));
        if let Some(bytes) = encoding.decode(data) {
            let canonical = encoding.encode(&bytes);
            let same_case = if encoding == E::Hex { data.to_ascii_lowercase() } else { data.to_vec() };
            assert_eq!(canonical.as_bytes(), same_case);
        }
    }
}

/// Nothing is an event that wasn't signed: of static tokens, that doesn't hold the secret. Two bytes say which
/// row judges, a third whether the request is any, or a perfect one by somebody who has another secret.
pub fn admit(data: &[u8]) {
    let mut input = Input(data);
    let which = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let names: Vec<_> = catalog::names().collect();
    let row = row(names[which % names.len()]);
    // Whose public key isn't at hand can't be judged here.
    let Some(verifier) = verifier(row, SECRET) else { return };
    let delivery = match input.byte() % 2 {
        0 => Some(delivery(input)),
        _ => forged(row, input),
    };
    let Some(delivery) = delivery else { return };
    if let Admission::Event(verified) = verifier.admit(delivery, NOW) {
        let scheme = row.schemes.iter().find(|scheme| scheme.name == verified.scheme());
        let is_sent_as_it_is = scheme.is_some_and(|scheme| !scheme.verify.covers_body());
        assert!(is_sent_as_it_is && holds_secret(data), "{}: {verified:?}", row.name);
    }
}

/// Signed with another secret; the rest of the bytes is its body.
fn forged(row: &Row, body: Input<'_>) -> Option<Delivery> {
    let forger = verifier(row, ANOTHER_SECRET)?;
    let body = Bytes::copy_from_slice(body.0);
    let request = forger.sign(Some("thing.done"), Some(body), HTTPS, NOW, "id-1").ok()?;
    let uri = request.url.parse::<http::Uri>().ok()?.path_and_query()?.clone().into();
    let OutgoingRequest { method, headers, body, .. } = request;
    Some(Delivery { method, uri, headers, body, ..delivery(Input(b"")) })
}

/// A message holds the body's exact bytes, in whichever format it travels.
pub fn message(data: &[u8]) {
    let mut input = Input(data);
    let types = ["application/json", "application/x-www-form-urlencoded", "text/plain", "a/b+xml", "x/y", ""];
    let content_type = types[usize::from(input.byte()) % types.len()];
    let body = Bytes::copy_from_slice(input.0);
    let verifier = verifier(row("generic-hmac"), SECRET).expect("any text is its secret");
    let request = verifier.sign(None, Some(body.clone()), HTTPS, NOW, "id-1").expect("an HMAC can be signed");
    let mut headers = request.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let delivery = Delivery { headers, body: body.clone(), ..delivery(Input(b"")) };
    let Admission::Event(verified) = verifier.admit(delivery, NOW) else {
        panic!("what is signed is accepted")
    };
    let options = MessageOptions { receiver: "generic-hmac".to_owned(), raw_body: false, mask: true };
    let context = message::build(&verified, &options);
    let decoded = WebHookQueueContext::decode(&context.encode()).expect("what is encoded can be decoded");
    assert_eq!((decoded.data.bytes(), decoded.encode()), (&body[..], context.encode()));
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let sent = context.encode_as(format);
        let decoded =
            WebHookQueueContext::decode_message(&sent.payload, &sent.headers).expect("the same here");
        assert_eq!(decoded.data.bytes(), &body[..], "{format:?}");
    }
}

static NO_SETTINGS: std::collections::BTreeMap<String, super::Secret> = std::collections::BTreeMap::new();

fn row(name: &str) -> &'static Row {
    catalog::find(name).expect("it is in the catalogue")
}

/// Of the schemes that needn't be asked for; `None` when the row takes no secret that is made up.
fn verifier(row: &Row, secret: &str) -> Option<Verifier> {
    let required = |(name, setting): (&String, &Setting)| {
        setting.required.then(|| (name.clone(), super::Secret::from(SECRET)))
    };
    let settings = ReceiverSettings {
        secrets: vec![secret.into()],
        settings: row.settings.iter().filter_map(required).collect(),
        public_url: PublicUrl::base("https://hooks.example.com").ok(),
        ..ReceiverSettings::default()
    };
    Verifier::compile(row, &settings).ok()
}

/// The secret itself, or as HTTP Basic writes it.
fn holds_secret(data: &[u8]) -> bool {
    let basic = Encoding::Base64.encode(SECRET.as_bytes());
    [SECRET.as_bytes(), basic.as_bytes()].iter().any(|secret| memchr::memmem::find(data, secret).is_some())
}
