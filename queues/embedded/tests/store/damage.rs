//! A damaged store is named, left as it is, and never replaced by a new one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sluiced_embedded::{DeadLetters, EmbeddedConsumer, EmbeddedQueue, OpenError, Options};
use sluiced_queue::WebHookQueueConsumer;

use crate::common::{append, append_numbered, consumer, dir, open, receive, small_partitions, sql_do, texts};

const PAGE: u64 = 8192;

/// A closed store of some 60 pages.
async fn store() -> tempfile::TempDir {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    for n in 0..40_usize {
        append(&queue, format!("{n:05000}")).await;
    }
    queue.close().await;
    dir
}

/// Name and bytes of the files that hold messages.
fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    // An empty log holds none; SQLite makes one to read the database.
    let held =
        files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()));
    held.filter(|(name, bytes)| ["queue.db", "queue.db-wal"].contains(&&**name) && !bytes.is_empty())
        .collect()
}

/// Neither the daemon nor, where it must tell too, a worker opens it; returns what the daemon says.
fn refusal(dir: &Path) -> OpenError {
    let before = snapshot(dir);
    let refused = EmbeddedQueue::open(dir, Options::default()).map(|_| ()).expect_err("it is damaged");
    assert_eq!(snapshot(dir), before, "changed");
    assert!(refused.to_string().contains(dir.to_str().unwrap()), "the path is named: {refused}");
    refused
}

fn assert_damaged(dir: &Path, part_of_what: &str) {
    let refused = refusal(dir);
    let OpenError::Damaged { what, .. } = &refused else { panic!("{refused}") };
    assert!(what.contains(part_of_what), "{what}");
    assert!(refused.to_string().contains(".recover"), "the way out is named: {refused}");
}

fn assert_damaged_to_workers(dir: &Path) {
    let before = snapshot(dir);
    let refused = EmbeddedConsumer::open(dir, "webhooks").map(|_| ()).expect_err("it is damaged");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert_eq!(snapshot(dir), before, "changed");
}

fn write_at(dir: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).open(dir.join("queue.db")).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[tokio::test]
async fn an_empty_file() {
    let dir = store().await;
    fs::write(dir.path().join("queue.db"), "").unwrap();
    assert_damaged(dir.path(), "empty");
    assert_damaged_to_workers(dir.path());
}

/// SQLite would delete the log beside an empty database, and with it what had been acknowledged.
#[tokio::test]
async fn an_empty_file_beside_a_log() {
    let dir = store().await;
    fs::write(dir.path().join("queue.db"), "").unwrap();
    fs::write(dir.path().join("queue.db-wal"), "frames").unwrap();
    assert_damaged(dir.path(), "empty");
    assert_damaged_to_workers(dir.path());
}

#[tokio::test]
async fn a_log_without_its_database() {
    let dir = store().await;
    fs::write(dir.path().join("queue.db-wal"), "frames").unwrap();
    fs::remove_file(dir.path().join("queue.db")).unwrap();
    assert_damaged(dir.path(), "queue.db-wal");
    assert_damaged_to_workers(dir.path());
}

#[tokio::test]
async fn a_header_that_is_garbage() {
    let dir = store().await;
    write_at(dir.path(), 0, &[0xAA; 100]);
    assert_damaged(dir.path(), "not a database");
    assert_damaged_to_workers(dir.path());
}

#[tokio::test]
async fn a_header_of_zeros() {
    let dir = store().await;
    write_at(dir.path(), 0, &[0; 4096]);
    assert_damaged(dir.path(), "not a database");
    assert_damaged_to_workers(dir.path());
}

