//! The store as a spool: what one process put in, it or the next one takes out.

use std::path::Path;

use bytes::Bytes;
use sluiced_embedded::{EmbeddedDeadLetters, EmbeddedLane, EmbeddedSpool, OpenError};
use sluiced_queue::spool::{Claimed, SpoolStore};
use sluiced_queue::{DeadLetterStore, Durable, EnqueueError};
use uuid::Uuid;

use crate::common::{dir, sql, sql_do};

const MAX: u64 = 1 << 30;

fn open(dir: &Path) -> EmbeddedSpool {
    EmbeddedSpool::open(dir, MAX).unwrap()
}

async fn fill(lane: &EmbeddedLane, count: usize) -> Vec<u64> {
    let mut keys = Vec::new();
    for n in 0..count {
        let (key, receipt) = lane.append(format!("m{n}").into(), Uuid::now_v7()).await.unwrap();
        assert_eq!(receipt.durable(), Durable::Spool);
        keys.push(key);
    }
    keys
}

async fn claim_all(lane: &EmbeddedLane) -> Vec<Claimed> {
    let mut all = Vec::new();
    loop {
        let claimed = lane.claim(7).await.unwrap();
        if claimed.is_empty() {
            return all;
        }
        all.extend(claimed);
    }
}

fn keys(entries: &[Claimed]) -> Vec<u64> {
    entries.iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn entries_are_claimed_once_in_order_and_read_as_they_were() {
    let dir = dir();
    let spool = open(dir.path());
    let lane = spool.lane("a").await.unwrap();
    assert!(lane.claim(10).await.unwrap().is_empty());
    let appended = fill(&lane, 20).await;
    let claimed = claim_all(&lane).await;
    assert_eq!(keys(&claimed), appended);
    assert!(claimed.iter().all(|entry| entry.bytes == 2 || entry.bytes == 3));
    let some = [claimed[3], claimed[17]];
    let read = lane.read(&some).await.unwrap();
    assert_eq!(read, [Some(Bytes::from("m3")), Some(Bytes::from("m17"))]);
    lane.remove(&some).await.unwrap();
    lane.remove(&some).await.unwrap();
    assert_eq!(lane.depth().await.unwrap().messages, 18);
    // Appended meanwhile: after all others.
    let (key, _) = lane.append("late".into(), Uuid::now_v7()).await.unwrap();
    assert_eq!(keys(&claim_all(&lane).await), [key]);
}

#[tokio::test]
async fn the_next_process_gets_what_the_last_one_had_claimed_and_not_removed() {
    let dir = dir();
    let spool = open(dir.path());
    let lane = spool.lane("a").await.unwrap();
    let appended = fill(&lane, 2_000).await;
    let claimed = claim_all(&lane).await;
    lane.remove(&claimed[100..900]).await.unwrap();
    drop(lane);
    spool.close().await;
    drop(spool);
    let spool = open(dir.path());
    let lane = spool.lane("a").await.unwrap();
    let again = claim_all(&lane).await;
    let left: Vec<u64> = [&appended[..100], &appended[900..]].concat();
    let mut got = keys(&again);
    got.sort_unstable();
    assert_eq!(got, left);
    lane.remove(&again).await.unwrap();
    assert_eq!(lane.depth().await.unwrap().messages, 0);
}

/// A clock that jumps must not make the same process claim an entry twice.
#[tokio::test]
async fn claims_end_with_the_process_and_not_with_the_clock() {
    let dir = dir();
    let spool = open(dir.path());
    let lane = spool.lane("a").await.unwrap();
    fill(&lane, 3).await;
    assert_eq!(claim_all(&lane).await.len(), 3);
    let years: i64 =
        sql(dir.path(), "SELECT (min(expires_ms) / 1000 - unixepoch()) / 86400 / 366 FROM leases");
    assert!(years >= 99, "{years}");
}

#[tokio::test]
async fn destinations_are_apart_and_counted() {
    let dir = dir();
    let spool = open(dir.path());
    let (a, b) = (spool.lane("nats a").await.unwrap(), spool.lane("nats b").await.unwrap());
    assert_eq!(spool.destinations().unwrap(), []);
    fill(&a, 3).await;
    fill(&b, 2).await;
    let both = [("nats a".to_owned(), 3), ("nats b".to_owned(), 2)];
    assert_eq!(spool.destinations().unwrap(), both);
    let claimed = claim_all(&a).await;
    assert_eq!((claimed.len(), spool.destinations().unwrap()), (3, both.to_vec()), "claimed is not gone");
    a.remove(&claimed).await.unwrap();
    assert_eq!(spool.destinations().unwrap(), both[1..]);
}

#[tokio::test]
async fn the_dead_of_all_destinations_are_listed_together_and_go_back_where_they_were() {
    let dir = dir();
    let spool = open(dir.path());
    let (a, b) = (spool.lane("a").await.unwrap(), spool.lane("b").await.unwrap());
    fill(&a, 2).await;
    fill(&b, 1).await;
    a.bury(claim_all(&a).await[1], "too large").await.unwrap();
    b.bury(claim_all(&b).await[0], "too large as well").await.unwrap();
    let dead = EmbeddedDeadLetters::open_all(dir.path()).unwrap();
    let listed = dead.list(None, 10).await.unwrap();
    let reasons: Vec<&str> = listed.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["too large", "too large as well"]);
    dead.retry(&listed[1].id).await.unwrap();
    dead.purge(&listed[0].id).await.unwrap();
    assert!(dead.list(None, 10).await.unwrap().is_empty());
    let back = claim_all(&b).await;
    assert_eq!(b.read(&back).await.unwrap(), [Some(Bytes::from("m0"))]);
    assert!(claim_all(&a).await.is_empty());
}

