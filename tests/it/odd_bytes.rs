//! Authentic webhooks with odd bytes: queued as they are, never thrown away for their form, and
//! harmless in the log.

use crate::attack::assert_clean;
use crate::client::{Answer, GITHUB, SECRET, github_signature, send_raw};
use crate::daemon::Daemon;
use crate::worker::{body, drain};

/// A signed webhook with a header of its own, as raw bytes.
fn signed(delivery: &[u8], header: &[u8], body: &[u8]) -> Vec<u8> {
    let signature = github_signature(SECRET, body);
    let length = body.len().to_string();
    [
        b"POST /api/webhooks/incoming/github HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n",
        b"X-Hub-Signature-256: ".as_slice(),
        signature.as_bytes(),
        b"\r\nContent-Length: ",
        length.as_bytes(),
        b"\r\nX-GitHub-Delivery: ",
        delivery,
        b"\r\n",
        header,
        b"\r\n\r\n",
        body,
    ]
    .concat()
}

#[test]
fn authentic_bodies_that_are_not_what_their_type_says_are_queued_as_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let deep = "[".repeat(100_000);
    let bodies: [&[u8]; 9] = [
        b"",
        b"{\"broken\":",
        b"{} {}",
        b"{\"twice\":1,\"twice\":2}",
        b"\xff\xfe\xfd",
        b"{\"half a character\":\"\xc3\"}",
        b"\xef\xbb\xbf{\"bom\":true}",
        b"\0\x01\x02\r\n\r\nPOST / HTTP/1.1\r\n\r\n",
        deep.as_bytes(),
    ];
    for (number, sent) in bodies.iter().enumerate() {
        let delivery = format!("odd-{number}");
        let answer = send_raw(daemon.address, &signed(delivery.as_bytes(), b"X-GitHub-Event: push", sent));
        assert_eq!(answer.unwrap().status, 200, "{delivery}");
    }
    assert_clean(&daemon.stop());
    let messages = drain(dir.path());
    assert_eq!(messages.len(), bodies.len());
    for (message, sent) in messages.iter().zip(bodies) {
        assert_eq!(body(message), sent, "{}", message["deliveryId"]);
    }
}

#[test]
fn odd_bytes_in_headers_reach_the_worker_and_not_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB, "--log-level=debug"]);
    let accepted = |bytes: Vec<u8>| -> Answer { send_raw(daemon.address, &bytes).expect("an answer") };
    // An 8-bit CSI, Latin-1, a mark that turns the direction of writing, quotes, a forged line's end.
    let deliveries: [(&[u8], &str); 4] = [
        (b"csi-\x9b2J", "csi-\u{9b}2J"),
        (b"latin-\xe9", "latin-\u{e9}"),
        ("turned-\u{202e}".as_bytes(), "turned-\u{202e}"),
        (br#"quoted-","level":"error"}\n"#, r#"quoted-","level":"error"}\n"#),
    ];
    for (raw, _) in deliveries {
        assert_eq!(accepted(signed(raw, b"X-GitHub-Event: push\x85", b"{}")).status, 200);
    }
    assert_eq!(accepted(signed(b"tab", b"X-GitHub-Event: a\tb", b"{}")).status, 200);
    let text = daemon.stop();
    assert_clean(&text);
    assert!(!text.contains('\u{202e}'), "escaped in the log");
    let messages = drain(dir.path());
    for (message, (_, read)) in messages.iter().zip(deliveries) {
        assert_eq!(message["deliveryId"], read);
        assert_eq!(message["actions"][0], "push\u{85}");
    }
    assert_eq!(messages[4]["actions"][0], "a\tb");
}

#[test]
fn every_value_of_a_repeated_header_reaches_the_worker_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    let headers =
        b"X-GitHub-Event: push\r\nX-Many: 1\r\nx-many: 2\r\nX-MANY:\r\nAuthorization: Bearer made-up";
    assert_eq!(send_raw(daemon.address, &signed(b"many", headers, b"{}")).unwrap().status, 200);
    daemon.stop();
    let messages = drain(dir.path());
    let headers = &messages[0]["request"]["headers"];
    assert_eq!(headers["x-many"], serde_json::json!(["1", "2", ""]));
    assert_eq!(headers["authorization"], serde_json::json!(["***"]), "a credential is masked");
    assert_eq!(messages[0]["masked"], serde_json::json!(["header:authorization"]));
}
