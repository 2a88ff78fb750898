//! `sluiced verify`: the daemon's verdict on a captured request, and the mistake that explains a refusal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{SECRET, github_request, hmac_sha256_hex};
use crate::command::{Ended, run, run_with};
use crate::daemon::Daemon;
use crate::signing::{seconds_from_now, standard, stripe};

const BODY: &str = r#"{"zen":"a, b","n":[1,2]}"#;
const GITHUB_SECRET: &str = "text:it-is-a-secret";

/// A GitHub delivery of that body, signed for another one; the head's lines end as told.
fn captured(end: &str, signed: &str, body: &str) -> String {
    let signature = hmac_sha256_hex("it-is-a-secret", signed.as_bytes());
    let head = [
        "POST /in/github?x=1 HTTP/1.1",
        "Host: h.example",
        "Content-Type: application/json",
        "X-GitHub-Event: push",
        "X-GitHub-Delivery: d-1",
        &format!("X-Hub-Signature-256: sha256={signature}"),
    ];
    format!("{}{end}{end}{body}", head.join(end))
}

fn verify(args: &[&str], request: &str) -> Ended {
    run_with(&[&["verify", "--json"], args].concat(), request.as_bytes())
}

fn hints(ended: &Ended) -> Vec<String> {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let hints = ended.json()["hints"].as_array().unwrap().clone();
    hints.iter().map(|hint| hint.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_authentic_request_is_accepted_as_the_daemon_would() {
    for end in ["\r\n", "\n"] {
        let ended = verify(&["github/acme", "--secret", GITHUB_SECRET], &captured(end, BODY, BODY));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        let expected = json!({
            "authentic": true, "outcome": "accepted", "reason": null, "detail": null, "status": 200,
            "scheme": "sha256", "actions": ["push"], "deliveryId": "d-1",
            "reply": { "status": 200, "contentType": null, "headers": {}, "body": "" },
            "hints": [], "notes": [],
        });
        assert_eq!(ended.json(), expected);
    }
    let text =
        run_with(&["verify", "GitHub", "--secret", GITHUB_SECRET], captured("\n", BODY, BODY).as_bytes());
    assert_eq!(text.code, Some(0));
    assert!(
        text.stdout.starts_with("accepted\n") && text.stdout.contains("delivery id  d-1"),
        "{}",
        text.stdout
    );
}

#[test]
fn a_forged_request_is_refused_as_the_daemon_would() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[crate::client::GITHUB]);
    let request = github_request("d-1", BODY.as_bytes());
    let request = String::from_utf8(request).unwrap().replace("zen", "zem");
    let answer = crate::client::send_raw(daemon.address, request.as_bytes()).unwrap();
    let ended = verify(&["github", "--secret", &format!("text:{SECRET}")], &request);
    let json = ended.json();
    assert_eq!(
        (ended.code, &json["authentic"], &json["outcome"]),
        (Some(1), &json!(false), &json!("refused"))
    );
    assert_eq!(json["reason"], "signature_mismatch");
    assert_eq!(json["status"], answer.status);
    assert_eq!(json["reply"]["contentType"], "application/problem+json");
    assert_eq!(json["reply"]["body"], *String::from_utf8_lossy(&answer.body));
    assert_eq!(json["hints"], json!([]));
    assert!(ended.stderr.contains("signature_mismatch"), "{ended:?}");
}

#[test]
fn the_daemon_logs_the_same_hints_at_debug_level_and_answers_none() {
    let refused = github_request("d-1", BODY.as_bytes());
    for (level, logged) in [("debug", true), ("info", false)] {
        let dir = tempfile::tempdir().unwrap();
        let secret = format!("--receiver=github=text:{SECRET} ");
        let daemon = Daemon::start(dir.path(), &[&secret, "--log-level", level]);
        let answer = crate::client::send_raw(daemon.address, &refused).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == 401 && !text.contains("white space"), "{text}");
        let line = daemon.wait_for_delivery(|line| line["outcome"] == "refused");
        let says = line["hints"][0].as_str().is_some_and(|hint| hint.contains("white space"));
        assert_eq!(says, logged, "{line}");
        daemon.stop();
    }
}

