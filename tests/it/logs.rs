//! One line per delivery, with every field of its type; nothing in it that is secret.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::client::{
    GITHUB, GITHUB_PATH, SECRET, github_request, github_signature, hmac_sha256_hex, post, request, send_raw,
};
use crate::daemon::Daemon;
use crate::signing::{seconds_from_now, slack};

/// The fields, each with the types that it may have.
const FIELDS: [(&str, &str); 17] = [
    ("ts", "string"),
    ("level", "string"),
    ("msg", "string"),
    ("outcome", "string"),
    ("reason", "string or null"),
    ("receiver", "string or null"),
    ("id", "string or null"),
    ("actions", "array"),
    ("delivery_id", "string or null"),
    ("message_id", "string or null"),
    ("status", "number"),
    ("bytes", "number"),
    ("verify_us", "number or null"),
    ("enqueue_us", "number or null"),
    ("total_us", "number"),
    ("client", "string"),
    ("durable", "string or null"),
];

#[test]
fn an_accepted_webhook_has_every_field() {
    let lines = lines_of(&[github_request("d1", b"{\"a\":1}")], "");
    let line = &lines[0];
    assert_fields(line);
    assert_eq!(
        [&line["level"], &line["outcome"], &line["receiver"], &line["delivery_id"], &line["durable"]],
        ["info", "accepted", "github", "d1", "embedded"]
    );
    assert_eq!((&line["id"], &line["actions"]), (&"".into(), &serde_json::json!(["push"])));
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &7.into()));
    assert_eq!(line["client"], "127.0.0.1");
    assert!(line["reason"].is_null() && line["message_id"].is_string());
    assert!(line["verify_us"].is_u64() && line["enqueue_us"].is_u64());
    assert!(line["total_us"].as_u64() >= line["enqueue_us"].as_u64());
}

#[test]
fn an_answered_handshake_has_its_name_and_no_message() {
    let body = br#"{"type":"url_verification","challenge":"c1"}"#;
    let lines = lines_of(&[slack(&seconds_from_now(0).to_string(), body)], "");
    let line = &lines[0];
    assert_fields(line);
    assert_eq!([&line["level"], &line["outcome"], &line["receiver"]], ["info", "answered", "slack"]);
    assert_eq!(line["actions"], serde_json::json!(["url_verification"]));
    assert!(line["message_id"].is_null() && line["durable"].is_null() && line["enqueue_us"].is_null());
    assert!(line["verify_us"].is_u64());
}

#[test]
fn a_refused_webhook_has_its_reason() {
    let forged = post("github", &[("X-Hub-Signature-256", &github_signature("guess", b"{}"))], b"{}");
    let unknown = post("nobody/at-all", &[], b"{}");
    let lines = lines_of(&[forged, unknown, b"no http\r\n\r\n".to_vec()], "");
    for line in &lines {
        assert_fields(line);
        assert_eq!([&line["level"], &line["outcome"]], ["warn", "refused"]);
        assert!(line["message_id"].is_null() && line["durable"].is_null());
    }
    assert_eq!([&lines[0]["reason"], &lines[0]["receiver"]], ["signature_mismatch", "github"]);
    assert!(lines[0]["verify_us"].is_u64());
    assert_eq!(
        [&lines[1]["reason"], &lines[1]["path"]],
        ["unknown_receiver", "/api/webhooks/incoming/nobody/at-all"]
    );
    assert!(lines[1]["receiver"].is_null() && lines[1]["id"].is_null() && lines[1]["verify_us"].is_null());
    assert_eq!(lines[2]["reason"], "request_malformed");
}

#[test]
fn a_failed_webhook_is_an_error() {
    let config = "[queue.embedded]\nmax = \"1B\"\n";
    let lines = lines_of(&[github_request("d1", b"{}")], config);
    let line = &lines[0];
    assert_fields(line);
    assert_eq!([&line["level"], &line["outcome"], &line["reason"]], ["error", "failed", "not_durable"]);
    assert_eq!(line["status"], 503);
    assert!(line["durable"].is_null() && line["delivery_id"] == "d1" && line["detail"].is_string());
}

#[test]
fn a_long_value_is_cut_and_a_long_list_too() {
    let long = "x".repeat(5_000);
    let lines = lines_of(&[github_request(&long, b"{}")], "");
    let delivery = lines[0]["delivery_id"].as_str().unwrap();
    assert!(delivery.len() < 300 && delivery.starts_with("xxxx"), "{} bytes", delivery.len());
}

