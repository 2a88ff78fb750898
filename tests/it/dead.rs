//! `sluiced dead`: list, show, retry, purge.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::client::GITHUB;
use crate::daemon::{Daemon, sluiced};
use crate::work_common::{fill, fill_numbers, run};

fn dead(dir: &Path, args: &[&str]) -> Output {
    sluiced().arg("dead").args(args).arg("--data-dir").arg(dir).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// So many dead letters, with the ids 1, 2, …
fn kill_off(dir: &Path, count: usize) {
    fill_numbers(dir, count);
    let ended =
        run(dir, &["--max-attempts", "1", "--exit-when-empty", "--concurrency", "4", "--exec", "exit 9"]);
    assert_eq!(ended.count("dead"), count as u64);
}

#[test]
fn they_are_listed_for_people_and_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    // More than one page.
    kill_off(dir.path(), 130);
    let table = stdout(&dead(dir.path(), &["list"]));
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 131);
    for heading in ["ID", "DIED AT", "RECEIVER", "ACTIONS", "ATTEMPTS", "BYTES", "REASON"] {
        assert!(rows[0].contains(heading), "{}", rows[0]);
    }
    let fields: Vec<&str> = rows[130].split_whitespace().collect();
    assert_eq!((fields[0], fields[2], fields[3], fields[4]), ("130", "github", "push", "1"), "{}", rows[130]);
    assert!(rows[130].ends_with("exit status 9 (attempt 1 of 1)"));
    let listed = json(&dead(dir.path(), &["list", "--json", "--local"]));
    let ids: Vec<&str> = listed.iter().map(|letter| letter["id"].as_str().unwrap()).collect();
    assert_eq!(ids, (1..=130).map(|n| n.to_string()).collect::<Vec<_>>());
    let first = &listed[0];
    assert_eq!(first["reason"], "exit status 9 (attempt 1 of 1)");
    assert_eq!(
        (&first["receiver"], &first["receiverId"], &first["actions"][0]),
        (&"github".into(), &"".into(), &"push".into())
    );
    assert!(first["bytes"].as_u64().unwrap() > 100 && first["diedAt"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn one_is_shown_with_its_message() {
    let dir = tempfile::tempdir().unwrap();
    kill_off(dir.path(), 2);
    let shown = stdout(&dead(dir.path(), &["show", "2"]));
    let (head, message) = shown.split_once("\n\n").unwrap();
    assert!(head.contains("exit status 9 (attempt 1 of 1)") && head.contains("attempts    1"), "{head}");
    let message: Value = serde_json::from_str(message.trim_end()).unwrap();
    let whole = &json(&dead(dir.path(), &["show", "2", "--json"]))[0];
    assert_eq!(whole["message"], message);
    assert_eq!(
        (&whole["id"], &whole["attempts"], &whole["messageId"]),
        (&"2".into(), &1.into(), &message["messageId"])
    );
    assert_eq!(message["receiver"], "github");
}

#[test]
fn those_named_are_put_back_or_deleted_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    kill_off(dir.path(), 4);
    let retried = dead(dir.path(), &["retry", "1", "3"]);
    assert_eq!((retried.status.code(), stdout(&retried).as_str()), (Some(0), "retried 2 dead letters\n"));
    let purged = json(&dead(dir.path(), &["purge", "2", "--json"]));
    assert_eq!(purged, [serde_json::json!({ "id": "2", "done": "purged" })]);
    let left = json(&dead(dir.path(), &["list", "--json"]));
    assert!(left.len() == 1 && left[0]["id"] == "4", "{left:?}");
    let ended = run(dir.path(), &["--exit-when-empty", "--exec", "cat; echo \" $SLUICED_ATTEMPT\""]);
    assert_eq!(ended.count("acknowledged"), 2);
    assert!(
        String::from_utf8(ended.out).unwrap().lines().all(|line| line.ends_with("} 1")),
        "attempts are forgotten"
    );
}

#[test]
fn an_unknown_id_is_named_and_the_others_are_dealt_with() {
    let dir = tempfile::tempdir().unwrap();
    kill_off(dir.path(), 2);
    for action in ["show", "retry", "purge"] {
        for id in ["99", "x", "-1", "18446744073709551616"] {
            let args = [action, "--", id];
            let failed = sluiced()
                .args(["dead", action, "--data-dir"])
                .arg(dir.path())
                .args(&args[1..])
                .output()
                .unwrap();
            assert_eq!(failed.status.code(), Some(1), "{action} {id}: {failed:?}");
            let said = String::from_utf8_lossy(&failed.stderr).into_owned();
            assert!(said.contains(&format!("there is no dead letter {id}")), "{said}");
        }
    }
    let some = dead(dir.path(), &["retry", "1", "77", "2", "78"]);
    assert_eq!((some.status.code(), stdout(&some).as_str()), (Some(1), "retried 2 dead letters\n"));
    let said = String::from_utf8_lossy(&some.stderr).into_owned();
    assert!(said.contains("77") && said.contains("78"), "{said}");
}

#[test]
fn nothing_to_do_is_said_and_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[]);
    for args in [&["list"][..], &["retry", "--all"], &["purge", "--all"]] {
        let nothing = dead(dir.path(), args);
        assert!(nothing.status.success() && stdout(&nothing).contains("no dead letters"), "{nothing:?}");
        let nothing = dead(dir.path(), &[args, &["--json"]].concat());
        assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
        assert!(String::from_utf8_lossy(&nothing.stderr).contains("no dead letters"));
    }
    assert_eq!(dead(dir.path(), &["retry"]).status.code(), Some(2), "it must be said which");
    let nowhere = dead(&dir.path().join("none"), &["list"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("there is no queue in"));
}

#[test]
fn all_are_purged_while_the_daemon_runs() {
    let dir = tempfile::tempdir().unwrap();
    kill_off(dir.path(), 3);
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    assert_eq!(stdout(&dead(dir.path(), &["purge", "--all"])), "purged 3 dead letters\n");
    assert!(json(&dead(dir.path(), &["list", "--json"])).is_empty());
    daemon.stop();
}

#[test]
fn retrying_all_ends_although_a_worker_gives_them_up_again() {
    let dir = tempfile::tempdir().unwrap();
    kill_off(dir.path(), 200);
    let mut worker = crate::work_common::Worker::start(
        dir.path(),
        &["--max-attempts", "1", "--concurrency", "4", "--exec", "false"],
    );
    worker.wait_for("working");
    assert_eq!(stdout(&dead(dir.path(), &["retry", "--all"])), "retried 200 dead letters\n");
    worker.kill();
}

#[test]
fn whoever_stops_reading_is_not_told_of_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    kill_off(dir.path(), 5);
    let mut command = sluiced();
    command.args(["dead", "list", "--data-dir"]).arg(dir.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