#[test]
fn a_handshake_is_answered_and_is_authentic_only_when_signed() {
    let ping = captured("\n", BODY, BODY).replace("push", "ping");
    let json = verify(&["github", "--secret", GITHUB_SECRET], &ping).json();
    assert_eq!((&json["outcome"], &json["authentic"]), (&json!("answered"), &json!(true)));
    assert_eq!((&json["actions"], &json["reason"]), (&json!(["ping"]), &Value::Null));
    let challenge = "GET /in/dropbox?challenge=abc HTTP/1.1\nHost: h\n";
    let ended = verify(&["dropbox", "--secret", "text:s"], challenge);
    let json = ended.json();
    assert_eq!(
        (ended.code, &json["outcome"], &json["authentic"]),
        (Some(0), &json!("answered"), &json!(false))
    );
    assert_eq!((&json["status"], &json["reply"]["body"]), (&json!(200), &json!("abc")));
}

#[test]
fn a_method_that_the_provider_never_sends_is_not_allowed() {
    let request = captured("\n", BODY, BODY).replace("POST", "PUT");
    let json = verify(&["github", "--secret", GITHUB_SECRET], &request).json();
    assert_eq!((&json["reason"], &json["status"]), (&json!("method_not_allowed"), &json!(405)));
    assert_eq!(json["reply"]["headers"]["allow"], "POST");
}

#[test]
fn several_secrets_are_tried_from_every_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "it-is-a-secret\n").unwrap();
    let file = format!("file:{}", path.display());
    let args = ["github", "--secret", "text:another", "--secret", &file];
    assert_eq!(verify(&args, &captured("\n", BODY, BODY)).code, Some(0));
}

#[test]
fn the_request_may_be_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("captured.http");
    std::fs::write(&path, captured("\r\n", BODY, BODY)).unwrap();
    let path = path.display().to_string();
    assert_eq!(verify(&["github", "--secret", GITHUB_SECRET, "--request", &path], "").code, Some(0));
}

#[test]
fn the_time_is_what_at_says() {
    let request = String::from_utf8(stripe("it-is-a-secret", 1_700_000_000, b"{}")).unwrap();
    for (at, code) in [
        ("1700000000", 0),
        ("2023-11-14T22:18:20Z", 0),
        ("2023-11-14T22:18:21Z", 1),
        ("1699999700", 0),
        ("1699999699", 1),
    ] {
        let ended = verify(&["stripe", "--secret", GITHUB_SECRET, "--at", at], &request);
        assert_eq!(ended.code, Some(code), "{at}: {ended:?}");
        if code == 1 {
            assert_eq!(ended.json()["reason"], "timestamp_out_of_tolerance");
        }
    }
    let now = String::from_utf8(stripe("it-is-a-secret", seconds_from_now(0), b"{}")).unwrap();
    assert_eq!(verify(&["stripe", "--secret", GITHUB_SECRET], &now).code, Some(0));
    let longer = ["stripe", "--secret", GITHUB_SECRET, "--at", "1700000600", "--set", "tolerance=text:10m"];
    assert_eq!(verify(&longer, &request).code, Some(0));
}

#[test]
fn an_editors_line_end_is_left_out_where_content_length_says_so() {
    let with_length = |body: &str| {
        let length = format!("Content-Length: {}\nX-GitHub-Event", BODY.len());
        captured("\n", BODY, body).replace("X-GitHub-Event", &length)
    };
    let edited = verify(&["github", "--secret", GITHUB_SECRET], &with_length(&format!("{BODY}\n")));
    assert_eq!(edited.code, Some(0), "{edited:?}");
    assert!(edited.json()["notes"][0].as_str().unwrap().contains("line end"), "{edited:?}");
    let cut = verify(&["github", "--secret", GITHUB_SECRET], &with_length(&BODY[..BODY.len() - 1]));
    assert!(cut.json()["notes"][0].as_str().unwrap().contains("Content-Length says 24"), "{cut:?}");
}

