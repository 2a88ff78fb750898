//! Properties of named schemes: whatever is changed on the way, what was signed is what is accepted.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, KeyPair, RsaKeyPair};
use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::catalog;
use crate::delivery::Delivery;
use crate::verify::encoding::Encoding;
use crate::verify::tests::post;
use crate::verify::{Admission, Fetched, KeyDocument, ReceiverSettings, Secret, Verifier};

const CERTIFICATE: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem";
const TOPIC: &str = "arn:aws:sns:eu-west-1:1:t";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn public_key() -> String {
    let pkcs1 = KEY.public_key().as_ref();
    format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        Encoding::Base64.encode(pkcs1)
    )
}

fn sign(message: &str, padding: &'static dyn signature::RsaEncoding) -> String {
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    Encoding::Base64.encode(&signature)
}

fn notification() -> Vec<u8> {
    let message = format!(
        "Message\nhi\nMessageId\n1\nTimestamp\n1970-01-01T00:00:00Z\nTopicArn\n{TOPIC}\nType\nNotification\n"
    );
    json!({
        "Type": "Notification", "MessageId": "1", "TopicArn": TOPIC, "Message": "hi",
        "Timestamp": "1970-01-01T00:00:00Z", "SignatureVersion": "2", "SigningCertURL": CERTIFICATE,
        "Signature": sign(&message, &signature::RSA_PKCS1_SHA256),
    })
    .to_string()
    .into_bytes()
}

fn sns() -> (Verifier, Fetched) {
    let mut settings = ReceiverSettings::default();
    settings.set("topic_arn", TOPIC.into()).unwrap();
    let mut fetched = Fetched::default();
    let bytes = Bytes::from(public_key());
    fetched.put(CERTIFICATE.to_owned(), KeyDocument { bytes, version: 1, is_current: true });
    (Verifier::compile(catalog::find("aws-sns").unwrap(), &settings).unwrap(), fetched)
}

fn is_event(verifier: &Verifier, fetched: &Fetched, body: Vec<u8>) -> bool {
    let delivery = Delivery { body: body.into(), ..post(HeaderMap::new(), "") };
    matches!(verifier.admit_with(delivery, NOW, fetched), Admission::Event(_))
}

/// The members that SNS signs, as a parser of JSON reads them.
fn signed_members(body: &[u8]) -> Vec<Value> {
    let json: Value = serde_json::from_slice(body).unwrap();
    ["Type", "MessageId", "TopicArn", "Message", "Subject", "Timestamp"]
        .map(|name| json.get(name).cloned().unwrap_or_default())
        .to_vec()
}

/// The vector that Paddle's library made: RSA with SHA-1 can be verified here, not signed.
static PADDLE: LazyLock<(Verifier, Vec<u8>)> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/catalog/paddle-classic.toml");
    let row: toml::Table = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let text = |name: &str| row["vectors"][0][name].as_str().unwrap().to_owned();
    let secrets = vec![Secret::from(text("secret").as_str())];
    let settings = ReceiverSettings { secrets, ..ReceiverSettings::default() };
    let verifier = Verifier::compile(catalog::find("paddle-classic").unwrap(), &settings).unwrap();
    (verifier, text("body").into_bytes())
});

fn fields(body: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<_> = form_urlencoded::parse(body).into_owned().collect();
    fields.sort();
    fields
}

#[test]
fn a_signed_notification_is_accepted() {
    let (verifier, fetched) = sns();
    assert!(is_event(&verifier, &fetched, notification()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn sns_accepts_nothing_but_what_was_signed(at: prop::sample::Index, flip in 1..=255_u8) {
        let (verifier, fetched) = sns();
        let original = notification();
        let mut changed = original.clone();
        changed[at.index(original.len())] ^= flip;
        if is_event(&verifier, &fetched, changed.clone()) {
            prop_assert_eq!(signed_members(&changed), signed_members(&original));
        }
    }

    #[test]
    fn sns_takes_no_second_reading(name in "Type|MessageId|TopicArn|Message|Subject|Timestamp|Signature", front: bool) {
        let (verifier, fetched) = sns();
        let original = String::from_utf8(notification()).unwrap();
        let inside = &original[1..original.len() - 1];
        let doubled = match front {
            true => format!("{{\"{name}\":\"evil\",{inside}}}"),
            false => format!("{{{inside},\"{name}\":\"evil\"}}"),
        };
        prop_assert!(!is_event(&verifier, &fetched, doubled.into_bytes()));
    }

    #[test]
    fn paddle_accepts_nothing_but_what_was_signed(at: prop::sample::Index, flip in 1..=255_u8) {
        let (verifier, original) = &*PADDLE;
        prop_assert!(is_event(verifier, &Fetched::default(), original.clone()));
        let mut changed = original.clone();
        changed[at.index(original.len())] ^= flip;
        if is_event(verifier, &Fetched::default(), changed.clone()) {
            prop_assert_eq!(fields(&changed), fields(original));
        }
    }
}
