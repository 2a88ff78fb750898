//! What the providers' own libraries sign, sent by clients of other languages, comes out of a worker
//! byte for byte. `tests/run` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::client::{GITHUB, SECRET, sha256_hex};
use crate::daemon::{Daemon, wait_until};
use crate::signing::WHSEC;
use crate::worker::{body, drain};

/// Content, event, delivery id: what must be the same at both ends.
type Fact = (String, String, Option<String>);

#[test]
fn every_github_example_comes_out_as_octokit_signed_it() {
    let (sent, messages) = through_the_daemon("github", SECRET, &|url| node("github", url, SECRET));
    assert!(sent.len() > 700, "the package has more examples than {}", sent.len());
    assert_all_came(&sent, &messages);
}

#[test]
fn stripe_events_come_out_as_stripe_signed_them() {
    let (sent, messages) = through_the_daemon("stripe", WHSEC, &|url| node("stripe", url, WHSEC));
    assert_eq!(sent.len(), 4);
    assert_all_came(&sent, &messages);
}

#[test]
fn standard_webhooks_come_out_as_their_library_signed_them() {
    let (sent, messages) =
        through_the_daemon("standard-webhooks", WHSEC, &|url| node("standard-webhooks", url, WHSEC));
    assert_eq!(sent.len(), 3);
    assert_all_came(&sent, &messages);
}

#[test]
fn slack_events_commands_and_interactions_come_out_as_slack_signed_them() {
    let (sent, messages) = through_the_daemon("slack", SECRET, &|url| python("events", url));
    assert_eq!(sent.len(), 4);
    let masked: Vec<&Value> =
        messages.iter().filter(|m| m["masked"] == serde_json::json!(["json:/token"])).collect();
    assert_eq!(masked.len(), 2, "the token in an event is a credential, and the row names it");
    assert!(masked.iter().all(|m| m["data"]["token"] == "***"));
    // A masked body is another body; it is the same again with the token put back.
    let unmasked = |m: &Value| replace(&body(m), "\"token\": \"***\"", "\"token\": \"not-a-real-token\"");
    assert_eq!(facts(&sent, sent_fact), facts(&messages, |m| message_fact(m, &unmasked(m))));
}

#[test]
fn slacks_url_verification_is_answered_and_not_queued() {
    let (sent, messages) = through_the_daemon("slack", SECRET, &|url| python("url_verification", url));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["answer"], "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
    assert!(sent[0]["type"].as_str().unwrap().starts_with("text/plain"), "{sent:?}");
    assert!(messages.is_empty());
}

#[test]
fn githubs_ping_is_answered_and_not_queued() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let sent = node("github-ping", &url(&daemon, "github"), SECRET);
    assert_eq!(sent.len(), 11, "the package's pings");
    assert!(sent.iter().all(|line| line["status"] == 200 && line["answer"] == ""), "{sent:?}");
    wait_until("a line for each", || daemon.deliveries().len() == sent.len());
    for line in daemon.deliveries() {
        assert_eq!((line["outcome"].as_str(), line["actions"][0].as_str()), (Some("answered"), Some("ping")));
    }
    assert!(drain(dir.path()).is_empty());
}

/// Starts a daemon with one receiver, lets `send` post to it, stops it, and reads the queue.
fn through_the_daemon(
    receiver: &str,
    secret: &str,
    send: &dyn Fn(&str) -> Vec<Value>,
) -> (Vec<Value>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("[[receivers]]\nname = \"{receiver}\"\nsecret = {{ text = \"{secret}\" }}\n");
    let daemon = Daemon::with_config(dir.path(), &config, &[]);
    let sent = send(&url(&daemon, receiver));
    for line in &sent {
        assert_eq!(line["status"], 200, "{line}\n{}", daemon.text());
    }
    daemon.stop();
    (sent, drain(dir.path()))
}

fn assert_all_came(sent: &[Value], messages: &[Value]) {
    let (sent, came) = (facts(sent, sent_fact), facts(messages, |m| message_fact(m, &body(m))));
    assert_eq!(sent.len(), came.len(), "as many as were sent, and none twice");
    assert_eq!(sent, came);
}

fn facts(lines: &[Value], fact: impl Fn(&Value) -> Fact) -> Vec<Fact> {
    let mut facts: Vec<Fact> = lines.iter().map(fact).collect();
    facts.sort();
    facts
}

fn sent_fact(line: &Value) -> Fact {
    let text = |key: &str| line[key].as_str().map(str::to_owned);
    (text("sha256").unwrap(), text("event").unwrap(), text("delivery"))
}

fn message_fact(message: &Value, body: &[u8]) -> Fact {
    let delivery = message["deliveryId"].as_str().map(str::to_owned);
    (sha256_hex(body), message["actions"][0].as_str().unwrap().to_owned(), delivery)
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(bytes.to_vec()).unwrap().replace(from, to).into_bytes()
}

fn url(daemon: &Daemon, receiver: &str) -> String {
    format!("http://{}/api/webhooks/incoming/{receiver}", daemon.address)
}

fn node(kind: &str, url: &str, secret: &str) -> Vec<Value> {
    assert_installed(&clients().join("node_modules"));
    run(Command::new("node").arg(clients().join("send.mjs")).args([kind, url]).env("SECRET", secret))
}

fn python(kind: &str, url: &str) -> Vec<Value> {
    let python = clients().join(".venv/bin/python");
    assert_installed(&python);
    run(Command::new(python).arg(clients().join("slack.py")).args([kind, url]).env("SECRET", SECRET))
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn assert_installed(path: &Path) {
    assert!(path.exists(), "the senders' libraries are not installed; tests/run does that");
}

/// One JSON value per line of its output.
fn run(command: &mut Command) -> Vec<Value> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
