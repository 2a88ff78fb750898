//! `work --exec`: what a command gets, and what its end means.

use std::path::Path;

use serde_json::Value;

use crate::client::{GITHUB_PATH, github_signature, request};
use crate::daemon::{Daemon, sluiced};
use crate::work_common::{Worker, fill, fill_numbers, lines, run, script, wait_that};

const ONE: &[&str] = &["--limit", "1"];

fn exec(dir: &Path, args: &[&str], command: &[&str]) -> crate::work_common::Ended {
    run(dir, &[args, &["--exec"], command].concat())
}

#[test]
fn a_command_gets_the_exact_bytes_and_the_rest_in_variables() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &["--receiver=github/Acme=text:it-is-only-a-test-secret"]);
    let body = b"{ \"a\":\r\n1 }\n";
    let headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", "d-1"),
        ("X-Hub-Signature-256", &github_signature(crate::client::SECRET, body)),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("Authorization", "Bearer s3cret"),
        ("X-Twice", "one"),
        ("X-Twice", "two \"2\""),
    ];
    let path = format!("{GITHUB_PATH}/Acme?a=1&b=%20");
    assert_eq!(request(daemon.address, "POST", &path, &headers, body).status, 200);
    let message_id = daemon.wait_for_delivery(|line| line["delivery_id"] == "d-1")["message_id"].clone();
    daemon.stop();
    let handle = script(dir.path(), "cat > $DIR/body; env > $DIR/env");
    let ended = exec(dir.path(), ONE, &["sh", handle.to_str().unwrap()]);
    assert!(ended.status.success(), "{}", ended.text);
    assert_eq!(std::fs::read(dir.path().join("body")).unwrap(), body);
    let env = lines(&dir.path().join("env"));
    let variable = |name: &str| {
        let prefix = format!("SLUICED_{name}=");
        env.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{name}: {env:?}"))
    };
    for (name, value) in [
        ("RECEIVER", "github"),
        ("ID", "Acme"),
        ("ACTIONS", "push"),
        ("MESSAGE_ID", message_id.as_str().unwrap()),
        ("DELIVERY_ID", "d-1"),
        ("CONTENT_TYPE", "application/json; charset=utf-8"),
        ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ATTEMPT", "1"),
        ("METHOD", "POST"),
        ("PATH", "/api/webhooks/incoming/github/Acme"),
        ("QUERY", "a=1&b=%20"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("MASKED", "header:authorization"),
        ("OMITTED", ""),
    ] {
        assert_eq!(variable(name), value, "{name}");
    }
    assert!(variable("RECEIVED_AT").ends_with('Z'));
    let headers: Value = serde_json::from_str(variable("HEADERS")).unwrap();
    assert_eq!(headers["x-twice"], serde_json::json!(["one", "two \"2\""]));
    assert_eq!(headers["authorization"], serde_json::json!(["***"]));
    assert!(!env.concat().contains("s3cret"));
    assert_eq!(ended.count("acknowledged"), 1);
}

#[test]
fn a_variable_that_the_system_would_not_take_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[crate::client::GITHUB]);
    let quotes = "\"".repeat(62 << 10);
    let signature = github_signature(crate::client::SECRET, b"{}");
    let headers =
        [("X-Quotes", quotes.as_str()), ("X-GitHub-Event", "push"), ("X-Hub-Signature-256", &signature)];
    assert_eq!(request(daemon.address, "POST", GITHUB_PATH, &headers, b"{}").status, 200);
    daemon.stop();
    let ended = exec(dir.path(), ONE, &["echo \"$SLUICED_OMITTED|$SLUICED_HEADERS|$SLUICED_ACTIONS\""]);
    assert_eq!(String::from_utf8_lossy(&ended.out), "SLUICED_HEADERS||push\n", "{}", ended.text);
    assert_eq!(ended.count("acknowledged"), 1);
}

#[test]
fn its_output_is_passed_through_and_a_single_line_goes_to_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[b"[1]", b"[2]"]);
    let ended = exec(dir.path(), ONE, &["cat; echo to stderr >&2"]);
    assert_eq!(String::from_utf8_lossy(&ended.out), "[1]");
    assert!(ended.text.contains("to stderr\n"), "{}", ended.text);
    let mut command = sluiced();
    command.args(["work", "--limit", "1", "--data-dir"]).arg(dir.path());
    command.env("SLUICED_EXEC", "cat; echo done");
    assert_eq!(String::from_utf8_lossy(&Worker::spawn(command).wait().out), "[2]done\n");
}