#[test]
fn chunks_are_put_together() {
    let (head, tail) = BODY.split_at(7);
    let chunks = format!("{:x}\r\n{head}\r\n{:X}\r\n{tail}\r\n0\r\n\r\n", head.len(), tail.len());
    let request = captured("\r\n", BODY, &chunks)
        .replace("X-GitHub-Event", "Transfer-Encoding: chunked\r\nX-GitHub-Event");
    let ended = verify(&["github", "--secret", GITHUB_SECRET], &request);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn hints_name_a_line_end_in_the_secret() {
    let ended = verify(&["github", "--secret", "text:it-is-a-secret\n"], &captured("\n", BODY, BODY));
    assert!(hints(&ended)[0].starts_with("the secret has white space or a line end around it"), "{ended:?}");
}

#[test]
fn hints_name_a_secret_that_was_decoded_or_wasnt() {
    let hex: String = "it-is-a-secret".bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = STANDARD.encode("it-is-a-secret");
    for (secret, hint) in [(hex, "as hex"), (base64, "as base64")] {
        let ended = verify(&["github", "--secret", &format!("text:{secret}")], &captured("\n", BODY, BODY));
        assert!(hints(&ended)[0].ends_with(hint), "{ended:?}");
    }
    let text = "whsec_QUJDREVGR0hJSktMTU5PUA==";
    let request = standard("id", 1_700_000_000, b"{}");
    let request = String::from_utf8(request).unwrap();
    let (name, value) = ("webhook-signature: ", request.split("webhook-signature: ").nth(1).unwrap());
    let signature = value.split("\r\n").next().unwrap();
    let mac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, text.as_bytes());
    let tag = aws_lc_rs::hmac::sign(&mac, b"id.1700000000.{}");
    let request =
        request.replace(&format!("{name}{signature}"), &format!("{name}v1,{}", STANDARD.encode(tag)));
    let args = ["standard-webhooks", "--secret", &format!("text:{text}"), "--at", "1700000000"];
    assert!(hints(&verify(&args, &request)).iter().any(|hint| hint.contains("as text")));
}

#[test]
fn hints_name_a_prefix_that_was_kept_or_dropped() {
    let request = |secret| String::from_utf8(stripe(secret, 1_700_000_000, b"{}")).unwrap();
    let at = ["--at", "1700000000"];
    let dropped =
        verify(&[&["stripe", "--secret", "text:QUJDREVG"], &at[..]].concat(), &request("whsec_QUJDREVG"));
    assert_eq!(hints(&dropped), ["the secret lacks its prefix whsec_"]);
    let kept =
        verify(&[&["stripe", "--secret", "text:whsec_QUJDREVG"], &at[..]].concat(), &request("QUJDREVG"));
    assert!(
        hints(&kept).contains(&"the sender uses the secret without its prefix whsec_".to_owned()),
        "{kept:?}"
    );
}

#[test]
fn hints_name_a_body_that_was_formatted_anew() {
    for (body, hint) in [
        (format!("{BODY}\n"), "without a line end"),
        ("{\n  \"zen\": \"a, b\",\n  \"n\": [1, 2]\n}".to_owned(), "JSON without white space"),
    ] {
        let ended = verify(&["github", "--secret", GITHUB_SECRET], &captured("\n", BODY, &body));
        assert!(hints(&ended)[0].contains(hint), "{ended:?}");
    }
    let spaced = r#"{"zen": "a, b", "n": [1, 2]}"#;
    let ended = verify(&["github", "--secret", GITHUB_SECRET], &captured("\n", spaced, BODY));
    assert!(hints(&ended)[0].contains("a space after each comma and colon"), "{ended:?}");
}

/// A Square delivery to `/in/x?a=1`, signed for a URL.
fn square(url: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"it-is-a-secret");
    let tag = aws_lc_rs::hmac::sign(&key, format!("{url}{BODY}").as_bytes());
    let signature = STANDARD.encode(tag);
    format!("POST /in/x?a=1 HTTP/1.1\nHost: h.example\nx-square-hmacsha256-signature: {signature}\n\n{BODY}")
}

#[test]
fn a_url_is_appended_to_or_taken_whole() {
    let request = square("https://h.example/in/x?a=1");
    for url in ["https://h.example", "https://h.example/", "https://h.example/in/x?a=1"] {
        let ended = verify(&["square", "--secret", GITHUB_SECRET, "--url", url], &request);
        assert_eq!(ended.code, Some(u8::from(url.ends_with(".example/")).into()), "{url}: {ended:?}");
    }
    let without = verify(&["square", "--secret", GITHUB_SECRET], &request);
    assert_eq!(without.code, Some(2));
    assert!(without.stderr.contains("--url"), "{without:?}");
}

#[test]
fn hints_name_the_url_that_was_signed() {
    let request = square("http://h.example/in/x?a=1");
    for url in ["https://h.example", "https://other.example"] {
        let ended = verify(&["square", "--secret", GITHUB_SECRET, "--url", url], &request);
        assert_eq!(hints(&ended), ["the sender signed the URL http://h.example/in/x?a=1"], "{url}");
    }
}

