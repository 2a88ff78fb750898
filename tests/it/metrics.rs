//! `/metrics`: what is counted, and that a sender can't add a series.

use crate::client::{GITHUB_PATH, SECRET, get, github_request, request, send_raw};
use crate::daemon::Daemon;

fn scrape(daemon: &Daemon) -> String {
    let answer = get(daemon.ops, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0")
    );
    String::from_utf8(answer.body).unwrap()
}

fn daemon(dir: &std::path::Path) -> Daemon {
    Daemon::start(dir, &[&format!("--receiver=github/acme=text:{SECRET}")])
}

#[test]
fn deliveries_are_counted_by_receiver_outcome_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[crate::client::GITHUB]);
    for number in 0..3 {
        assert_eq!(
            send_raw(daemon.address, &github_request(&format!("m{number}"), b"{}")).unwrap().status,
            200
        );
    }
    assert_eq!(request(daemon.address, "POST", GITHUB_PATH, &[], b"{}").status, 401);
    let text = scrape(&daemon);
    let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    has(r#"sluiced_webhooks_total{receiver="github",outcome="accepted",reason="",durable="embedded"} 3"#);
    has(
        r#"sluiced_webhooks_total{receiver="github",outcome="refused",reason="signature_missing",durable=""} 1"#,
    );
    has(r#"sluiced_acknowledgement_seconds_count{receiver="github"} 3"#);
    has("sluiced_queue_messages 3");
    has("sluiced_backend_up 1");
    has("sluiced_webhooks_in_flight 0");
    has("sluiced_body_memory_bytes 0");
    assert!(text.contains("sluiced_build_info{version=") && text.ends_with("# EOF\n"));
    crate::worker::drain(dir.path());
    let text = scrape(&daemon);
    assert!(
        text.contains("\nsluiced_queue_messages 0\n") && text.contains("\nsluiced_queue_bytes 0\n"),
        "{text}"
    );
}

#[test]
fn a_sender_can_not_add_a_series() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    let series = |daemon: &Daemon| scrape(daemon).lines().filter(|line| !line.starts_with('#')).count();
    request(daemon.address, "POST", &format!("{GITHUB_PATH}/acme"), &[], b"{}");
    request(daemon.address, "POST", &format!("{GITHUB_PATH}/nobody"), &[], b"{}");
    let before = series(&daemon);
    for spelling in ["ACME", "aCmE", "%61cme", "nobody-1", "nobody-2", "x%0ay"] {
        request(
            daemon.address,
            "POST",
            &format!("{GITHUB_PATH}/{spelling}"),
            &[("X-GitHub-Event", spelling)],
            b"{}",
        );
    }
    assert_eq!(series(&daemon), before, "{}", scrape(&daemon));
}
