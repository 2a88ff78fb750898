//! The RFC's own signatures, and what must not pass with them or with one of our own.

use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::*;
use crate::catalog;
use crate::delivery::Delivery;
use crate::verify::encoding::Encoding;
use crate::verify::tests::post;
use crate::verify::{Admission, PublicUrl, ReceiverSettings, Verifier};

const SECRET: &str = "generic secret of some length";
const BODY: &str = r#"{"id":"e1"}"#;
const NOW: i64 = 1_700_000_000;
const COVERED: &str = r#"("@method" "@target-uri" "content-digest")"#;

fn settings() -> ReceiverSettings {
    ReceiverSettings {
        secrets: vec![SECRET.into()],
        public_url: Some(PublicUrl::base("https://example.com").unwrap()),
        ..ReceiverSettings::default()
    }
}

fn verifier(settings: &ReceiverSettings) -> Verifier {
    Verifier::compile(catalog::find("generic-http-signatures").unwrap(), settings).unwrap()
}

fn request(target: &str, headers: &[(&str, &str)], body: &str) -> Delivery {
    let header = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().map(header) {
        map.append(name, value);
    }
    Delivery { uri: target.parse().unwrap(), ..post(map, body) }
}

fn content_digest(body: &str) -> String {
    format!(
        "sha-256=:{}:",
        Encoding::Base64.encode(digest::digest(&digest::SHA256, body.as_bytes()).as_ref())
    )
}

fn base_of(delivery: &Delivery, input: &str) -> Result<Vec<u8>, Refusal> {
    let url = PublicUrl::base("https://example.com").unwrap();
    base::signature_base(&fields::inputs(input).unwrap()[0], &View::new(delivery, Some(&url)))
}

/// A signature of the request by the secret, under that label.
fn sign(delivery: &Delivery, secret: &str, label: &str, value: &str) -> String {
    let base = base_of(delivery, &format!("{label}={value}")).unwrap();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &base);
    format!("{label}=:{}:", Encoding::Base64.encode(tag.as_ref()))
}

fn params(rest: &str) -> String {
    format!("{COVERED};created={NOW}{rest}")
}

/// A request with those signatures: secret, label, value of `Signature-Input`.
fn signed(signatures: &[(&str, &str, &str)]) -> Delivery {
    let digest = content_digest(BODY);
    let mut delivery = request("/in/x?a=b", &[("content-digest", &digest)], BODY);
    for (secret, label, value) in signatures {
        let signature = sign(&delivery, secret, label, value);
        delivery.headers.append("signature", signature.parse().unwrap());
        delivery.headers.append("signature-input", format!("{label}={value}").parse().unwrap());
    }
    delivery
}

fn outcome(verifier: &Verifier, delivery: Delivery) -> Result<(), Reason> {
    match verifier.admit(delivery, Timestamp::from_second(NOW).unwrap()) {
        Admission::Event(_) => Ok(()),
        Admission::Refused(refusal) => Err(refusal.reason),
        other => panic!("{other:?}"),
    }
}

fn judge(delivery: Delivery) -> Result<(), Reason> {
    outcome(&verifier(&settings()), delivery)
}

