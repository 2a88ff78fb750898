//! Which paths mean a receiver. All of these requests are signed: only the path keeps them out.

use crate::attack::{Attack, daemon, withstand};
use crate::client::{Answer, GITHUB_PATH, SECRET, github_signature, request};
use crate::worker::drain;

const BASE: &str = "/api/webhooks/incoming";

#[test]
fn paths_that_are_no_receivers_are_not_found() {
    let paths = [
        "/",
        "/favicon.ico",
        "/api/webhooks",
        BASE,
        "/api/webhooks/incoming/",
        "/api/webhooks/incoming/nobody",
        "/api/webhooks/incoming/github/unknown",
        "/api/webhooks/incoming/github/acme/more",
        "/api/webhooks/incoming/github/acme/",
        "/api/webhooks/incoming//github",
        "//api/webhooks/incoming/github",
        "/api/webhooks/incoming/github.json",
        "/api/webhooks/incoming/github;v=1",
        "/api/webhooks/incoming/git",
        "/api/webhooks/incoming/githubb",
        "/other/github",
        "*",
    ];
    withstand(&not_found(&paths), "");
}

#[test]
fn paths_with_dots_escapes_and_odd_bytes_are_not_found() {
    let paths = [
        "/api/webhooks/incoming/../incoming/github",
        "/api/webhooks/incoming/./github",
        "/api/webhooks/incoming/github/..",
        "/api/webhooks/incoming/github/.",
        "/api/webhooks/incoming/%2e%2e/incoming/github",
        "/api/webhooks/incoming/github/%2e%2e",
        "/api/webhooks/incoming%2fgithub",
        "/api/webhooks/incoming/github%2facme",
        "/api/webhooks/incoming/github%2Facme",
        "/api/webhooks/incoming/github%5cacme",
        "/api/webhooks/incoming/github%00",
        "/api/webhooks/incoming/github/%00",
        "/api/webhooks/incoming/github/acme%00",
        "/api/webhooks/incoming/github%0d%0aX-Injected:%201",
        "/api/webhooks/incoming/github%20",
        "/api/webhooks/incoming/%ff",
        "/api/webhooks/incoming/github/%ff%fe",
        "/api/webhooks/incoming/github/%c0%af",
        "/api/webhooks/incoming/%1b%5b2J%e2%80%ae",
        "/api/webhooks/incoming/git%2568ub",
        "/api/webhooks/incoming/github%",
    ];
    withstand(&not_found(&paths), "");
}

#[test]
fn an_unknown_name_and_an_unknown_id_get_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    let bytes = |path: &str| {
        let Answer { status, head, body } = request(daemon.address, "POST", path, &[], b"{}");
        // The clock may tick between the two.
        let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("date:")).collect();
        (status, head.join("\n"), body)
    };
    let name = bytes("/api/webhooks/incoming/nobody");
    assert_eq!(name.0, 404);
    for path in ["/api/webhooks/incoming/github/unknown", "/api/webhooks/incoming/stripe/unknown", "/"] {
        assert_eq!(bytes(path), name, "{path}");
    }
    let wrong_method = request(daemon.address, "DELETE", "/api/webhooks/incoming/github/unknown", &[], b"");
    assert_eq!(wrong_method.status, 404, "404 comes before 405");
}

#[test]
fn names_and_ids_match_in_any_case_and_percent_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path(), "");
    let paths = [
        (GITHUB_PATH, ""),
        ("/API/WebHooks/Incoming/GitHub", ""),
        ("/api/webhooks/incoming/git%68ub", ""),
        ("/api/webhooks/incoming/github?a=%00&b", ""),
        ("/api/webhooks/incoming/github/acme", "acme"),
        ("/api/webhooks/incoming/github/ACME", "ACME"),
        ("/api/webhooks/incoming/github/a%43me", "aCme"),
    ];
    for (path, _) in paths {
        assert_eq!(signed(&daemon, path).status, 200, "{path}");
    }
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), paths.len());
    for (message, (path, id)) in messages.iter().zip(paths) {
        assert_eq!((message["receiver"].as_str(), message["id"].as_str()), (Some("github"), Some(id)));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        assert_eq!(message["request"]["path"], path);
        assert_eq!(message["request"]["query"], query);
    }
}

#[test]
fn a_receiver_may_have_a_path_and_the_base_another() {
    let dir = tempfile::tempdir().unwrap();
    let config = "base_path = \"/hooks\"\n[[receivers]]\nname = \"github\"\nid = \"own\"\npath = \"/my/own\"\n\
                  secret = { text = \"it-is-only-a-test-secret\" }\n";
    let daemon = daemon(dir.path(), config);
    for (path, status) in
        [("/hooks/github", 200), ("/my/own", 200), ("/hooks/github/own", 200), (GITHUB_PATH, 404)]
    {
        assert_eq!(signed(&daemon, path).status, status, "{path}");
    }
    daemon.stop();
    let ids: Vec<_> = drain(dir.path()).iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["", "own", "own"]);
}

fn signed(daemon: &crate::daemon::Daemon, path: &str) -> Answer {
    let signature = github_signature(SECRET, b"{}");
    request(daemon.address, "POST", path, &[("X-Hub-Signature-256", &signature)], b"{}")
}

fn not_found(paths: &[&'static str]) -> Vec<Attack> {
    let attack = |path: &&'static str| {
        let signature = github_signature(SECRET, b"{}");
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: t\r\nX-Hub-Signature-256: {signature}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        Attack::new(path, bytes, 404, "unknown_receiver")
    };
    paths.iter().map(attack).collect()
}
