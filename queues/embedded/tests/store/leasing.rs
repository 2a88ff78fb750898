//! Leases: one worker at a time has a message, and it comes back when it should.

use std::time::Duration;

use sluiced_embedded::EmbeddedQueue;
use sluiced_queue::{Backlog, ConsumeError, WebHookQueueConsumer};

use crate::common::{
    LEASE, NOW, append, append_numbered, consumer, dir, open, receive, receive_one, small_partitions, sql,
    text, texts,
};

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_leased_message_is_nobody_elses() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 3).await;
    let (one, other) = (consumer(dir.path()), consumer(dir.path()));
    assert_eq!(texts(&receive(&one, 2).await), ["m0", "m1"]);
    assert_eq!(texts(&receive(&other, 2).await), ["m2"]);
    assert!(receive(&other, 2).await.is_empty());
    assert_eq!(one.backlog().await.unwrap(), Backlog { visible: 0, leased: 3, delayed: 0 });
    queue.close().await;
}

#[tokio::test]
async fn an_expired_lease_counts_as_an_attempt() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 2).await;
    let (one, other) = (consumer(dir.path()), consumer(dir.path()));
    let lost = one.receive(2, SHORT, NOW).await.unwrap();
    let again = other.receive(2, LEASE, Duration::from_secs(5)).await.unwrap();
    assert_eq!(texts(&again), ["m0", "m1"]);
    assert_eq!(again[0].attempt, 2);
    assert_eq!(one.acknowledge(&lost[0]).await, Err(ConsumeError::LeaseLost));
    assert_eq!(one.extend(&lost[0], LEASE).await, Err(ConsumeError::LeaseLost));
    assert_eq!(one.release(&lost[0], NOW, true).await, Err(ConsumeError::LeaseLost));
    assert_eq!(one.dead_letter(&lost[0], "late").await, Err(ConsumeError::LeaseLost));
    other.acknowledge(&again[0]).await.unwrap();
    assert_eq!(other.acknowledge(&again[0]).await, Err(ConsumeError::LeaseLost), "twice");
    queue.close().await;
}

#[tokio::test]
async fn an_expired_lease_stands_until_somebody_takes_the_message() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 1).await;
    let consumer = consumer(dir.path());
    let leased = consumer.receive(1, Duration::from_millis(1), NOW).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(consumer.backlog().await.unwrap().visible, 1);
    consumer.acknowledge(&leased[0]).await.unwrap();
    assert!(consumer.backlog().await.unwrap().is_empty());
    queue.close().await;
}

#[tokio::test]
async fn extending_keeps_one_message_and_not_its_neighbours() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 3).await;
    let (one, other) = (consumer(dir.path()), consumer(dir.path()));
    let leased = one.receive(3, SHORT, NOW).await.unwrap();
    one.extend(&leased[1], LEASE).await.unwrap();
    let back = other.receive(3, LEASE, Duration::from_secs(5)).await.unwrap();
    assert_eq!(texts(&back), ["m0", "m2"]);
    one.acknowledge(&leased[1]).await.unwrap();
    queue.close().await;
}

#[tokio::test]
async fn only_a_failed_release_counts_as_an_attempt() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 1).await;
    let consumer = consumer(dir.path());
    let first = receive_one(&consumer).await;
    consumer.release(&first, NOW, false).await.unwrap();
    let second = receive_one(&consumer).await;
    assert_eq!(second.attempt, 1);
    consumer.release(&second, NOW, true).await.unwrap();
    let third = receive_one(&consumer).await;
    assert_eq!(third.attempt, 2);
    assert_eq!(consumer.release(&first, NOW, true).await, Err(ConsumeError::LeaseLost));
    queue.close().await;
}

#[tokio::test]
async fn a_delayed_message_comes_back_after_its_delay() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 2).await;
    let consumer = consumer(dir.path());
    let first = receive_one(&consumer).await;
    consumer.release(&first, Duration::from_millis(300), true).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap(), Backlog { visible: 1, leased: 0, delayed: 1 });
    assert_eq!(text(&receive_one(&consumer).await), "m1");
    assert!(receive(&consumer, 1).await.is_empty());
    let began = std::time::Instant::now();
    assert_eq!(text(&receive_one(&consumer).await), "m0");
    assert!(began.elapsed() > Duration::from_millis(150));
    queue.close().await;
}

#[tokio::test]
async fn what_was_given_back_comes_before_what_is_fresh() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 4).await;
    let consumer = consumer(dir.path());
    let leased = receive(&consumer, 3).await;
    consumer.release(&leased[2], NOW, false).await.unwrap();
    consumer.release(&leased[0], NOW, true).await.unwrap();
    assert_eq!(texts(&receive(&consumer, 9).await), ["m0", "m2", "m3"]);
    queue.close().await;
}

#[tokio::test]
async fn acknowledging_in_any_order_empties_the_queue() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 20).await;
    let consumer = consumer(dir.path());
    let leased = receive(&consumer, 20).await;
    for n in 0..20 {
        consumer.acknowledge(&leased[n * 7 % 20]).await.unwrap();
        assert_eq!(consumer.backlog().await.unwrap().leased, 19 - n as u64);
    }
    assert!(consumer.backlog().await.unwrap().is_empty());
    assert_eq!(sql::<i64>(dir.path(), "SELECT count(*) FROM leases"), 0);
    queue.close().await;
}

#[tokio::test]
async fn a_dead_letter_leaves_the_queue_and_keeps_its_bytes() {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    let id = append(&queue, "poison").await;
    let consumer = consumer(dir.path());
    let leased = receive_one(&consumer).await;
    consumer.dead_letter(&leased, "exit status 1").await.unwrap();
    assert!(consumer.backlog().await.unwrap().is_empty());

    let mut dead = sluiced_embedded::DeadLetters::open(dir.path(), "webhooks").unwrap();
    let letters = dead.list(0).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].message_id, letters[0].attempts), (id, 1));
    assert_eq!(letters[0].reason, "exit status 1");
    assert_eq!(dead.show(letters[0].id).unwrap().1, "poison");

    dead.retry(letters[0].id).unwrap();
    assert!(dead.list(0).unwrap().is_empty());
    let again = receive_one(&consumer).await;
    assert_eq!((text(&again), again.attempt), ("poison", 1));
    consumer.dead_letter(&again, "exit status 1").await.unwrap();
    let letters = dead.list(0).unwrap();
    dead.purge(letters[0].id).unwrap();
    assert!(dead.purge(letters[0].id).is_err());
    assert!(dead.list(0).unwrap().is_empty());
    queue.close().await;
}

/// A worker that is stopped while it waits for messages doesn't take any with it.
#[tokio::test]
async fn what_nobody_waits_for_any_more_is_given_back() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 3).await;
    let consumer = consumer(dir.path());
    tokio::select! {
        biased;
        _ = consumer.receive(3, LEASE, NOW) => panic!("answered at once"),
        () = std::future::ready(()) => {}
    }
    let messages = receive(&consumer, 3).await;
    assert_eq!(texts(&messages), ["m0", "m1", "m2"]);
    assert!(messages.iter().all(|message| message.attempt == 1));
    queue.close().await;
}