#[test]
fn gives_the_signature_bases_of_the_rfc() {
    let headers = [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-length", "18"),
        ("host", "elsewhere.example"),
    ];
    let delivery = request("/foo?param=Value&Pet=dog", &headers, r#"{"hello": "world"}"#);
    // B.2.5
    let input = r#"s=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let key = hmac::Key::new(hmac::HMAC_SHA256, &Encoding::Base64.decode(secret.as_bytes()).unwrap());
    let signature = Encoding::Base64.decode(b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=").unwrap();
    assert!(Keys::Mac(vec![key]).verify(&base_of(&delivery, input).unwrap(), &signature));
    // B.2.6
    let input = "s=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
                 ;created=1618884473;keyid=\"test-key-ed25519\"";
    let key = b"MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
    let key = public_key::parse(&signature::ED25519, key, &[]).unwrap();
    let signature =
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
    let signature = Encoding::Base64.decode(signature.as_bytes()).unwrap();
    assert!(Keys::Public(key).verify(&base_of(&delivery, input).unwrap(), &signature));
}

#[test]
fn components_are_what_the_rfc_says() {
    let target = "/path?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace\
                  &fa%C3%A7ade%22%3A%20=something&two=1&two=2";
    let delivery = request(target, &[("x", " a "), ("x", "b,  c"), ("empty", "")], "");
    let value = |component: &str| {
        let base = base_of(&delivery, &format!("s=({component})")).ok()?;
        let line = String::from_utf8(base).unwrap().lines().next().unwrap().to_owned();
        Some(line.strip_prefix(&format!("{component}: ")).unwrap().to_owned())
    };
    let expect = |component: &str, wanted: &str| assert_eq!(value(component).as_deref(), Some(wanted));
    expect(r#""@query-param";name="var""#, "this%20is%20a%20big%0Amultiline%20value");
    expect(r#""@query-param";name="bar""#, "with%20plus%20whitespace");
    expect(r#""@query-param";name="fa%C3%A7ade%22%3A%20""#, "something");
    expect(r#""x""#, "a, b,  c");
    expect(r#""x";bs"#, ":YQ==:, :YiwgIGM=:");
    expect(r#""empty""#, "");
    expect(r#""@path""#, "/path");
    expect(r#""@scheme""#, "https");
    expect(r#""@target-uri""#, &format!("https://example.com{target}"));
    expect(r#""@request-target""#, target);
    let refused = [
        r#""@query-param";name="two""#,
        r#""@query-param";name="none""#,
        r#""@query-param""#,
        r#""absent""#,
        r#""X""#,
        r#""@status""#,
        r#""@signature-params""#,
        r#""@method";req"#,
        r#""x";sf"#,
        r#""x";key="a""#,
        r#""x";tr"#,
        r#""x" "x""#,
        r#""""#,
    ];
    for component in refused {
        assert!(base_of(&delivery, &format!("s=({component})")).is_err(), "{component}");
    }
    let bare = request("/", &[], "");
    assert!(base_of(&bare, r#"s=("@query")"#).unwrap().starts_with(b"\"@query\": ?\n"));
}

#[test]
fn authority_is_the_public_urls() {
    let delivery = request("/", &[("host", "elsewhere.example")], "");
    for (url, wanted) in [
        ("https://Example.COM:443", "example.com"),
        ("https://u@example.com:8443", "example.com:8443"),
        ("http://example.com:443", "example.com:443"),
    ] {
        let url = PublicUrl::base(url).unwrap();
        let inputs = fields::inputs(r#"s=("@authority")"#).unwrap();
        let base = base::signature_base(&inputs[0], &View::new(&delivery, Some(&url))).unwrap();
        assert!(base.starts_with(format!("\"@authority\": {wanted}\n").as_bytes()), "{url:?}");
    }
}

#[test]
fn no_single_bit_of_headers_or_body_can_change() {
    let (verifier, original) = (verifier(&settings()), signed(&[(SECRET, "s", &params(""))]));
    assert_eq!(outcome(&verifier, original.clone()), Ok(()));
    for name in ["signature", "signature-input", "content-digest"] {
        let value = original.headers[name].as_bytes().to_vec();
        for at in 0..value.len() * 8 {
            let mut changed = value.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
            let mut delivery = original.clone();
            delivery.headers.insert(name, changed.clone());
            assert!(outcome(&verifier, delivery).is_err(), "{name}: {changed:?}");
        }
    }
    for at in 0..BODY.len() * 8 {
        let mut body = BODY.as_bytes().to_vec();
        body[at / 8] ^= 1 << (at % 8);
        let delivery = Delivery { body: body.into(), ..original.clone() };
        assert_eq!(outcome(&verifier, delivery), Err(Reason::SignatureMismatch));
    }
    let target = Delivery { uri: "/in/x?a=c".parse().unwrap(), ..original.clone() };
    assert_eq!(outcome(&verifier, target), Err(Reason::SignatureMismatch));
    let method = Delivery { method: http::Method::PUT, ..original.clone() };
    assert_eq!(outcome(&verifier, method), Err(Reason::SignatureMismatch));
    let empty = Delivery { body: bytes::Bytes::new(), ..original };
    assert_eq!(outcome(&verifier, empty), Err(Reason::SignatureMismatch));
}

#[test]
fn what_is_required_must_be_covered() {
    let created = format!(";created={NOW}");
    for covered in ["()", r#"("@method")"#, r#"("content-digest")"#, r#"("@method" "content-digest";bs)"#] {
        let delivery = signed(&[(SECRET, "s", &format!("{covered}{created}"))]);
        assert_eq!(judge(delivery), Err(Reason::SignatureMalformed), "{covered}");
    }
    let covered = format!(r#"("@method" "content-digest"){created}"#);
    let mut unknown = request("/", &[("content-digest", "md5=:QQ==:")], BODY);
    let signature = sign(&unknown, SECRET, "s", &covered);
    unknown.headers.append("signature", signature.parse().unwrap());
    unknown.headers.append("signature-input", format!("s={covered}").parse().unwrap());
    assert_eq!(judge(unknown), Err(Reason::SignatureMalformed));
}

#[test]
fn of_several_signatures_one_must_do() {
    let good = params("");
    assert_eq!(judge(signed(&[("another", "p", "()"), (SECRET, "s", &good)])), Ok(()));
    // One has the coverage, the other the key.
    let apart = signed(&[("another", "p", &good), (SECRET, "s", r#"("@method")"#)]);
    assert_eq!(judge(apart), Err(Reason::SignatureMismatch));
    // The labels change places.
    let mut swapped = signed(&[(SECRET, "s", &good), ("another", "p", &params(";x"))]);
    let inputs = format!("p={good}, s={}", params(";x"));
    swapped.headers.insert("signature-input", inputs.parse().unwrap());
    assert_eq!(judge(swapped), Err(Reason::SignatureMismatch));
    // A label comes twice, or in one header only.
    assert_eq!(judge(signed(&[(SECRET, "s", &good), (SECRET, "s", &good)])), Err(Reason::SignatureMalformed));
    for header in ["signature", "signature-input"] {
        let mut more = signed(&[(SECRET, "s", &good)]);
        let value = if header == "signature" { "t=:QQ==:" } else { "t=()" };
        more.headers.append(header, value.parse().unwrap());
        assert_eq!(judge(more), Err(Reason::SignatureMalformed), "{header}");
    }
    let mut long = signed(&[(SECRET, "s", &good)]);
    long.headers.append("signature", " ".repeat(FIELD_BYTES_MAX).parse().unwrap());
    assert!(judge(long.clone()).is_err());
    long.headers.append("signature", "x".repeat(FIELD_BYTES_MAX).parse().unwrap());
    assert_eq!(judge(long), Err(Reason::SignatureMalformed));
}

#[test]
fn parameters_are_judged() {
    let judge = |parameters: &str| judge(signed(&[(SECRET, "s", &format!("{COVERED}{parameters}"))]));
    let at = |offset: i64| NOW + offset;
    assert_eq!(judge(&format!(";created={}", at(-300))), Ok(()));
    assert_eq!(judge(&format!(";created={}", at(300))), Ok(()));
    assert_eq!(judge(&format!(";created={}", at(-301))), Err(Reason::TimestampOutOfTolerance));
    assert_eq!(judge(&format!(";created={}", at(301))), Err(Reason::TimestampOutOfTolerance));
    assert_eq!(judge(""), Err(Reason::TimestampMissing));
    assert_eq!(judge(&format!(";expires={}", at(9))), Err(Reason::TimestampMissing));
    assert_eq!(judge(&format!(";created={NOW};expires={NOW}")), Ok(()));
    assert_eq!(judge(&format!(";created={NOW};expires={}", at(-1))), Err(Reason::TimestampOutOfTolerance));
    assert_eq!(judge(";created=\"1700000000\""), Err(Reason::SignatureMalformed));
    assert_eq!(judge(";created=-1"), Err(Reason::TimestampMalformed));
    assert_eq!(judge(&format!(";created={NOW};alg=\"hmac-sha256\"")), Ok(()));
    assert_eq!(judge(&format!(";created={NOW};alg=\"ed25519\"")), Err(Reason::SignatureMalformed));
    assert_eq!(judge(&format!(";created={NOW};alg")), Err(Reason::SignatureMalformed));
}

#[test]
fn a_public_key_is_no_macs_key() {
    let mut settings = settings();
    settings.secrets = vec!["-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----".into()];
    let row = catalog::find("generic-http-signatures").unwrap();
    let error = Verifier::compile(row, &settings).unwrap_err().to_string();
    assert!(error.contains("set algorithm"), "{error}");
    for (name, value) in [("algorithm", "hmac-sha1"), ("cover", "@status"), ("cover", "Date")] {
        let mut settings = self::settings();
        settings.set(name, value.into()).unwrap();
        assert!(Verifier::compile(row, &settings).is_err(), "{value}");
    }
}
