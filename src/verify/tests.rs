//! Compiling verifiers, and what the vectors of rows can't show.

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::*;
use crate::catalog::{self, Row};
use crate::delivery::Delivery;
use crate::reason::Reason;

pub(super) fn settings(secret: &str) -> ReceiverSettings {
    ReceiverSettings { secrets: vec![secret.into()], ..ReceiverSettings::default() }
}

fn compile(row: &str, settings: &ReceiverSettings) -> Result<Verifier, CompileError> {
    Verifier::compile(catalog::find(row).unwrap(), settings)
}

fn error(row: &str, settings: &ReceiverSettings) -> String {
    compile(row, settings).unwrap_err().to_string()
}

fn set(row: &str, key: &str, value: &str) -> Result<Verifier, CompileError> {
    let mut settings = settings("a secret of some length");
    settings.set(key, value.into())?;
    compile(row, &settings)
}

fn user_row(toml: &str) -> Row {
    toml::from_str(toml).unwrap()
}

pub(super) fn post(headers: HeaderMap, body: &str) -> Delivery {
    Delivery {
        method: Method::POST,
        uri: "/in/x".parse().unwrap(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        id: String::new(),
        received_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn errors_say_what_to_do_and_never_the_secret() {
    let none = ReceiverSettings::default();
    assert_eq!(
        error("stripe", &none),
        "stripe needs a secret: the endpoint's signing secret, whsec_…, as it is"
    );
    assert_eq!(
        error("standard-webhooks", &settings("whsec_not*base64")),
        "the secret of standard-webhooks can't be used: what follows whsec_ is not base64; paste it whole, \
         exactly as the provider shows it (scheme v1)"
    );
    assert!(error("standard-webhooks", &settings("whsec_QUFB\n")).contains("a line end around it"));
    assert_eq!(
        error("github", &settings("")),
        "the secret of github can't be used: it is empty (scheme sha256)"
    );
    assert_eq!(
        set("github", "secrt", "x").unwrap_err().to_string(),
        "github has no setting secrt; it has schemes, tolerance"
    );
    assert_eq!(
        set("github", "schemes", "sha512").unwrap_err().to_string(),
        "github has no scheme sha512; it has sha256, sha1"
    );
    assert!(set("github", "tolerance", "soon").is_err());
    assert!(set("generic-hmac", "algorithm", "md5").unwrap_err().to_string().contains("known are hmac-sha1"));
    assert!(set("generic-hmac", "header", "a b").is_err());
    assert!(set("generic-hmac", "message", "{body").is_err());
    assert!(set("generic-token", "from", "cookie:x").is_err());
    let unsigned = set("generic-hmac", "timestamp", "header:X-Time").unwrap_err().to_string();
    assert!(unsigned.ends_with("put {timestamp} into the message"), "{unsigned}");
}

#[test]
fn methods_are_those_of_events_and_handshakes() {
    let row = user_row(
        r#"
        name = "x"
        title = "X"
        replay = "unprotected"
        secret = "the secret"
        handshakes = [{ name = "hello", methods = ["GET"], match = [{ from = "query:challenge" }],
                        respond = { content_type = "text/plain", body = "{query:challenge}" } }]
        [[schemes]]
        name = "token"
        verify = "token"
        from = "header:X-Token"
        "#,
    );
    let verifier = Verifier::compile(&row, &settings("a secret of some length")).unwrap();
    assert_eq!(verifier.allow(), "GET, POST");
    assert!(verifier.allows(&Method::GET) && !verifier.allows(&Method::PUT));
    let get =
        |uri: &str| Delivery { method: Method::GET, uri: uri.parse().unwrap(), ..post(HeaderMap::new(), "") };
    match verifier.admit(get("/?challenge=a%26b"), Timestamp::UNIX_EPOCH) {
        Admission::Answered { reply, handshake, captured: None, visit: None } => {
            assert_eq!((&reply.body[..], handshake.as_str()), (&b"a&b"[..], "hello"));
        }
        other => panic!("{other:?}"),
    }
    match verifier.admit(get("/"), Timestamp::UNIX_EPOCH) {
        Admission::Refused(refusal) => assert_eq!(refusal.reason, Reason::HandshakeMalformed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verification_is_off_only_when_the_receiver_says_so() {
    let row = user_row(
        r#"
        name = "x"
        title = "X"
        replay = "unprotected"
        schemes = [{ name = "none", verify = "none" }]
        "#,
    );
    let none = ReceiverSettings::default();
    assert!(matches!(Verifier::compile(&row, &none), Err(CompileError::SchemeNotChosen { .. })));
    let mut asked = ReceiverSettings::default();
    asked.set("schemes", "none".into()).unwrap();
    let verifier = Verifier::compile(&row, &asked).unwrap();
    assert!(verifier.warnings().contains(&Warning::NotVerified { scheme: "none".to_owned() }));
    assert!(matches!(verifier.admit(post(HeaderMap::new(), ""), Timestamp::UNIX_EPOCH), Admission::Event(_)));
}

/// Their deliveries only point to what a worker must fetch.
#[test]
fn pointers_are_taken_unverified_only_in_as_many_words() {
    for row in ["mollie", "klarna", "shipstation"] {
        let mut settings = ReceiverSettings::default();
        assert!(matches!(compile(row, &settings), Err(CompileError::SecretMissing { .. })), "{row}");
        settings.set("schemes", "none".into()).unwrap();
        let warning = Warning::NotVerified { scheme: "none".to_owned() };
        assert!(compile(row, &settings).unwrap().warnings().contains(&warning), "{row}");
    }
}

#[test]
fn warnings_tell_what_is_weak() {
    let verifier = compile("github", &settings("hunter2\n")).unwrap();
    assert_eq!(
        verifier.warnings(),
        [Warning::ReplayUnprotected, Warning::SecretHasSpace, Warning::ShortSecret { bytes: 8 }]
    );
    assert_eq!(compile("stripe", &settings("whsec_of_some_length")).unwrap().warnings(), []);
}

#[test]
fn credentials_are_masked_whatever_scheme_is_accepted() {
    let mut headers = HeaderMap::new();
    headers.insert("x-webhook-token", "a secret of some length".parse().unwrap());
    let verifier = compile("generic-token", &settings("a secret of some length")).unwrap();
    let Admission::Event(verified) = verifier.admit(post(headers, "{}"), Timestamp::UNIX_EPOCH) else {
        panic!("refused");
    };
    let delivery = verified.delivery();
    let masked = mask(verified.masks(), &delivery.headers, delivery.query(), &delivery.body);
    assert_eq!(masked.headers["x-webhook-token"], MASKED);
    assert_eq!(masked.masked, ["header:x-webhook-token"]);
}

#[test]
fn repeated_signature_headers_are_malformed() {
    let mut headers = HeaderMap::new();
    headers.append("x-hub-signature-256", "sha256=00".parse().unwrap());
    headers.append("x-hub-signature-256", "sha256=00".parse().unwrap());
    let verifier = compile("github", &settings("a secret of some length")).unwrap();
    match verifier.admit(post(headers, "{}"), Timestamp::UNIX_EPOCH) {
        Admission::Refused(refusal) => assert_eq!(refusal.reason, Reason::SignatureMalformed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_secret_is_tried() {
    let one = compile("github", &settings("the new secret, not used yet")).unwrap();
    let request = compile("github", &settings("the old secret, used still"))
        .unwrap()
        .sign(Some("push"), None, "https://h.example/x", Timestamp::UNIX_EPOCH, "d")
        .unwrap();
    let body = std::str::from_utf8(&request.body).unwrap().to_owned();
    let delivery = || post(request.headers.clone(), &body);
    assert!(matches!(one.admit(delivery(), Timestamp::UNIX_EPOCH), Admission::Refused(_)));
    let mut both = settings("the new secret, not used yet");
    both.secrets.push("the old secret, used still".into());
    let both = compile("github", &both).unwrap();
    assert!(matches!(both.admit(delivery(), Timestamp::UNIX_EPOCH), Admission::Event(_)));
}

#[test]
fn a_receiver_may_widen_the_tolerance() {
    let mut settings = settings("whsec_of_some_length");
    let old = compile("stripe", &settings)
        .unwrap()
        .sign(None, None, "https://h.example/x", Timestamp::UNIX_EPOCH, "d")
        .unwrap();
    let body = std::str::from_utf8(&old.body).unwrap().to_owned();
    let now = Timestamp::from_second(3600).unwrap();
    settings.set("tolerance", "1h".into()).unwrap();
    let admission = compile("stripe", &settings).unwrap().admit(post(old.headers, &body), now);
    assert!(matches!(admission, Admission::Event(_)));
}

/// Fields beyond the bound would else be unsigned, as repeated ones count once.
#[test]
fn fields_beyond_the_bound_are_not_let_through() {
    let mut settings = settings("a secret of some length");
    settings.public_url = Some(PublicUrl::base("https://h.example").unwrap());
    let verifier = compile("twilio", &settings).unwrap();
    let url = "https://h.example/in/x";
    let request = verifier.sign(None, Some("a=1".into()), url, Timestamp::UNIX_EPOCH, "d").unwrap();
    let admit = |body: &str| verifier.admit(post(request.headers.clone(), body), Timestamp::UNIX_EPOCH);
    assert!(matches!(admit("a=1"), Admission::Event(_)));
    match admit(&format!("{}evil=1", "a=1&".repeat(1_000))) {
        Admission::Refused(refusal) => assert_eq!(refusal.reason, Reason::BodyMalformed),
        other => panic!("{other:?}"),
    }
}

/// A multipart body has no URL-encoded fields; taken as none, it would be as good as an empty body.
#[test]
fn a_content_type_does_not_change_what_is_signed() {
    let mut settings = settings("a secret of some length");
    settings.public_url = Some(PublicUrl::base("https://h.example").unwrap());
    let verifier = compile("twilio", &settings).unwrap();
    let url = "https://h.example/in/x";
    let request = verifier.sign(None, Some(Bytes::new()), url, Timestamp::UNIX_EPOCH, "d").unwrap();
    let mut headers = request.headers;
    assert!(matches!(verifier.admit(post(headers.clone(), ""), Timestamp::UNIX_EPOCH), Admission::Event(_)));
    headers.insert("content-type", "multipart/form-data; boundary=x".parse().unwrap());
    let admission = verifier.admit(post(headers, "--x\r\n\r\nevil"), Timestamp::UNIX_EPOCH);
    assert!(matches!(admission, Admission::Refused(_)));
}

/// Everybody has the public key; taken as an HMAC key it would let everybody sign.
#[test]
fn a_public_key_is_never_an_hmac_key() {
    let row = user_row(
        r#"
        name = "x"
        title = "X"
        replay = "protected"
        [[schemes]]
        name = "jwt"
        verify = "jwt"
        from = "header:X-Jwt"
        algorithms = ["HS256", "EdDSA"]
        "#,
    );
    let key = "5ac1e594aa9a782bd845e7004f181d5a83fac4c738c0f1e31581096c6df2ffff";
    let hmac_only = user_row(&toml_with_hs256());
    let url = "https://h.example/x";
    let forged = Verifier::compile(&hmac_only, &settings(key))
        .unwrap()
        .sign(None, None, url, Timestamp::UNIX_EPOCH, "d")
        .unwrap();
    let verifier = Verifier::compile(&row, &settings(key)).unwrap();
    match verifier.admit(post(forged.headers, "{}"), Timestamp::UNIX_EPOCH) {
        Admission::Refused(refusal) => assert_eq!(refusal.reason, Reason::SignatureMalformed),
        other => panic!("{other:?}"),
    }
    let text = settings("a secret of some length");
    let honest = Verifier::compile(&row, &text).unwrap();
    let request = honest.sign(None, None, url, Timestamp::UNIX_EPOCH, "d").unwrap();
    assert!(matches!(honest.admit(post(request.headers, "{}"), Timestamp::UNIX_EPOCH), Admission::Event(_)));
}

fn toml_with_hs256() -> String {
    r#"
    name = "x"
    title = "X"
    replay = "protected"
    schemes = [{ name = "jwt", verify = "jwt", from = "header:X-Jwt", algorithms = ["HS256"] }]
    "#
    .to_owned()
}

#[test]
fn a_verifier_prints_no_secret() {
    let mut settings = settings("hunter2-hunter2-hunter2");
    settings.set("verify_token", "hunter3".into()).unwrap();
    let printed = format!("{settings:?} {:?}", compile("facebook", &settings).unwrap());
    assert!(!printed.contains("hunter") && !printed.contains(&format!("{:?}", b"hunter3")), "{printed}");
}

#[test]
fn schemes_that_would_verify_nothing_do_not_compile() {
    let compile = |scheme: &str| {
        let row = user_row(&format!(
            "name = 'x'\ntitle = 'X'\nreplay = 'unprotected'\n[[schemes]]\nname = 's'\n{scheme}"
        ));
        Verifier::compile(&row, &settings("a secret of some length")).unwrap_err().to_string()
    };
    let signature = "signature = { from = 'header:X-Signature' }";
    let hash = format!("verify = 'hash'\nalgorithm = 'sha256'\n{signature}\nmessage = '{{body}}'");
    assert_eq!(compile(&hash), "x, scheme s: it can't verify: a plain hash needs {secret} in the message");
    let mac = format!("verify = 'mac'\nalgorithm = 'hmac-sha256'\n{signature}\nmessage = 'constant'");
    assert_eq!(compile(&mac), "x, scheme s: it can't verify: the message says nothing of the request");
    assert!(
        compile("verify = 'mac'\nalgorithm = 'hmac-sha256'\nmessage = '{body}'").contains("signature.from")
    );
    assert!(compile("verify = 'token'").contains("from says nowhere"));
    assert!(compile("verify = 'jwt'\nfrom = 'header:X'").contains("algorithms"));
}

#[test]
fn an_optional_value_that_is_absent_leaves_no_constant_to_be_signed() {
    let mut settings = settings("a made-up secret of some length");
    settings.set("message", "{header:x-part|optional}".into()).unwrap();
    let verifier = compile("generic-hmac", &settings).unwrap();
    // The signature of nothing at all, under that secret.
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a made-up secret of some length");
    let hex: String = hmac::sign(&key, b"").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut headers = HeaderMap::new();
    headers.insert("x-signature", hex.parse().unwrap());
    let delivery = post(headers, "forged");
    let Admission::Refused(refusal) = verifier.admit(delivery, Timestamp::UNIX_EPOCH) else {
        panic!("accepted")
    };
    assert_eq!(refusal.reason, Reason::SignatureMissing);
}

#[test]
fn a_required_setting_that_is_empty_is_missing() {
    let mut settings = settings("unused");
    settings.set("audience", "".into()).unwrap();
    assert!(error("google-pubsub", &settings).contains("audience"));
}

#[test]
fn a_credential_is_read_only_where_it_can_be_masked() {
    for from in ["const:a made-up token", "body", "formjson:payload:/token"] {
        let mut settings = settings("a made-up token of some length");
        settings.set("from", from.into()).unwrap();
        assert!(compile("generic-token", &settings).is_err(), "{from}");
    }
    let mut settings = settings("a made-up token");
    settings.set("from", "form:token".into()).unwrap();
    let verifier = compile("generic-token", &settings).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "multipart/form-data; boundary=X".parse().unwrap());
    let body = "--X\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\na made-up token\r\n--X--\r\n";
    let delivery = post(headers, body);
    let Admission::Refused(refusal) = verifier.admit(delivery, Timestamp::UNIX_EPOCH) else {
        panic!("accepted")
    };
    assert_eq!(refusal.reason, Reason::BodyMalformed);
}

#[test]
fn a_batch_of_which_one_event_is_signed_is_warned_about() {
    let mut asked = settings("a made-up secret of some length");
    let warnings = compile("segment", &asked).unwrap().warnings().to_vec();
    assert!(!warnings.contains(&Warning::BodyNotSigned { signs: catalog::Signs::Part }), "{warnings:?}");
    asked.set("schemes", "sha1,batch".into()).unwrap();
    let warnings = compile("segment", &asked).unwrap().warnings().to_vec();
    assert!(warnings.contains(&Warning::BodyNotSigned { signs: catalog::Signs::Part }), "{warnings:?}");
}

#[test]
fn a_required_setting_cannot_be_empty() {
    // Else what is compared with it would be dropped: anybody's topic would do.
    let row = catalog::find("aws-sns").unwrap();
    let with = |topic: &str| {
        let settings = [("topic_arn".to_owned(), topic.into())].into();
        Verifier::compile(row, &ReceiverSettings { settings, ..ReceiverSettings::default() })
    };
    assert!(with("arn:aws:sns:us-west-2:123456789012:MyTopic").is_ok());
    assert!(
        matches!(with("").unwrap_err(), CompileError::SettingMissing { name, .. } if name == "topic_arn")
    );
}