#[test]
fn neither_secrets_nor_bodies_are_written_at_any_level() {
    for level in ["debug", "trace"] {
        let dir = tempfile::tempdir().unwrap();
        let level = format!("--log-level={level}");
        let token = "--receiver=generic-token=text:the-token-in-a-header";
        let slack_receiver = format!("--receiver=slack=text:{SECRET}");
        let daemon = Daemon::start(dir.path(), &[GITHUB, token, &slack_receiver, &level]);
        let body =
            br#"{"confidential":"body-content","type":"url_verification","challenge":"the-challenge"}"#;
        let wrong = hmac_sha256_hex("guess", body);
        let bearer =
            [("X-Webhook-Token", "the-token-in-a-header"), ("Authorization", "Bearer a-bearer-token")];
        for bytes in [
            github_request("d1", body),
            github_request("d2", &body[..20]),
            post("github", &[("X-Hub-Signature-256", &format!("sha256={wrong}"))], body),
            post("generic-token", &bearer, body),
            post("generic-token", &[("X-Webhook-Token", "a-guessed-token")], body),
            post("generic-token?code=a-token-in-the-query", &[], body),
            post("nobody?code=a-token-in-the-query", &bearer, body),
            slack(&seconds_from_now(0).to_string(), body),
            b"POST /api/webhooks/incoming/github HTTP/1.1\r\nAuthorization: Bearer a-bearer-token\r\nbroken\r\n\r\n".to_vec(),
        ] {
            assert!(send_raw(daemon.address, &bytes).is_some());
        }
        let text = daemon.stop();
        let right = hmac_sha256_hex(SECRET, body);
        let shown = [
            SECRET,
            "the-token-in-a-header",
            "a-bearer-token",
            "a-guessed-token",
            "a-token-in-the-query",
            "body-content",
            "the-challenge",
            // The signature that would have been right.
            right.as_str(),
        ]
        .into_iter()
        .filter(|secret| text.contains(*secret));
        assert_eq!(shown.collect::<Vec<_>>(), [] as [&str; 0], "at {level}:\n{text}");
    }
}

#[test]
fn floods_of_refusals_are_thinned_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    for _ in 0..200 {
        assert_eq!(request(daemon.address, "POST", "/wp-login.php", &[], b"").status, 404);
        assert_eq!(request(daemon.address, "POST", GITHUB_PATH, &[], b"{}").status, 401);
    }
    let text = daemon.stop();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for reason in ["unknown_receiver", "signature_missing"] {
        let of_reason = || lines.iter().filter(|line| line["reason"] == reason);
        let alone: Vec<&Value> = of_reason().filter(|line| line["msg"] == "delivery").collect();
        let counted: u64 = of_reason().filter_map(|line| line["count"].as_u64()).sum();
        assert_eq!(alone.len() as u64 + counted, 200, "{reason}: none is forgotten\n{text}");
        for at in &alone {
            let second = |line: &Value| line["ts"].as_str().unwrap()[..19].to_owned();
            let same = alone.iter().filter(|line| second(line) == second(at)).count();
            // A window of a second lies in two seconds of the clock.
            assert!(same <= 20, "{reason}: {same} in one second");
        }
        assert!(counted >= 100, "{reason}: {counted}");
    }
}

#[test]
fn jq_reads_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB, "--log-level=trace"]);
    for number in 0..20 {
        send_raw(daemon.address, &github_request(&format!("\"{number}\\\t'"), b"{}")).unwrap();
        send_raw(daemon.address, &[b'\x16', b'\x03', number, b'\n', b'\r', b'\n']);
    }
    let text = daemon.stop();
    let mut jq = Command::new("jq")
        .args(["-r", "[.ts, .level, .msg] | select(all(type == \"string\")) | .[0]"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    jq.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = jq.wait_with_output().unwrap();
    assert!(output.status.success());
    let times = String::from_utf8(output.stdout).unwrap();
    assert_eq!(times.lines().count(), text.lines().count());
    assert!(times.lines().all(|ts| ts.len() == "2026-11-24T02:30:53.123456Z".len() && ts.ends_with('Z')));
}

/// Sends each and returns the lines of the deliveries, in order.
fn lines_of(requests: &[Vec<u8>], config: &str) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let slack = format!("--receiver=slack=text:{SECRET}");
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB, &slack]);
    for request in requests {
        send_raw(daemon.address, request).expect("an answer");
    }
    let text = daemon.stop();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lines: Vec<Value> = lines.into_iter().filter(|line| line["msg"] == "delivery").collect();
    assert_eq!(lines.len(), requests.len(), "{text}");
    lines
}

fn assert_fields(line: &Value) {
    for (name, types) in FIELDS {
        let value = line.get(name).unwrap_or_else(|| panic!("{name} is missing: {line}"));
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert!(types.split(" or ").any(|wanted| wanted == kind), "{name} is {kind}: {line}");
    }
    assert_eq!(line["msg"], "delivery");
}
