//! Addresses that a request carries: the daemon calls none but those that the provider's row allows. What hides
//! behind an allowed name is for `src/keys/tests.rs`.

use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::json;

use crate::client::{post, send_raw};
use crate::daemon::Daemon;
use crate::tokens::{public_pem, pubsub, rsa, token};
use crate::worker::drain;

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:topic";

/// A port of this machine where nobody may call.
struct Trap(TcpListener);

impl Trap {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Addresses that lead here, to the machine's own services, or nowhere, some of them dressed up as one that
    /// is allowed.
    fn addresses(&self, allowed: &str) -> Vec<String> {
        let port = self.0.local_addr().unwrap().port();
        let plain =
            ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1"];
        let plain = plain
            .iter()
            .flat_map(|host| [format!("https://{host}:{port}/x.pem"), format!("http://{host}:{port}/x.pem")]);
        let dressed_up = [
            format!("https://{allowed}@127.0.0.1:{port}/x.pem"),
            format!("https://{allowed}:x@127.0.0.1:{port}/x.pem"),
            format!("https://{allowed}.localhost:{port}/x.pem"),
            format!("https://127.0.0.1:{port}/{allowed}/x.pem"),
            format!("https://127.0.0.1:{port}#@{allowed}/x.pem"),
            format!("https://127.0.0.1:{port}?@{allowed}/x.pem"),
            format!("https://127.0.0.1:{port}\\@{allowed}/x.pem"),
            format!("https://{allowed}:{port}/x.pem"),
            format!("http://{allowed}/x.pem"),
            format!("https://{allowed}./x.pem"),
            format!("https://{allowed}%00.localhost:{port}/x.pem"),
            format!(" https://127.0.0.1:{port}/x.pem"),
            format!("//127.0.0.1:{port}/x.pem"),
            "https://169.254.169.254/latest/meta-data/".to_owned(),
            "file:///etc/passwd".to_owned(),
            format!("gopher://127.0.0.1:{port}/x"),
        ];
        plain.chain(dressed_up).collect()
    }

    fn assert_untouched(&self) {
        let called = self.0.accept();
        assert!(called.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock), "{called:?}");
    }
}

fn sns(kind: &str, certificate: &str, subscribe: &str) -> Vec<u8> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let body = json!({
        "Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC, "Message": "m",
        "Timestamp": now, "SignatureVersion": "2", "Signature": "AAAA", "Token": "t",
        "SigningCertURL": certificate, "SubscribeURL": subscribe,
    });
    post("aws-sns", &[("Content-Type", "text/plain")], body.to_string().as_bytes())
}

fn refused(daemon: &Daemon, request: &[u8], what: &str) {
    let answer = send_raw(daemon.address, request).expect("an answer");
    assert_eq!((answer.status, answer.reason().as_str()), (401, "certificate_untrusted"), "{what}");
}

#[test]
fn a_certificate_is_fetched_from_no_host_that_the_row_doesnt_name() {
    let dir = tempfile::tempdir().unwrap();
    let trap = Trap::new();
    let topic = format!("--receiver-set=aws-sns.topic_arn=text:{TOPIC}");
    let webhook = "--receiver-set=paypal.webhook_id=text:1AB";
    let daemon = Daemon::start(dir.path(), &["--receiver=aws-sns", &topic, "--receiver=paypal", webhook]);
    for url in trap.addresses("sns.us-east-1.amazonaws.com") {
        refused(&daemon, &sns("Notification", &url, &url), &url);
    }
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for url in trap.addresses("api.paypal.com") {
        let headers = [
            ("PayPal-Transmission-Id", "t"),
            ("PayPal-Transmission-Time", &now),
            ("PayPal-Transmission-Sig", "AAAA"),
            ("PayPal-Auth-Algo", "SHA256withRSA"),
            ("PayPal-Cert-Url", &url),
        ];
        refused(&daemon, &post("paypal", &headers, b"{}"), &url);
    }
    trap.assert_untouched();
    daemon.stop();
    assert!(drain(dir.path()).is_empty());
}

#[test]
fn an_unsigned_subscription_is_never_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let trap = Trap::new();
    let topic = format!("--receiver-set=aws-sns.topic_arn=text:{TOPIC}");
    let daemon = Daemon::start(dir.path(), &["--receiver=aws-sns", &topic]);
    for url in trap.addresses("sns.us-east-1.amazonaws.com") {
        refused(&daemon, &sns("SubscriptionConfirmation", &url, &url), &url);
    }
    trap.assert_untouched();
    assert!(!daemon.stop().contains("subscription confirmed"));
}

/// The hosts of published keys stand in the row: what a token says of its key can't change them.
#[test]
fn a_token_leads_to_no_other_keys() {
    let dir = tempfile::tempdir().unwrap();
    let trap = Trap::new();
    let daemon = pubsub(dir.path(), &public_pem(&rsa()));
    for url in trap.addresses("www.googleapis.com") {
        let token = token(
            &json!({"alg": "RS256", "kid": &url, "jku": &url, "x5u": &url}),
            &json!({"aud": "a", "email": "s@example.com", "iss": "https://accounts.google.com"}),
            |_| vec![0; 256],
        );
        let authorization = format!("Bearer {token}");
        let answer =
            send_raw(daemon.address, &post("google-pubsub", &[("Authorization", &authorization)], b"{}"));
        assert_eq!(answer.unwrap().status, 401, "{url}");
    }
    trap.assert_untouched();
    daemon.stop();
    assert!(drain(dir.path()).is_empty());
}
