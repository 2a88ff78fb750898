//! Many messages at a time, in one worker and in several.

use std::time::Duration;

use sluiced_queue::WebHookQueueConsumer;

use crate::work_common::{Worker, fill_numbers, lines, run, script, wait_that};

/// Counts how many run while it does, and waits until four have been seen at once.
const MEETS_THREE_OTHERS: &str = "touch $DIR/running/$SLUICED_MESSAGE_ID\n\
    i=0\n\
    while [ $i -lt 1000 ]; do\n\
      n=$(ls $DIR/running | wc -l)\n\
      echo $n >> $DIR/counts\n\
      [ $n -ge 4 ] && touch $DIR/met\n\
      [ -e $DIR/met ] && break\n\
      i=$((i + 1)); sleep 0.02\n\
    done\n\
    rm $DIR/running/$SLUICED_MESSAGE_ID";

#[test]
fn so_many_at_a_time_and_never_more() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 24);
    std::fs::create_dir(dir.path().join("running")).unwrap();
    let handle = script(dir.path(), MEETS_THREE_OTHERS);
    let args = ["--concurrency", "4", "--exit-when-empty", "--exec", "sh", handle.to_str().unwrap()];
    let ended = run(dir.path(), &args);
    assert_eq!(ended.count("acknowledged"), 24);
    assert!(dir.path().join("met").exists(), "four never ran at once");
    let counts = lines(&dir.path().join("counts"));
    assert!(counts.iter().all(|n| n.trim().parse::<u32>().unwrap() <= 4), "{counts:?}");
}

#[tokio::test]
async fn no_more_is_leased_than_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 10);
    let handle = script(
        dir.path(),
        "touch $DIR/began.$SLUICED_MESSAGE_ID; while [ -d $DIR -a ! -e $DIR/go ]; do sleep 0.02; done",
    );
    let args = ["--concurrency", "2", "--exit-when-empty", "--exec", "sh", handle.to_str().unwrap()];
    let worker = Worker::start(dir.path(), &args);
    let began = || {
        let names = std::fs::read_dir(dir.path()).unwrap();
        names
            .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with("began."))
            .count()
    };
    wait_that(|| began() == 2, "two have begun");
    let onlooker = sluiced_embedded::EmbeddedConsumer::open(dir.path(), "webhooks").unwrap();
    let backlog = onlooker.backlog().await.unwrap();
    assert_eq!((backlog.leased, backlog.visible), (2, 8));
    // Whoever is idle gets the rest.
    let rest = onlooker.receive(10, Duration::from_secs(30), Duration::ZERO).await.unwrap();
    assert_eq!(rest.len(), 8);
    for message in &rest {
        onlooker.acknowledge(message).await.unwrap();
    }
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(worker.wait().count("acknowledged"), 2);
}

/// Holds a file of the message's name while it runs. `set -C` opens with O_EXCL.
const HOLDS: &str = "set -C\n\
    : > $DIR/held/$SLUICED_MESSAGE_ID || echo $SLUICED_MESSAGE_ID >> $DIR/clashes\n\
    echo $SLUICED_MESSAGE_ID >> $DIR/done\n\
    rm $DIR/held/$SLUICED_MESSAGE_ID";

#[test]
fn several_workers_on_one_queue_never_hold_one_message_at_once() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 300);
    std::fs::create_dir(dir.path().join("held")).unwrap();
    let handle = script(dir.path(), HOLDS);
    let args = ["--concurrency", "3", "--exit-when-empty", "--exec", "sh", handle.to_str().unwrap()];
    let workers: Vec<Worker> = (0..3).map(|_| Worker::start(dir.path(), &args)).collect();
    let counts: Vec<u64> = workers.into_iter().map(|worker| worker.wait().count("acknowledged")).collect();
    assert_eq!(counts.iter().sum::<u64>(), 300);
    assert!(counts.iter().all(|count| *count > 0), "all of them work: {counts:?}");
    assert_eq!(lines(&dir.path().join("clashes")), Vec::<String>::new());
    let mut done = lines(&dir.path().join("done"));
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), 300);
}
