//! Recorded webhooks sent again: at another id, after a restart.

use bytes::Bytes;
use jiff::Timestamp;
use sluiced::catalog::find;
use sluiced::verify::{PublicUrl, ReceiverSettings, Verifier};

use crate::client::{SECRET, github_signature, post, send_raw};
use crate::daemon::Daemon;
use crate::signing::{seconds_from_now, stripe};
use crate::worker::drain;

fn status(daemon: &Daemon, request: &[u8]) -> u16 {
    send_raw(daemon.address, request).expect("an answer").status
}

#[test]
fn a_webhook_of_one_id_is_refused_at_an_id_with_another_secret() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(
        dir.path(),
        &["--receiver=github/a=text:it-is-only-a-test-secret", "--receiver=github/b=text:b"],
    );
    let headers =
        [("X-Hub-Signature-256", github_signature(SECRET, b"{}")), ("X-GitHub-Delivery", "d".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(status(&daemon, &post("github/a", &headers, b"{}")), 200);
    assert_eq!(status(&daemon, &post("github/b", &headers, b"{}")), 401);
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), 1);
}

/// Who gives two ids the same secret lets a webhook of one in at the other; a worker can tell them apart.
#[test]
fn at_an_id_with_the_same_secret_it_is_another_message() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(
        dir.path(),
        &[
            "--receiver=github/a=text:it-is-only-a-test-secret",
            "--receiver=github/b=text:it-is-only-a-test-secret",
        ],
    );
    let signature = github_signature(SECRET, b"{}");
    let headers = [("X-Hub-Signature-256", signature.as_str()), ("X-GitHub-Delivery", "d")];
    for id in ["github/a", "github/b", "github/a"] {
        assert_eq!(status(&daemon, &post(id, &headers, b"{}")), 200);
    }
    daemon.stop();
    let messages = drain(dir.path());
    let ids: Vec<_> = messages.iter().map(|message| &message["messageId"]).collect();
    assert!(ids[0] != ids[1] && ids[0] == ids[2], "{ids:?}");
}

/// Where the URL is signed, the same secret doesn't help either.
#[test]
fn where_the_url_is_signed_another_id_refuses_it_whatever_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let public = "https://hooks.example.com";
    let daemon = Daemon::start(
        dir.path(),
        &[
            "--receiver=twilio/a=text:it-is-only-a-test-secret",
            "--receiver=twilio/b=text:it-is-only-a-test-secret",
            &format!("--public-url={public}"),
        ],
    );
    let settings = ReceiverSettings {
        secrets: vec![SECRET.into()],
        public_url: Some(PublicUrl::base(public).unwrap()),
        ..ReceiverSettings::default()
    };
    let sender = Verifier::compile(find("twilio").unwrap(), &settings).unwrap();
    let url = format!("{public}/api/webhooks/incoming/twilio/a");
    let body = Bytes::from_static(b"MessageSid=SM1&Body=hello");
    let signed = sender.sign(None, Some(body), &url, Timestamp::now(), "SM1").unwrap();
    let headers: Vec<(&str, &str)> =
        signed.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(status(&daemon, &post("twilio/a", &headers, &signed.body)), 200);
    assert_eq!(status(&daemon, &post("twilio/b", &headers, &signed.body)), 401);
    assert_eq!(status(&daemon, &post("twilio/a?x=1", &headers, &signed.body)), 401);
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), 1);
}

#[test]
fn a_restart_makes_no_recorded_webhook_fresh_again() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = "--receiver=stripe=text:it-is-only-a-test-secret";
    let body = br#"{"id":"evt_1","type":"charge.succeeded"}"#;
    let (fresh, stale) =
        (stripe(SECRET, seconds_from_now(-5), body), stripe(SECRET, seconds_from_now(-301), body));
    for _ in 0..2 {
        let daemon = Daemon::start(dir.path(), &[receiver]);
        assert_eq!(status(&daemon, &stale), 401);
        assert_eq!(status(&daemon, &fresh), 200, "within the tolerance it can't be told from a retry");
        daemon.stop();
    }
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["messageId"], messages[1]["messageId"], "by which a worker knows it");
}