#[test]
fn hints_name_the_clock_and_no_other_mistake_hides_behind_it() {
    let request = String::from_utf8(stripe("it-is-a-secret", 1_700_000_000, b"{}")).unwrap();
    let late = hints(&verify(&["stripe", "--secret", GITHUB_SECRET], &request));
    assert_eq!(late.len(), 1);
    assert!(late[0].contains("a clock that is wrong"), "{late:?}");
    let both = hints(&verify(&["stripe", "--secret", "text:it-is-a-secret "], &request));
    assert!(both[0].contains("white space") && both[1].contains("a clock that is wrong"), "{both:?}");
}

#[test]
fn what_cant_be_judged_is_a_usage_error_that_names_the_way_out() {
    for (args, stdin, says) in [
        (&["githb", "--secret", GITHUB_SECRET][..], "", "did you mean `github`?"),
        (&["github"], "", "give it with --secret"),
        (&["github", "--secret", GITHUB_SECRET], "", "there is no request"),
        (&["github", "--secret", GITHUB_SECRET], "{}", "line 1 is no request line"),
        (&["github", "--secret", GITHUB_SECRET, "--request", "/nowhere/x"], "", "/nowhere/x: "),
        (&["github", "--secret", GITHUB_SECRET, "--at", "noon"], "", "is not a time"),
        (&["github", "--secret", GITHUB_SECRET, "--set", "secrt=text:x"], "", "it has schemes, tolerance"),
        (&["github", "--secret", GITHUB_SECRET, "--url", "h.example"], "", "--url: "),
        (&["github", "--secret", "it-is-a-secret"], "", "env:NAME, file:PATH or text:VALUE"),
    ] {
        let ended = verify(args, stdin);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {ended:?}");
        assert!(!ended.stderr.contains("it-is-a-secret"), "{args:?}: {ended:?}");
    }
}

#[test]
fn a_configured_receiver_brings_its_secrets_and_settings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sluiced.toml");
    let config = "public_url = \"https://h.example\"\n\
                  [[receivers]]\nname = \"square\"\nid = \"eu\"\nsecret = { text = \"it-is-a-secret\" }\n\
                  [[receivers]]\nname = \"stripe\"\nsecret = { text = \"it-is-a-secret\" }\ntolerance = \"10m\"\n\
                  [[receivers]]\nname = \"github\"\nsecret = { env = \"NOT_SET_HERE\" }\n";
    std::fs::write(&path, config).unwrap();
    let path = path.display().to_string();
    let request = square("https://h.example/in/x?a=1");
    assert_eq!(verify(&["square/eu", "--config", &path], &request).code, Some(0));
    assert_eq!(verify(&["square", "--config", &path], &request).code, Some(2));
    let late = String::from_utf8(stripe("it-is-a-secret", 1_700_000_000, b"{}")).unwrap();
    assert_eq!(verify(&["stripe", "--config", &path, "--at", "1700000600"], &late).code, Some(0));
    let given = ["github", "--config", &path, "--secret", GITHUB_SECRET];
    assert_eq!(verify(&given, &captured("\n", BODY, BODY)).code, Some(0));
    assert_eq!(verify(&["github", "--config", &path], &captured("\n", BODY, BODY)).code, Some(78));
}

#[test]
fn what_a_sender_chose_doesnt_reach_the_terminal() {
    let request = captured("\n", BODY, BODY).replace("d-1", "d\u{9b}31m");
    let ended = run_with(&["verify", "github", "--secret", GITHUB_SECRET], request.as_bytes());
    assert!(ended.stdout.contains("\\u009b31m") && !ended.stdout.contains('\u{9b}'), "{ended:?}");
    assert!(run(&["verify", "--help"]).stdout.starts_with("Examples:"));
}

#[test]
fn a_key_that_would_have_to_be_fetched_is_said_to_be_missing() {
    let request = format!(
        "POST /in/fal HTTP/1.1\nX-Fal-Webhook-Request-Id: 1\nX-Fal-Webhook-User-Id: 2\n\
         X-Fal-Webhook-Timestamp: {}\nX-Fal-Webhook-Signature: {}\n\n{{}}",
        seconds_from_now(0),
        "0".repeat(128)
    );
    let ended = verify(&["fal"], &request);
    let json = ended.json();
    assert_eq!((ended.code, &json["outcome"]), (Some(1), &json!("failed")));
    assert_eq!((&json["reason"], &json["status"]), (&json!("key_unavailable"), &json!(503)));
    assert!(json["detail"].as_str().unwrap().contains("fetches nothing"), "{json}");
}
