//! `sluiced send`: signs as the provider would; the daemon takes it.

use serde_json::Value;

use crate::client::{GITHUB, SECRET};
use crate::command::{Ended, end, run};
use crate::daemon::{Daemon, sluiced};
use crate::signing::WHSEC;
use crate::worker::{body, drain};

/// Each row with a secret of its form, and the event's name if it has a place for it.
const ROWS: [(&str, &str, Option<&str>); 6] = [
    ("github", SECRET, Some("push")),
    ("stripe", WHSEC, Some("invoice.paid")),
    ("slack", SECRET, Some("app_mention")),
    ("standard-webhooks", WHSEC, Some("contact.created")),
    ("generic-hmac", SECRET, None),
    ("generic-token", SECRET, None),
];

#[test]
fn every_row_is_signed_so_that_the_daemon_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let receivers = ROWS.map(|(name, secret, _)| format!("--receiver={name}=text:{secret}"));
    let daemon = Daemon::start(dir.path(), &receivers.each_ref().map(String::as_str));
    let to = format!("--to=http://{}", daemon.address);
    for (name, secret, event) in ROWS {
        let secret = format!("--secret=text:{secret}");
        let ran = run(&[&["send", name][..], event.as_slice(), &[&to, &secret]].concat());
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}\n{}", daemon.text());
        assert!(ran.stdout.starts_with("200"), "{name}: {ran:?}");
    }
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), ROWS.len());
    for (message, (name, _, event)) in messages.iter().zip(ROWS) {
        assert_eq!(message["receiver"], name);
        if let Some(event) = event {
            assert_eq!(message["actions"][0], event, "{name}");
        }
    }
}

#[test]
fn a_body_of_ones_own_is_sent_as_it_is() {
    let (dir, daemon) = started();
    let own = b"{ \"of\":\r\n my own, and no JSON\xff\n";
    let file = dir.path().join("body");
    std::fs::write(&file, own).unwrap();
    let data = format!("--data={}", file.display());
    for name in ["github", "stripe", "slack", "standard-webhooks", "generic-hmac", "generic-token"] {
        let secret = ROWS.iter().find(|row| row.0 == name).unwrap().1;
        let secret = format!("--secret=text:{secret}");
        let ran = run(&["send", name, "--to", &url(&daemon), &secret, &data]);
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}");
    }
    let mut command = sluiced();
    command.args(["send", "github", "--to", &url(&daemon), "--secret", "env:MY_SECRET", "--data", "-"]);
    command.env("MY_SECRET", SECRET);
    let ran = end(command, own);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 7);
    assert!(messages.iter().all(|message| body(message) == own));
}

#[test]
fn a_count_sends_as_many_each_with_an_id_of_its_own() {
    let (dir, daemon) = started();
    let secret = format!("--secret=text:{SECRET}");
    let ran = run(&["send", "github", "push", "--to", &url(&daemon), &secret, "--count=25"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("25"), "{ran:?}");
    daemon.stop();
    let mut ids: Vec<String> =
        drain(dir.path()).iter().map(|message| message["deliveryId"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 25);
}

#[test]
fn headers_can_be_added_and_replaced() {
    let (dir, daemon) = started();
    let secret = format!("--secret=text:{SECRET}");
    let headers = ["--header=X-Own: 1", "--header=X-GitHub-Delivery: chosen"];
    let ran = run(&[&["send", "github", "push", "--to", &url(&daemon), &secret][..], &headers].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    daemon.stop();
    let message: &Value = &drain(dir.path())[0];
    assert_eq!(
        (&message["deliveryId"], &message["request"]["headers"]["x-own"][0]),
        (&"chosen".into(), &"1".into())
    );
}

#[test]
fn an_id_and_a_whole_url_are_understood() {
    let (dir, daemon) = started();
    let secret = format!("--secret=text:{SECRET}");
    let whole = format!("http://{}/api/webhooks/incoming/github/acme", daemon.address);
    assert_eq!(run(&["send", "github/acme", "push", "--to", &url(&daemon), &secret]).code, Some(0));
    assert_eq!(run(&["send", "github", "push", "--to", &whole, &secret]).code, Some(0));
    daemon.stop();
    assert!(drain(dir.path()).iter().all(|message| message["id"] == "acme"));
}

#[test]
fn a_refusal_is_shown_and_exit_1() {
    let (dir, daemon) = started();
    let ran = run(&["send", "github", "push", "--to", &url(&daemon), "--secret=text:guess"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("401") && ran.stdout.contains("signature_mismatch"), "{ran:?}");
    daemon.stop();
    assert!(drain(dir.path()).is_empty());
}

#[test]
fn what_cannot_be_sent_says_why() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("--to=http://{nobody}");
    // Discord signs with a private key, and a receiver has the public one.
    let discord = "--secret=text:5ac1e594aa9a782bd845e7004f181d5a83fac4c738c0f1e31581096c6df2ffff";
    let rows: [(&[&str], i32, &str); 7] = [
        (&["github", &nobody, "--secret=text:x"], 1, "is the daemon running"),
        (&["gihtub", &nobody, "--secret=text:x"], 2, "did you mean `github`"),
        (&["github", "--to=nowhere", "--secret=text:x"], 2, "http://127.0.0.1:8080"),
        (&["github", &nobody, "--secret=env:NOT_SET_ANYWHERE"], 2, "NOT_SET_ANYWHERE"),
        (&["github", &nobody, "--secret=hunter2"], 2, "env:NAME"),
        (&["github", &nobody, "--secret=text:x", "--data=/not/there"], 2, "/not/there"),
        (&["discord", &nobody, discord], 2, "signs with a private key"),
    ];
    for (args, code, told) in rows {
        let ran: Ended = run(&[&["send"], args].concat());
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(told), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn a_secret_given_by_mistake_is_not_repeated() {
    let ran = run(&["send", "github", "--to=http://127.0.0.1:1", "--secret=hunter2"]);
    assert_eq!(ran.code, Some(2));
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

/// A daemon with a receiver for each row, and one with an id.
fn started() -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    let mut args: Vec<String> =
        ROWS.iter().map(|(name, secret, _)| format!("--receiver={name}=text:{secret}")).collect();
    args.push(GITHUB.replace("=github=", "=github/acme="));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let daemon = Daemon::start(dir.path(), &args);
    (dir, daemon)
}

fn url(daemon: &Daemon) -> String {
    format!("http://{}", daemon.address)
}