#[test]
fn flags_behind_exec_are_the_commands_own() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[b"{}"]);
    let ended = exec(dir.path(), ONE, &["printf", "%s|", "--limit", "--", "-h", "--print"]);
    assert_eq!(String::from_utf8_lossy(&ended.out), "--limit|--|-h|--print|", "{}", ended.text);
}

#[test]
fn a_command_that_does_not_read_its_stdin_is_none_the_worse_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let large = format!("[\"{}\"]", "x".repeat(1 << 20));
    fill(dir.path(), &[large.as_bytes(), large.as_bytes(), large.as_bytes()]);
    assert_eq!(exec(dir.path(), ONE, &["true"]).count("acknowledged"), 1);
    let early = exec(dir.path(), ONE, &["head -c 10 >/dev/null; exit 0"]);
    assert_eq!(early.count("acknowledged"), 1);
    // Something in the background has the pipe's other end, and reads nothing.
    let handle =
        script(dir.path(), "exec 3<&0\n(while [ -d $DIR ]; do sleep 0.1; done) >/dev/null 2>&1 &\nexit 0");
    let args = ["--limit", "1", "--exec", "sh", handle.to_str().unwrap()];
    let mut worker = Worker::start(dir.path(), &args);
    worker.wait_for("work ended");
    assert!(worker.status().success());
}

#[test]
fn every_other_end_is_a_failure_and_named() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let cases: [(&[&str], &str); 4] = [
        (&["exit 3"], "exit status 3"),
        (&["kill -9 $$; true"], "killed by signal 9"),
        (&["/no/such/command"], "can't start /no/such/command: No such file"),
        (&["kill -s PIPE $$; true"], "killed by signal 13"),
    ];
    for (attempt, (command, why)) in (1..).zip(cases) {
        let ended = exec(dir.path(), &["--limit", "1", "--retry-first", "1ms"], command);
        assert!(ended.status.success(), "a failed message is no failure of the worker's");
        let line = ended.lines("attempt failed")[0];
        assert!(line["why"].as_str().unwrap().starts_with(why), "{line}");
        assert_eq!((line["attempt"].as_u64(), line["receiver"].as_str()), (Some(attempt), Some("github")));
        assert!(line["retry_in_ms"].as_u64().unwrap() <= 8, "{line}");
        assert_eq!((ended.count("failed"), ended.count("acknowledged")), (1, 0));
    }
}

#[test]
fn what_takes_too_long_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    // Nobody in the group heeds SIGTERM.
    let stubborn = script(
        dir.path(),
        "trap '' TERM\nsleep 60 & echo $! >> $DIR/pids\necho $$ >> $DIR/pids\n\
         sh -c 'trap \"\" TERM; while :; do sleep 60; done' & echo $! >> $DIR/pids\nwait",
    );
    let args = ["--limit", "1", "--timeout", "300ms", "--exec", "sh", stubborn.to_str().unwrap()];
    let ended = run(dir.path(), &args);
    let line = ended.lines("attempt failed")[0];
    assert_eq!(line["why"], "not done within 300ms");
    let pids = lines(&dir.path().join("pids"));
    assert_eq!(pids.len(), 3);
    wait_that(|| pids.iter().all(|pid| is_over(pid)), "all of them are dead");
}

#[test]
fn a_command_that_heeds_sigterm_may_clear_up() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let tidy = script(
        dir.path(),
        "trap 'sleep 0.3; echo cleared > $DIR/cleared; exit 0' TERM\necho up > $DIR/up\nwhile [ -d $DIR ]; do sleep 0.05; done",
    );
    let args = ["--limit", "1", "--timeout", "1s", "--exec", "sh", tidy.to_str().unwrap()];
    let ended = run(dir.path(), &args);
    assert!(dir.path().join("up").exists() && dir.path().join("cleared").exists());
    assert_eq!(ended.count("failed"), 1, "too late is too late, whatever its exit status");
}

#[test]
fn what_to_do_must_be_said_in_one_way() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let code = |args: &[&str]| run(dir.path(), args).status.code();
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["--print", "--forward", "http://127.0.0.1:1/"]), Some(2));
    assert_eq!(code(&["--timeout", "0s", "--print"]), Some(2));
    assert_eq!(code(&["--concurrency", "0", "--print"]), Some(2));
    assert_eq!(code(&["--forward", "127.0.0.1"]), Some(2));
    let mut command = sluiced();
    command.args(["work", "--print", "--limit", "1", "--data-dir"]).arg(dir.path());
    command.env("SLUICED_EXEC", "false");
    let ended = Worker::spawn(command).wait();
    assert!(ended.status.success() && !ended.out.is_empty(), "a flag wins over the environment");
}

/// Gone, or a corpse that its new parent hasn't collected.
pub fn is_over(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}
