//! Bodies lie in partitions, and go when the last of them is done.

use std::time::Duration;

use sluiced_embedded::EmbeddedQueue;
use sluiced_queue::WebHookQueueConsumer;

use crate::common::{
    LEASE, append_numbered, consumer, dir, drain, receive, small_partitions, sql, sql_do, texts,
};

fn partitions(dir: &std::path::Path) -> i64 {
    sql(dir, "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'messages_[0-9]*'")
}

/// Waits until maintenance has brought them down to so many.
async fn until_partitions(dir: &std::path::Path, count: i64) {
    for _ in 0..100 {
        if partitions(dir) <= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} partitions after ten seconds, not {count}", partitions(dir));
}

#[tokio::test]
async fn a_partition_whose_messages_are_done_is_dropped() {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    append_numbered(&queue, 35).await;
    assert_eq!(partitions(dir.path()), 4);
    let consumer = consumer(dir.path());
    for message in receive(&consumer, 9).await {
        consumer.acknowledge(&message).await.unwrap();
    }
    assert_eq!(partitions(dir.path()), 4);
    let tenth = receive(&consumer, 1).await;
    consumer.acknowledge(&tenth[0]).await.unwrap();
    // The worker drops it, after its answer.
    until_partitions(dir.path(), 3).await;
    drain(&consumer).await;
    until_partitions(dir.path(), 1).await;
    queue.close().await;
}

#[tokio::test]
async fn a_spent_partition_is_left_behind_early() {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    let consumer = consumer(dir.path());
    for _ in 0..3 {
        append_numbered(&queue, 2).await;
        drain(&consumer).await;
    }
    until_partitions(dir.path(), 1).await;
    assert_eq!(sql::<i64>(dir.path(), "SELECT max(partition) FROM partitions"), 3);
    queue.close().await;
}

/// One message in each partition is leased and one waits: both are moved, keep lease and delay, and
/// survive a second move.
#[tokio::test]
async fn stragglers_are_moved_and_stay_what_they_are() {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    // Long ones go, short ones stay: few of the bytes are left.
    for n in 0..40 {
        let length = if n % 10 < 8 { 5000 } else { 10 };
        crate::common::append(&queue, format!("{n:0length$}")).await;
    }
    let consumer = consumer(dir.path());
    let leased = receive(&consumer, 40).await;
    let mut kept = Vec::new();
    for (n, message) in leased.iter().enumerate() {
        match n % 10 {
            8 => consumer.release(message, LEASE, true).await.unwrap(),
            9 => kept.push(message.clone()),
            _ => consumer.acknowledge(message).await.unwrap(),
        }
    }
    // The last of the four is still the current one.
    until_partitions(dir.path(), 1).await;
    assert_eq!(sql::<i64>(dir.path(), "SELECT count(*) FROM moved"), 6);
    // Another partition becomes the current one, and the old one's stragglers move once more.
    for n in 40..52 {
        crate::common::append(&queue, format!("{n:05000}")).await;
    }
    let fresh = receive(&consumer, 2).await;
    assert_eq!(fresh[0].message.len(), 5000);
    for message in fresh {
        consumer.acknowledge(&message).await.unwrap();
    }
    assert_eq!(drain(&consumer).await.len(), 10);
    for message in &kept {
        consumer.acknowledge(message).await.unwrap();
    }
    // Ten minutes later.
    sql_do(dir.path(), "UPDATE waiting SET visible_ms = 1");
    let back = receive(&consumer, 10).await;
    assert_eq!(texts(&back), ["0000000008", "0000000018", "0000000028", "0000000038"]);
    assert!(back.iter().all(|message| message.attempt == 2));
    for message in &back {
        consumer.acknowledge(message).await.unwrap();
    }
    assert_eq!(sql::<i64>(dir.path(), "SELECT count(*) FROM moved"), 0);
    assert_eq!(queue.depth().await.unwrap().messages, 0);
    queue.close().await;
    // It still adds up.
    crate::common::open(dir.path()).close().await;
}

/// More of them than one transaction moves.
#[tokio::test(flavor = "multi_thread")]
async fn many_stragglers_are_moved_in_several_steps() {
    const SMALL: usize = 1500;
    let dir = dir();
    let mut options = small_partitions();
    options.partitioning.messages_max = SMALL as u64 + 1;
    options.partitioning.bytes_max = 2 << 20;
    let queue = EmbeddedQueue::open(dir.path(), options).unwrap();
    crate::common::append(&queue, vec![1; 1 << 20]).await;
    let mut appends = tokio::task::JoinSet::new();
    for n in 0..=SMALL {
        let queue = queue.clone();
        appends.spawn(async move { crate::common::append(&queue, format!("{n:05}")).await });
    }
    appends.join_all().await;
    let consumer = consumer(dir.path());
    let leased = [receive(&consumer, SMALL).await, receive(&consumer, SMALL).await].concat();
    assert_eq!(leased.len(), SMALL + 2);
    consumer.acknowledge(&leased[0]).await.unwrap();
    until_partitions(dir.path(), 1).await;
    assert_eq!(sql::<usize>(dir.path(), "SELECT count(*) FROM moved"), SMALL);
    assert_eq!(queue.depth().await.unwrap().messages, SMALL as u64 + 1);
    for message in &leased[1..] {
        consumer.release(message, Duration::ZERO, false).await.unwrap();
    }
    assert_eq!(drain(&consumer).await.len(), SMALL + 1);
    queue.close().await;
    crate::common::open(dir.path()).close().await;
}

/// The file grows with a backlog and shrinks after it, but for what the next partitions will need.
#[tokio::test(flavor = "multi_thread")]
async fn space_comes_back_after_a_backlog() {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), sluiced_embedded::Options::default()).unwrap();
    let message = bytes::Bytes::from(vec![1; 1 << 20]);
    for _ in 0..100 {
        crate::common::append(&queue, message.clone()).await;
    }
    let consumer = consumer(dir.path());
    assert_eq!(drain(&consumer).await.len(), 100);
    let kept = 64 + 20;
    for _ in 0..100 {
        let mib = std::fs::metadata(dir.path().join("queue.db")).unwrap().len() >> 20;
        if mib <= kept {
            queue.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the file is still longer than {kept} MiB after ten seconds");
}
