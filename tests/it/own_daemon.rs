//! The example of a daemon of one's own: its handler stands in the chain.

use std::process::Command;

use crate::client::{GITHUB, GITHUB_PATH, SECRET, github_signature, request};
use crate::daemon::{Daemon, SERVE, binary};
use crate::worker::drain;

#[test]
fn the_example_answers_what_its_handler_wants_and_queues_the_rest() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "custom_handler"])
        .status()
        .unwrap();
    assert!(built.success());
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary().parent().unwrap().join("examples/custom_handler"));
    command.args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(dir.path());
    let daemon = Daemon::spawn(command).unwrap();
    let push = |branch: &str| {
        let body = format!("{{\"ref\":\"refs/heads/{branch}\"}}").into_bytes();
        let headers = [
            ("X-Hub-Signature-256", &*github_signature(SECRET, &body)),
            ("X-GitHub-Event", "push"),
            ("Content-Type", "application/json"),
        ];
        request(daemon.address, "POST", GITHUB_PATH, &headers, &body)
    };
    assert_eq!(push("main").body, b"");
    assert_eq!(push("topic").body, b"not built");
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["data"]["ref"], "refs/heads/main");
}
