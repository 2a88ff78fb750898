//! What a program that has never heard of us makes of the messages in a broker: the body is the body, the ids are
//! where the broker's users look for them, and the broker keeps the message on disk.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::broker_common::{Broker, Read, daemon, read, until_drained};
use crate::client::{GITHUB_PATH, SECRET, github_signature, request};

/// Bodies and their content types.
fn samples() -> [(&'static str, Vec<u8>); 4] {
    [
        ("application/json", "{ \"n\": 1.50,\r\n \"text\": \"Gr\u{fc}\u{df}e \\u20ac\" }\n".into()),
        ("application/x-www-form-urlencoded", b"payload=%7B%7D&a=1&a=b+c".to_vec()),
        ("text/plain; charset=utf-8", "h\u{e4}llo\r\n\u{1F680}".into()),
        ("application/octet-stream", (0..=255).collect()),
    ]
}

/// Sends a webhook of every kind in this form, and has them read by another program.
pub fn read_by_others(broker: &impl Broker, format: &str) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("sluiced.toml");
    std::fs::write(&config, format!("[queue]\nformat = \"{format}\"\n")).unwrap();
    let config = format!("--config={}", config.display());
    let queue = format!("others-{format}");
    let daemon = daemon(broker, &dir.path().join("data"), &[&config, &format!("--queue-name={queue}")]);
    for (content_type, body) in samples() {
        let signature = github_signature(SECRET, &body);
        let headers = [
            ("Content-Type", content_type),
            ("X-Hub-Signature-256", &*signature),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", content_type),
        ];
        let answer = request(daemon.address, "POST", GITHUB_PATH, &headers, &body);
        assert_eq!(answer.status, 200, "{content_type}");
    }
    let ids = samples().map(|(content_type, _)| {
        let line = daemon.wait_for_delivery(|line| line["delivery_id"] == content_type);
        line["message_id"].as_str().unwrap().to_owned()
    });
    // At first the destination is only being created, and messages wait in the spool.
    until_drained(&daemon);
    daemon.stop();
    let messages = read(broker, &queue);
    assert_eq!(messages.len(), samples().len(), "{format}");
    for ((content_type, body), id) in samples().iter().zip(&ids) {
        let message = messages.iter().find(|message| id_in(message).as_ref() == Some(id));
        let message = message.unwrap_or_else(|| panic!("{format}, {content_type}: no message {id}"));
        assert!(message.persistent, "{format}, {content_type}");
        assert_eq!(message.id.as_ref().unwrap_or(id), id, "{format}, {content_type}");
        assert_body(message, content_type, body);
    }
}

/// Our id, wherever the form has it.
fn id_in(message: &Read) -> Option<String> {
    let header =
        ["sluiced-message-id", "cloudEvents:id", "ce-id"].iter().find_map(|name| message.headers.get(*name));
    let of_json = || {
        let value: Value = serde_json::from_slice(&message.bytes()).ok()?;
        let id = if value.get("specversion").is_some() { &value["id"] } else { &value["messageId"] };
        Some(id.clone())
    };
    Some(header.cloned().or_else(of_json)?.as_str()?.to_owned())
}

/// The body is what was sent: the message's own bytes where its form is the bare body, and otherwise verbatim in it.
fn assert_body(message: &Read, content_type: &str, body: &[u8]) {
    let bytes = message.bytes();
    let is_bare = message.headers.keys().any(|name| {
        name.starts_with("sluiced-") || name.starts_with("ce-") || name.starts_with("cloudEvents:")
    });
    if is_bare {
        assert_eq!(bytes, body, "{content_type}");
        assert_eq!(message.content_type.as_deref(), Some(content_type));
        return;
    }
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let base64 = ["bodyBase64", "data_base64"].iter().find_map(|name| value.get(name));
    match (base64, std::str::from_utf8(body)) {
        (Some(base64), _) => assert_eq!(STANDARD.decode(base64.as_str().unwrap()).unwrap(), body),
        (None, Ok(sent)) if content_type == "application/json" => {
            assert!(text.contains(&format!("\"data\":{sent}")), "not verbatim: {text}");
        }
        (None, Ok(sent)) => assert!(value["data"] == json!(sent) || value["body"] == json!(sent), "{text}"),
        (None, Err(_)) => panic!("{content_type} has no text: {text}"),
    }
}