#[tokio::test]
async fn a_damaged_entry_is_a_dead_letter_and_the_others_are_read() {
    let dir = dir();
    let spool = open(dir.path());
    let lane = spool.lane("a").await.unwrap();
    let appended = fill(&lane, 3).await;
    let partition: i64 = sql(dir.path(), "SELECT partition FROM partitions");
    sql_do(
        dir.path(),
        &format!("UPDATE messages_{partition} SET message = x'00' WHERE seq = {}", appended[1]),
    );
    let claimed = claim_all(&lane).await;
    let read = lane.read(&claimed).await.unwrap();
    assert_eq!(read, [Some(Bytes::from("m0")), None, Some(Bytes::from("m2"))]);
    let dead = EmbeddedDeadLetters::open_all(dir.path()).unwrap().list(None, 10).await.unwrap();
    assert!(dead.len() == 1 && dead[0].reason.contains("damaged"), "{dead:?}");
}

#[tokio::test]
async fn a_full_spool_says_so_and_has_room_again_when_it_was_drained() {
    let dir = dir();
    let spool = EmbeddedSpool::open(dir.path(), 4 << 20).unwrap();
    let lane = spool.lane("a").await.unwrap();
    let message = Bytes::from(vec![b'x'; 100_000]);
    let mut appended = 0;
    let error = loop {
        match lane.append(message.clone(), Uuid::now_v7()).await {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EnqueueError::Full(_)) && appended > 10, "{error} after {appended}");
    assert!(spool.usage().bytes > 2 << 20, "{:?}", spool.usage());
    let claimed = claim_all(&lane).await;
    assert_eq!(claimed.len(), appended);
    lane.remove(&claimed).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while lane.append(message.clone(), Uuid::now_v7()).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "it stays full");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Trap 23: named, with the way out, and left as it is.
#[tokio::test]
async fn a_damaged_store_names_the_way_out() {
    let dir = dir();
    let spool = open(dir.path());
    fill(&spool.lane("a").await.unwrap(), 1).await;
    spool.close().await;
    drop(spool);
    let db = dir.path().join("queue.db");
    std::fs::write(&db, b"this is no database, whatever it was").unwrap();
    let error = EmbeddedSpool::open(dir.path(), MAX).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it and its -wal aside"), "{error}");
    assert_eq!(std::fs::read(&db).unwrap(), b"this is no database, whatever it was");
}
