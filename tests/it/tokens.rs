//! JSON Web Tokens that forge their way in: without a signature, with one of another kind, with a key of their own.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::client::{post, send_raw};
use crate::daemon::Daemon;
use crate::signing::seconds_from_now;
use crate::worker::drain;

const SECRET: &str = "livekit-secret-that-is-long-enough";
const BODY: &[u8] = br#"{"event":"room_started","id":"EV_1"}"#;

/// A token in compact form (RFC 7515, section 3.1).
pub fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn mac(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |signed| hmac::sign(&key, signed).as_ref().to_vec()
}

fn send(daemon: &Daemon, receiver: &str, token: &str) -> (u16, String) {
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let answer = send_raw(daemon.address, &post(receiver, &headers, BODY)).expect("an answer");
    (answer.status, answer.reason())
}

#[test]
fn a_token_with_alg_none_or_without_a_signature_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[&format!("--receiver=livekit=text:{SECRET}")]);
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, BODY));
    let claims = json!({"sha256": hash, "exp": seconds_from_now(60)});
    let good = token(&json!({"alg": "HS256"}), &claims, mac(SECRET.as_bytes()));
    for alg in ["none", "None", "NONE", "nOnE", "", "HS1", "RS256", "ES256", "HS256 ", "hs256"] {
        let header = json!({"alg": alg, "typ": "JWT"});
        for forged in [token(&header, &claims, |_| vec![]), token(&header, &claims, mac(SECRET.as_bytes()))] {
            let (status, reason) = send(&daemon, "livekit", &forged);
            assert!(matches!(status, 400 | 401), "{alg}: {status} {reason}");
        }
    }
    let unsigned = good.rsplit_once('.').unwrap().0;
    for forged in [
        unsigned.to_owned(),
        format!("{unsigned}."),
        format!("{unsigned}.."),
        format!("{good}."),
        format!("{good}.{good}"),
        token(&json!({"alg": "HS256"}), &claims, mac(b"")),
        token(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims, mac(SECRET.as_bytes())),
        token(&json!({"alg": ["HS256", "none"]}), &claims, mac(SECRET.as_bytes())),
        token(&json!({}), &claims, mac(SECRET.as_bytes())),
        token(&json!([]), &claims, mac(SECRET.as_bytes())),
    ] {
        let (status, reason) = send(&daemon, "livekit", &forged);
        assert!(matches!(status, 400 | 401), "{forged}: {status} {reason}");
    }
    assert_eq!(send(&daemon, "livekit", &good).0, 200, "the honest one");
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), 1);
}

/// The public key is known to everybody: a token signed with it as if it were a shared secret proves nothing, nor
/// does one that brings its own key along.
#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (rsa(), rsa());
    let public_der = spki(&ours);
    let pem = public_pem(&ours);
    let daemon = pubsub(dir.path(), &pem);
    let claims = json!({
        "aud": "a", "email": "s@example.com", "iss": "https://accounts.google.com",
        "iat": seconds_from_now(0), "exp": seconds_from_now(60),
    });
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &public_der, b""] {
        for alg in ["HS256", "RS256", "HS512"] {
            let forged = token(&json!({"alg": alg}), &claims, mac(secret));
            let (status, reason) = send(&daemon, "google-pubsub", &forged);
            assert!(matches!(status, 400 | 401), "{alg}: {status} {reason}");
        }
    }
    let their_pem = public_pem(&theirs);
    for header in [
        json!({"alg": "RS256"}),
        json!({"alg": "RS256", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB", "x5c": [their_pem]}}),
        json!({"alg": "RS256", "x5c": [STANDARD.encode(spki(&theirs))]}),
        json!({"alg": "RS256", "kid": "../../../../dev/null"}),
        json!({"alg": "RS256", "kid": "' OR 1=1 --"}),
    ] {
        let forged = token(&header, &claims, |signed| rsa_sign(&theirs, signed));
        assert_eq!(send(&daemon, "google-pubsub", &forged).0, 401, "{header}");
    }
    let good = token(&json!({"alg": "RS256"}), &claims, |signed| rsa_sign(&ours, signed));
    assert_eq!(send(&daemon, "google-pubsub", &good), (200, String::new()), "the honest one");
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), 1);
}

/// A daemon that takes Google's push tokens of this key.
pub fn pubsub(dir: &Path, key: &str) -> Daemon {
    let config = format!(
        "[[receivers]]\nname = \"google-pubsub\"\nsecret = {{ text = '''{key}''' }}\n\
         set = {{ audience = \"a\", service_account = \"s@example.com\" }}\n"
    );
    Daemon::with_config(dir, &config, &[])
}

/// A new key.
pub fn rsa() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

fn rsa_sign(key: &RsaKeyPair, signed: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), signed, &mut signature).unwrap();
    signature
}

fn spki(key: &RsaKeyPair) -> Vec<u8> {
    AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap().as_ref().to_vec()
}

/// Its public half.
pub fn public_pem(key: &RsaKeyPair) -> String {
    let text = STANDARD.encode(spki(key));
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
