//! Configured handlers: what they answer, what they leave out, where they queue, and what `check` refuses.

use std::path::Path;

use crate::client::{Answer, GITHUB_PATH, SECRET, github_signature, request};
use crate::daemon::{Daemon, sluiced};
use crate::worker::{drain, work};

/// A daemon with a configuration file: GitHub with two ids, and these handlers.
fn daemon(dir: &Path, handlers: &str) -> Daemon {
    let config = write_config(dir, handlers);
    Daemon::start(&dir.join("data"), &["--config", &config])
}

fn write_config(dir: &Path, handlers: &str) -> String {
    let receiver = |id: &str| {
        format!("[[receivers]]\nname = \"github\"\nid = \"{id}\"\nsecret = {{ text = \"{SECRET}\" }}\n")
    };
    let path = dir.join("sluiced.toml");
    std::fs::write(&path, format!("{handlers}\n{}{}", receiver("acme"), receiver("retired"))).unwrap();
    path.to_str().unwrap().to_owned()
}

fn send(daemon: &Daemon, id: &str, event: &str, delivery: &str) -> Answer {
    let headers = [
        ("X-Hub-Signature-256", &*github_signature(SECRET, b"{}")),
        ("X-GitHub-Event", event),
        ("X-GitHub-Delivery", delivery),
        ("Content-Type", "application/json"),
    ];
    request(daemon.address, "POST", &format!("{GITHUB_PATH}/{id}"), &headers, b"{}")
}

#[test]
fn a_response_ends_the_chain_and_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(
        dir.path(),
        "[[handlers]]\norder = 10\nreceiver = \"GitHub\"\nid = \"Retired\"\nrespond = { status = 410 }\n\
         [[handlers]]\norder = 60\nreceiver = \"github\"\nid = \"acme\"\nactions = [\"star\", \"issues\"]\n\
         respond = { content_type = \"application/json\", body = '{\"text\":\"on it\"}' }",
    );
    let gone = send(&daemon, "retired", "push", "d1");
    assert_eq!((gone.status, gone.body.len()), (410, 0));
    assert_eq!(daemon.wait_for_delivery(|line| line["status"] == 410)["outcome"], "answered");
    let answered = send(&daemon, "acme", "issues", "d2");
    assert_eq!((answered.status, &answered.body[..]), (200, &b"{\"text\":\"on it\"}"[..]));
    assert_eq!(answered.header("content-type"), Some("application/json"));
    let queued = daemon.wait_for_delivery(|line| line["delivery_id"] == "d2");
    assert_eq!((&queued["outcome"], &queued["durable"]), (&"accepted".into(), &"embedded".into()));
    assert_eq!(send(&daemon, "acme", "push", "d3").body, b"");
    let ids: Vec<_> = drain(&dir.path().join("data")).into_iter().map(|m| m["deliveryId"].clone()).collect();
    assert_eq!(
        ids,
        ["d2", "d3"],
        "what is answered behind the queue is queued, what is answered before isn't"
    );
}

#[test]
fn what_is_dropped_is_answered_200_and_not_queued() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(
        dir.path(),
        "[[handlers]]\nreceiver = \"github\"\nactions = [\"star\", \"watch\"]\ndrop = true",
    );
    assert_eq!(send(&daemon, "acme", "star", "d1").status, 200);
    assert_eq!(send(&daemon, "acme", "push", "d2").status, 200);
    let messages = drain(&dir.path().join("data"));
    assert_eq!(messages.len(), 1, "at the same order the configured handler stands before the default one");
    assert_eq!(messages[0]["deliveryId"], "d2");
}

#[test]
fn several_queue_handlers_fan_out() {
    let dir = tempfile::tempdir().unwrap();
    let daemon =
        daemon(dir.path(), "[[handlers]]\nname = \"audit\"\nid = \"acme\"\nqueue = { name = \"audit\" }");
    assert_eq!(send(&daemon, "acme", "push", "both").status, 200);
    assert_eq!(send(&daemon, "retired", "push", "one").status, 200);
    let data = dir.path().join("data");
    let audit = work(&data, &["--exit-when-empty", "--queue-name", "audit"]).stdout;
    let audit = String::from_utf8(audit).unwrap();
    assert_eq!(audit.lines().count(), 1, "{audit}");
    assert!(audit.contains("\"deliveryId\":\"both\""));
    assert_eq!(drain(&data).len(), 2);
}

#[test]
fn without_the_default_queue_something_else_must_take_every_webhook() {
    let dir = tempfile::tempdir().unwrap();
    let check = |handlers: &str| {
        let config = write_config(dir.path(), handlers);
        let output = sluiced().args(["check", "--config", &config]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = check("default_queue = false");
    assert_eq!(code, Some(78));
    assert!(error.contains("no handler takes every webhook of receiver github/acme"), "{error}");
    let some = "default_queue = false\n[[handlers]]\nactions = [\"push\"]\nqueue = { name = \"q\" }";
    assert_eq!(check(some).0, Some(78), "some actions are not every webhook");
    let one = "default_queue = false\n[[handlers]]\nid = \"acme\"\nqueue = { name = \"q\" }";
    assert!(check(one).1.contains("github/retired"));
    let all = "default_queue = false\n[[handlers]]\nqueue = { name = \"q\" }";
    assert_eq!(check(all), (Some(0), String::new()), "every receiver has a taker");
}

#[test]
fn a_handler_that_can_not_be_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    for (handlers, expected) in [
        ("[[handlers]]\nreceiver = \"gitlab\"\ndrop = true", "sluiced.toml:1: there is no receiver `gitlab`"),
        ("[[handlers]]\nid = \"nobody\"\ndrop = true", "no such receiver with the id `nobody`"),
        ("[[handlers]]\norder = 1", "exactly one of `respond`, `drop`, `queue` and `dedupe`"),
        ("[[handlers]]\ndrop = true\nrespond = {}", "exactly one of"),
        ("[[handlers]]\ndrop = false", "`drop = false` does nothing"),
        ("[[handlers]]\nrespond = { status = 99 }", "99 is no status"),
        ("[[handlers]]\nactions = []\ndrop = true", "`actions` is empty"),
        ("[[handlers]]\nqueue = { nmae = \"x\" }", "did you mean `name`?"),
        (
            "[[handlers]]\nname = \"a\"\ndrop = true\n[[handlers]]\nname = \"a\"\ndrop = true",
            "named `a` already",
        ),
    ] {
        let config = write_config(dir.path(), handlers);
        let output = sluiced().args(["check", "--config", &config]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{handlers}\n{error}");
        assert!(error.contains(expected), "{handlers}\n{error}");
    }
}
