//! A store of version 1, made and filled by the code of that version and killed in use, is opened by this
//! one: everything is there. `tests/fixtures/v1/make.rs` says what was put in and how.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use sluiced_embedded::{DeadLetters, EmbeddedConsumer, EmbeddedQueue, NewMessage, OpenError};
use sluiced_queue::{Backlog, LeasedMessage, WebHookQueueConsumer};
use uuid::Uuid;

use crate::common::{consumer, dir, drain, open, receive, small_partitions, sql, sql_do};

fn fixture() -> tempfile::TempDir {
    let dir = dir();
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    for file in ["queue.db", "queue.db-wal"] {
        fs::copy(made.join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn payload(n: u32) -> Bytes {
    match n % 7 {
        0 => Bytes::new(),
        1 => Bytes::from(vec![b'a' + (n % 26) as u8; 9000]),
        2 => Bytes::from((0..=255).collect::<Vec<u8>>()),
        _ => Bytes::from(format!("{{\"n\": {n}}}")),
    }
}

fn id(n: u32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(n))
}

/// Number, attempt and bytes of each, by number in the queue.
fn contents(messages: &[LeasedMessage]) -> BTreeMap<u64, (u32, Bytes)> {
    assert!(messages.iter().all(|message| message.headers.is_empty()));
    messages.iter().map(|message| (message.tag, (message.attempt, message.message.clone()))).collect()
}

/// Message `n` has the number `n + 1`.
fn expected(attempts: impl IntoIterator<Item = (u32, u32)>) -> BTreeMap<u64, (u32, Bytes)> {
    attempts.into_iter().map(|(n, attempt)| (u64::from(n) + 1, (attempt, payload(n)))).collect()
}

#[tokio::test]
async fn everything_is_there_byte_for_byte() {
    let dir = fixture();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    assert_eq!(sql::<u32>(dir.path(), "PRAGMA user_version"), 2);
    let consumer = consumer(dir.path());
    // 17 fresh, 12 and 14 given back, 25 to 29 expired.
    let backlog = consumer.backlog().await.unwrap();
    assert_eq!(backlog, Backlog { visible: 24, leased: 9, delayed: 1 });
    let visible =
        [(12, 3), (14, 1)].into_iter().chain((25..30).map(|n| (n, 2))).chain((30..47).map(|n| (n, 1)));
    assert_eq!(contents(&drain(&consumer).await), expected(visible));
    // In the year 2100.
    sql_do(dir.path(), "UPDATE leases SET expires_ms = 1; UPDATE waiting SET visible_ms = 1");
    let rest = [(13, 2)].into_iter().chain((16..25).map(|n| (n, 2)));
    assert_eq!(contents(&drain(&consumer).await), expected(rest));
    assert_eq!(consumer.backlog().await.unwrap(), Backlog::default());
    queue.close().await;
    open(dir.path()).close().await;
}

#[tokio::test]
async fn other_queues_and_stragglers_are_there_too() {
    let dir = fixture();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    sql_do(dir.path(), "UPDATE leases SET expires_ms = 1");
    let audit = drain(&EmbeddedConsumer::open(dir.path(), "audit").unwrap()).await;
    let of = |messages: &[LeasedMessage]| -> Vec<(u32, Bytes)> {
        messages.iter().map(|message| (message.attempt, message.message.clone())).collect()
    };
    let first_leased = |numbers: std::ops::Range<u32>| -> Vec<(u32, Bytes)> {
        let first = numbers.start;
        numbers.map(|n| (if n == first { 2 } else { 1 }, payload(n))).collect()
    };
    assert_eq!(of(&audit), first_leased(100..105));
    let stragglers = drain(&EmbeddedConsumer::open(dir.path(), "stragglers").unwrap()).await;
    assert_eq!(of(&stragglers), first_leased(209..212));
    queue.close().await;
}

#[tokio::test]
async fn a_dead_letter_is_there_and_can_be_retried() {
    let dir = fixture();
    let queue = open(dir.path());
    let mut dead = DeadLetters::open(dir.path(), "webhooks").unwrap();
    let letter = dead.list(0).unwrap().remove(0);
    assert_eq!((letter.message_id, letter.attempts, letter.bytes), (id(15), 1, 9000));
    assert_eq!(letter.reason, "exit status 1");
    assert_eq!(dead.show(letter.id).unwrap().1, payload(15));
    assert!(dead.headers(letter.id).unwrap().is_empty());
    dead.retry(letter.id).unwrap();
    let drained = drain(&consumer(dir.path())).await;
    let last = drained.last().unwrap();
    assert_eq!((last.attempt, &last.message), (1, &payload(15)));
    queue.close().await;
}

/// The partitions of version 1 take messages of this version, moved ones too.
#[tokio::test]
async fn old_partitions_take_new_messages() {
    let dir = fixture();
    let headers = vec![("h".to_owned(), "1".to_owned())];
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    for n in 47..60 {
        let new = NewMessage { headers: headers.clone(), ..NewMessage::new(payload(n), id(n)) };
        let _durable = queue.add(new).await.unwrap();
    }
    let consumer = consumer(dir.path());
    sql_do(dir.path(), "UPDATE leases SET expires_ms = 1; UPDATE waiting SET visible_ms = 1");
    let leased = receive(&consumer, 100).await;
    assert_eq!(leased.len(), 47 - 13 + 13);
    for message in &leased {
        let n = u32::try_from(message.tag - 1).unwrap();
        assert_eq!(message.message, payload(n));
        assert_eq!(message.headers, if n < 47 { Vec::new() } else { headers.clone() }, "{n}");
        consumer.acknowledge(message).await.unwrap();
    }
    queue.close().await;
    open(dir.path()).close().await;
}

/// A migrated store has the tables of a new one.
#[tokio::test]
async fn the_tables_are_those_of_a_new_store() {
    let (old, new) = (fixture(), dir());
    for dir in [&old, &new] {
        let queue = open(dir.path());
        crate::common::append(&queue, "x").await;
        queue.close().await;
    }
    sql_do(new.path(), "ALTER TABLE messages_1 RENAME TO messages_9");
    let columns = |dir: &Path| -> String {
        sql(
            dir,
            "SELECT group_concat(m.name || '.' || c.name || ' ' || c.type || c.\"notnull\" || c.pk, x'0a')
             FROM (SELECT name FROM sqlite_schema WHERE type IN ('table', 'index')
                   AND (name NOT GLOB 'messages_*' OR name = 'messages_9') ORDER BY name) AS m
             JOIN pragma_table_xinfo(m.name) AS c",
        )
    };
    assert_eq!(columns(old.path()), columns(new.path()));
}

/// A worker that comes before the daemon waits for it, and changes nothing.
#[tokio::test]
async fn a_worker_waits_for_the_daemon_to_migrate() {
    let dir = fixture();
    let early = EmbeddedConsumer::open(dir.path(), "webhooks").unwrap_err();
    assert!(matches!(early, OpenError::NotThereYet(_)), "{early}");
    assert_eq!(sql::<u32>(dir.path(), "PRAGMA user_version"), 1);
    open(dir.path()).close().await;
    assert_eq!(receive(&consumer(dir.path()), 1).await.len(), 1);
}
