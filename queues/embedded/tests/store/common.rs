//! What the tests have in common.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sluiced_embedded::{EmbeddedConsumer, EmbeddedQueue, NewMessage, Options, Partitioning};
use sluiced_queue::{LeasedMessage, WebHookQueueConsumer};
use uuid::Uuid;

/// Long enough to never end in a test.
pub(crate) const LEASE: Duration = Duration::from_secs(600);
/// Doesn't wait.
pub(crate) const NOW: Duration = Duration::ZERO;

/// A directory on the file system of the build, which isn't in memory as `/tmp` may be.
pub(crate) fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

pub(crate) fn open(dir: &Path) -> EmbeddedQueue {
    EmbeddedQueue::open(dir, Options::default()).unwrap()
}

/// Partitions of ten messages, stragglers moved at once.
pub(crate) fn small_partitions() -> Options {
    let partitioning = Partitioning { messages_max: 10, bytes_max: 1 << 20, straggler_age: Duration::ZERO };
    Options { partitioning, ..Options::default() }
}

pub(crate) fn consumer(dir: &Path) -> EmbeddedConsumer {
    EmbeddedConsumer::open(dir, "webhooks").unwrap()
}

/// Appends one message and insists on the receipt.
pub(crate) async fn append(queue: &EmbeddedQueue, message: impl Into<Bytes>) -> Uuid {
    let id = Uuid::now_v7();
    let receipt = queue.append(message.into(), id).await.unwrap();
    assert_eq!(receipt.durable(), sluiced_queue::Durable::Embedded);
    id
}

/// Appends `m0`, `m1`, …
pub(crate) async fn append_numbered(queue: &EmbeddedQueue, count: usize) {
    for n in 0..count {
        append(queue, format!("m{n}")).await;
    }
}

pub(crate) async fn receive(consumer: &EmbeddedConsumer, max: usize) -> Vec<LeasedMessage> {
    consumer.receive(max, LEASE, NOW).await.unwrap()
}

pub(crate) async fn receive_one(consumer: &EmbeddedConsumer) -> LeasedMessage {
    let mut messages = consumer.receive(1, LEASE, Duration::from_secs(5)).await.unwrap();
    messages.pop().expect("a message within five seconds")
}

pub(crate) fn text(message: &LeasedMessage) -> &str {
    std::str::from_utf8(&message.message).unwrap()
}

pub(crate) fn texts(messages: &[LeasedMessage]) -> Vec<&str> {
    messages.iter().map(text).collect()
}

/// Looks into the store as an operator would.
pub(crate) fn sql<T: rusqlite::types::FromSql>(dir: &Path, sql: &str) -> T {
    plain(dir).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Meddles with it.
pub(crate) fn sql_do(dir: &Path, sql: &str) {
    plain(dir).execute_batch(sql).unwrap();
}

fn plain(dir: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(dir.join("queue.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

/// A message whose bytes all follow from its id: up to 30 kB, so that some take overflow pages.
pub(crate) fn message_of(id: Uuid) -> Bytes {
    let copies = 1 + usize::from(id.as_bytes()[15]) * if id.as_bytes()[14] == 0 { 30 } else { 1 };
    Bytes::from(id.as_bytes().repeat(copies))
}

/// A message that is left out if its id was there within the last ten minutes.
pub(crate) fn claiming(id: Uuid) -> NewMessage {
    NewMessage { dedupe_for: Some(LEASE), ..NewMessage::new(message_of(id), id) }
}

/// How many numbered ids there are.
pub(crate) const NUMBERED: u64 = 1000;

/// The same in every process; in no order, as hashes are.
pub(crate) fn numbered(n: u64) -> Uuid {
    Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n)
}

/// The id of such a message; its bytes must be what the id says.
pub(crate) fn id_in(message: &[u8]) -> Uuid {
    let id = Uuid::from_slice(&message[..16]).unwrap();
    assert_eq!(message, message_of(id), "altered");
    id
}

/// A number that differs from call to call and from run to run.
pub(crate) fn random(below: u64) -> u64 {
    let bytes = Uuid::now_v7().into_bytes();
    bytes[9..].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte)) % below
}

/// Takes everything that is visible, and acknowledges it.
pub(crate) async fn drain(consumer: &EmbeddedConsumer) -> Vec<LeasedMessage> {
    let mut all = Vec::new();
    loop {
        let messages = receive(consumer, 500).await;
        if messages.is_empty() {
            return all;
        }
        let mut acknowledged = tokio::task::JoinSet::new();
        for message in messages.clone() {
            let consumer = consumer.clone();
            acknowledged.spawn(async move { consumer.acknowledge(&message).await.unwrap() });
        }
        acknowledged.join_all().await;
        all.extend(messages);
    }
}