/// Whichever page it is.
#[tokio::test]
async fn any_page_that_is_garbage() {
    let dir = store().await;
    let path = dir.path().join("queue.db");
    let good = fs::read(&path).unwrap();
    let pages = good.len() as u64 / PAGE;
    assert!(pages > 30, "{pages}");
    for page in (1..pages).step_by(3) {
        write_at(dir.path(), page * PAGE, &[0xAA; PAGE as usize]);
        refusal(dir.path());
        for leftover in ["queue.db-wal", "queue.db-shm"] {
            let _ = fs::remove_file(dir.path().join(leftover));
        }
        fs::write(&path, &good).unwrap();
    }
    open(dir.path()).close().await;
}

#[tokio::test]
async fn a_file_cut_short() {
    let dir = store().await;
    let path = dir.path().join("queue.db");
    let length = path.metadata().unwrap().len();
    for left in [length - PAGE, length / PAGE / 2 * PAGE, 3 * PAGE + 5, 50] {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(left).unwrap();
        drop(file);
        refusal(dir.path());
    }
}

#[tokio::test]
async fn another_programs_database() {
    let dir = dir();
    sql_do(dir.path(), "CREATE TABLE t (x)");
    assert_damaged(dir.path(), "isn't a sluiced store");
    assert_damaged_to_workers(dir.path());
}

#[tokio::test]
async fn tables_that_contradict_each_other() {
    for (statement, what) in [
        ("DELETE FROM partitions WHERE partition = 2", "a table without its partition"),
        ("DROP TABLE messages_2", "a partition without its table"),
        ("DELETE FROM messages_4 WHERE seq = 40", "its last message is missing"),
        ("UPDATE partitions SET done = messages + 1", "more done than there is"),
        ("UPDATE queues SET tail = tail + 1", "don't add up"),
        ("UPDATE queues SET cursor = 10", "don't add up"),
    ] {
        let dir = store().await;
        sql_do(dir.path(), statement);
        assert_damaged(dir.path(), what);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = store().await;
    sql_do(dir.path(), "PRAGMA user_version = 3");
    assert!(matches!(refusal(dir.path()), OpenError::NewerSchema { found: 3, known: 2, .. }));
    let worker = EmbeddedConsumer::open(dir.path(), "webhooks").unwrap_err();
    assert!(matches!(worker, OpenError::NewerSchema { .. }), "{worker}");
}

/// Rot inside a body shows in nothing but its checksum.
#[tokio::test]
async fn a_message_that_has_rotted_is_a_dead_letter() {
    let dir = dir();
    let queue = open(dir.path());
    append(&queue, "good one").await;
    append(&queue, "one that will rot").await;
    append(&queue, "another good one").await;
    queue.close().await;
    let bytes = fs::read(dir.path().join("queue.db")).unwrap();
    let at = bytes.windows(9).position(|window| window == b"that will").unwrap();
    write_at(dir.path(), at as u64, b"T");

    let queue = open(dir.path());
    let consumer = consumer(dir.path());
    let good = receive(&consumer, 10).await;
    assert_eq!(texts(&good), ["good one", "another good one"]);
    for message in &good {
        consumer.acknowledge(message).await.unwrap();
    }
    assert!(consumer.backlog().await.unwrap().is_empty());
    let mut dead = DeadLetters::open(dir.path(), "webhooks").unwrap();
    let letters = dead.list(0).unwrap();
    assert!(letters[0].reason.starts_with("damaged"), "{}", letters[0].reason);
    assert_eq!(dead.show(letters[0].id).unwrap().1, "one That will rot");
    assert!(dead.retry(letters[0].id).is_err(), "a worker must not get it as if it were good");
    queue.close().await;
}

/// What `rm -rf` on the data directory of a running daemon does: it must not go on saying yes.
#[tokio::test]
async fn a_file_deleted_under_the_daemon() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 2).await;
    fs::remove_file(dir.path().join("queue.db")).unwrap();
    let refused = queue.append("lost".into(), uuid::Uuid::now_v7()).await.unwrap_err();
    assert!(refused.to_string().contains("deleted"), "{refused}");
    assert!(queue.failed().await.contains("deleted"));
    queue.close().await;
}
