//! Failures: how often a message comes back, when, and where it goes then.

use std::collections::{HashMap, HashSet};
use std::process::Output;

use serde_json::Value;

use crate::daemon::sluiced;
use crate::work_common::{fill, fill_numbers, lines, run, script};

/// Fails on every tenth message, and notes each attempt: number, message id, ms since 1970.
const FAILS_ON_TENTHS: &str = "n=$(cat | tr -dc 0-9)\n\
    echo \"$SLUICED_MESSAGE_ID $SLUICED_ATTEMPT $(date +%s%3N)\" >> $DIR/attempts\n\
    case $n in *0) exit 7;; esac";

#[test]
fn one_message_in_ten_fails_exactly_as_often_as_configured_and_can_be_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 50);
    let handle = script(dir.path(), FAILS_ON_TENTHS);
    let handle = handle.to_str().unwrap();
    let policy = ["--max-attempts", "4", "--retry-first", "200ms", "--retry-cap", "500ms"];
    let rest = ["--concurrency", "2", "--exit-when-empty", "--exec", "sh", handle];
    let ended = run(dir.path(), &[&policy[..], &rest[..]].concat());
    assert!(ended.status.success(), "{}", ended.text);
    let counts = ["acknowledged", "failed", "dead", "lost"].map(|key| ended.count(key));
    assert_eq!(counts, [45, 15, 5, 0]);

    let attempts = attempts(&lines(&dir.path().join("attempts")));
    let failures = ended.lines("attempt failed");
    let mut failed = HashSet::new();
    for line in &failures {
        let id = line["message_id"].as_str().unwrap();
        let attempt = line["attempt"].as_u64().unwrap();
        let delay = line["retry_in_ms"].as_u64().unwrap();
        let longest = [200, 400, 500][attempt as usize - 1];
        assert!(delay <= longest, "attempt {attempt}: {delay} ms");
        let (before, after) = (attempts[id][attempt as usize - 1], attempts[id][attempt as usize]);
        let gap = after - before;
        // The store counts in whole ms, from when it is told; the note is taken before.
        assert!(gap + 2 >= delay, "came back after {gap} ms instead of {delay} ms");
        assert!(gap <= delay + 5_000, "came back after {gap} ms instead of {delay} ms");
        failed.insert(id.to_owned());
    }
    assert_eq!(failed.len(), 5);
    for (id, times) in &attempts {
        assert_eq!(times.len(), if failed.contains(id) { 4 } else { 1 }, "{id}");
    }

    let letters = dead_letters(dir.path());
    assert!(letters.len() == 5 && letters.iter().all(|l| failed.contains(l["messageId"].as_str().unwrap())));
    for letter in &letters {
        assert_eq!(
            (letter["reason"].as_str(), letter["attempts"].as_u64()),
            (Some("exit status 7 (attempt 4 of 4)"), Some(4))
        );
    }
    let retried = dead(dir.path(), &["retry", "--all"]);
    assert_eq!(String::from_utf8_lossy(&retried.stdout), "retried 5 dead letters\n");
    assert!(dead_letters(dir.path()).is_empty());
    let again = run(dir.path(), &["--exit-when-empty", "--exec", "echo $SLUICED_ATTEMPT"]);
    assert_eq!(again.count("acknowledged"), 5);
    assert_eq!(again.out, b"1\n1\n1\n1\n1\n", "their attempts are forgotten");
}

#[test]
fn a_message_that_can_not_be_read_is_a_dead_letter_at_once() {
    use sluiced_embedded::{EmbeddedQueue, Options};
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = EmbeddedQueue::open(dir.path(), Options::default()).unwrap();
        for message in ["{\"from\":\"somebody else\"}", "not even JSON"] {
            let _durable = queue.append(message.into(), uuid::Uuid::now_v7()).await.unwrap();
        }
        queue.close().await;
    });
    let by_command = run(dir.path(), &["--limit", "1", "--exec", "true"]);
    let by_print = run(dir.path(), &["--limit", "1", "--print"]);
    for ended in [&by_command, &by_print] {
        assert!(ended.status.success());
        assert_eq!(["acknowledged", "failed", "dead"].map(|key| ended.count(key)), [0, 0, 1]);
        assert_eq!(ended.lines("dead letter").len(), 1);
        assert!(!ended.text.contains("somebody else") && !ended.text.contains("not even"), "{}", ended.text);
    }
    let letters = dead_letters(dir.path());
    assert!(
        letters.iter().all(|l| l["reason"].as_str().unwrap().starts_with("not a message")),
        "{letters:?}"
    );
    assert!(letters.len() == 2 && letters.iter().all(|l| l["receiver"].is_null()));
}

/// By message id, the times of its attempts in their order.
fn attempts(lines: &[String]) -> HashMap<String, Vec<u64>> {
    let mut attempts: HashMap<String, Vec<u64>> = HashMap::new();
    for line in lines {
        let [id, attempt, at] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let times = attempts.entry(id.to_owned()).or_default();
        times.push(at.parse().unwrap());
        assert_eq!(times.len(), attempt.parse::<usize>().unwrap(), "attempts are counted one by one");
    }
    attempts
}

fn dead(dir: &std::path::Path, args: &[&str]) -> Output {
    sluiced().arg("dead").args(args).arg("--data-dir").arg(dir).output().unwrap()
}

fn dead_letters(dir: &std::path::Path) -> Vec<Value> {
    let listed = dead(dir, &["list", "--json"]);
    assert!(listed.status.success());
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
