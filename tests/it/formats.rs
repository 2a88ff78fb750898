//! `queue.format`: whatever the form in the queue, a worker gets the webhook; and a CloudEvent is one to
//! whoever else reads it, says the SDK of another language.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::{GITHUB, GITHUB_PATH, SECRET, github_signature, request};
use crate::daemon::{Daemon, sluiced};
use crate::worker::{body, work};

/// A body, its content type, and what a reader of CloudEvents makes of its data.
struct Sample {
    name: &'static str,
    content_type: Option<&'static str>,
    body: Vec<u8>,
    kind: &'static str,
}

fn samples() -> [Sample; 5] {
    let sample =
        |name, content_type, body: &[u8], kind| Sample { name, content_type, body: body.into(), kind };
    let bytes: Vec<u8> = (0..=255).collect();
    [
        sample(
            "json",
            Some("application/json"),
            "{ \"n\": 1.50,\n \"text\": \"Grüße \\u20ac\" }".as_bytes(),
            "json",
        ),
        sample("form", Some("application/x-www-form-urlencoded"), b"payload=%7B%7D&a=1&a=b+c", "text"),
        sample("text", Some("text/plain; charset=utf-8"), "hällo\r\n\u{1F680}\0".as_bytes(), "text"),
        sample("binary", Some("application/octet-stream"), &bytes, "bytes"),
        sample("empty", None, b"", "none"),
    ]
}

/// Sends all samples to a daemon that queues in this form; what `work --print` says, and the daemon's lines.
fn through(format: &str) -> (String, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sluiced.toml");
    let receiver =
        format!("[[receivers]]\nname = \"github\"\nid = \"acme\"\nsecret = {{ text = \"{SECRET}\" }}\n");
    std::fs::write(&path, format!("{receiver}[queue]\nformat = \"{format}\"\n")).unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data, &["--config", path.to_str().unwrap()]);
    for sample in samples() {
        let signature = github_signature(SECRET, &sample.body);
        let mut headers = vec![
            ("X-Hub-Signature-256", &*signature),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", sample.name),
        ];
        headers.extend(sample.content_type.map(|content_type| ("Content-Type", content_type)));
        let answer = request(daemon.address, "POST", &format!("{GITHUB_PATH}/acme"), &headers, &sample.body);
        assert_eq!(answer.status, 200, "{format} {}", sample.name);
        daemon.wait_for_delivery(|line| line["delivery_id"] == sample.name);
    }
    let lines = daemon.deliveries();
    daemon.stop();
    let printed = work(&data, &["--exit-when-empty"]);
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    (String::from_utf8(printed.stdout).unwrap(), lines)
}

fn values(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// But for what differs from one run to the next.
fn without_the_moment(mut message: Value) -> Value {
    message["receivedAt"] = Value::Null;
    message["request"]["remoteAddr"] = Value::Null;
    message["request"]["headers"]["host"] = Value::Null;
    message
}

#[test]
fn a_raw_message_prints_like_a_context() {
    let (context, raw) = (values(&through("context").0), values(&through("raw").0));
    assert_eq!(context.len(), samples().len());
    for ((context, raw), sample) in context.iter().zip(&raw).zip(samples()) {
        assert_eq!(without_the_moment(context.clone()), without_the_moment(raw.clone()), "{}", sample.name);
        let bytes = if sample.body.is_empty() { Vec::new() } else { body(raw) };
        assert_eq!(bytes, sample.body, "{}", sample.name);
        assert_eq!((&raw["id"], &raw["deliveryId"]), (&json!("acme"), &json!(sample.name)));
    }
}

#[test]
fn cloud_events_are_read_by_the_sdk_for_python() {
    let python = clients().join(".venv/bin/python");
    read_by(Command::new(&python).arg(clients().join("read_events.py")), &python);
}

#[test]
fn cloud_events_are_read_by_the_sdk_for_javascript() {
    let modules = clients().join("node_modules/cloudevents");
    read_by(Command::new("node").arg(clients().join("read-events.mjs")), &modules);
}

fn read_by(reader: &mut Command, installed: &Path) {
    assert!(installed.exists(), "the readers' libraries are not installed; tests/run does that");
    let before = Timestamp::now().as_millisecond();
    let (printed, lines) = through("cloudevents");
    let after = Timestamp::now().as_millisecond();
    let (read, events) = (pipe(reader, &printed), values(&printed));
    let json = String::from_utf8(samples()[0].body.clone()).unwrap().replace('\n', " ");
    assert!(printed.contains(&format!("\"data\":{json}")), "verbatim");
    assert_eq!(read.len(), samples().len());
    for ((read, line), (event, sample)) in read.iter().zip(&lines).zip(events.iter().zip(samples())) {
        let name = sample.name;
        assert_eq!(read["specversion"], "1.0", "{name}");
        assert_eq!(read["type"], "github.push", "{name}");
        assert_eq!(read["source"], "/sluiced/github/acme", "{name}");
        assert_eq!(read["subject"], "acme", "{name}");
        assert_eq!(read["id"], line["message_id"], "{name}");
        assert_eq!(read["delivery"], name);
        assert_eq!(read["datacontenttype"], json!(sample.content_type), "{name}");
        let time_ms = read["timeMs"].as_i64().unwrap();
        assert!((before..=after).contains(&time_ms), "{name}: {time_ms}");
        let time: Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(time.as_millisecond(), time_ms, "{name}");
        assert_data(&read["data"], &sample);
    }
}

fn assert_data(data: &Value, sample: &Sample) {
    assert_eq!(data["kind"], sample.kind, "{}", sample.name);
    match sample.kind {
        "none" => {}
        "json" => assert_eq!(data["value"], serde_json::from_slice::<Value>(&sample.body).unwrap()),
        _ => assert_eq!(
            STANDARD.decode(data["base64"].as_str().unwrap()).unwrap(),
            sample.body,
            "{}",
            sample.name
        ),
    }
}

/// Lines in, one value a line out.
fn pipe(reader: &mut Command, lines: &str) -> Vec<Value> {
    let mut child = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    values(&String::from_utf8(output.stdout).unwrap())
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

#[test]
fn check_shows_the_format_and_refuses_what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sluiced.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = sluiced().args(["check", GITHUB, "--config"]).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text.into_owned())
    };
    let (code, shown) = check("[queue]\nformat = \"raw\"\n");
    let line = shown.lines().find(|line| line.contains("queue.format")).unwrap_or_else(|| panic!("{shown}"));
    assert!(code == Some(0) && line.contains("raw") && line.contains("sluiced.toml:2"), "{shown}");
    let (code, refused) = check("[queue]\nformat = \"xml\"\n");
    assert!(
        code == Some(78) && refused.contains("sluiced.toml:2:10") && refused.contains("did you mean `raw`?"),
        "{refused}"
    );
}
