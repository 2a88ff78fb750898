//! A long backlog: the daemon is killed on top of it, comes back at once, and workers drain it faster than it
//! came; stragglers don't keep it on the disk, and the file shrinks.
//!
//! The full size, a few minutes: `SLUICED_TEST_BACKLOG=1000000 cargo test -p sluiced-embedded --test store
//! backlog -- --nocapture`

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluiced_embedded::{EmbeddedConsumer, EmbeddedQueue, Options, Partitioning};
use sluiced_queue::{Backlog, LeasedMessage, WebHookQueueConsumer};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::child::{self, Process};
use crate::common::{LEASE, consumer, dir, receive, sql, sql_do};

const MIB: u64 = 1 << 20;
/// One message in so many is not done for a long time.
const STRAGGLER_EVERY: u64 = 4000;

pub(crate) fn messages() -> u64 {
    std::env::var("SLUICED_TEST_BACKLOG").map_or(100_000, |text| text.parse().expect("a number"))
}

/// 1 KiB that begins with the number.
fn message(n: u64) -> Bytes {
    let mut bytes = vec![b'x'; 1024];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes.into()
}

fn number(message: &LeasedMessage) -> u64 {
    let n = u64::from_le_bytes(message.message[..8].try_into().unwrap());
    assert_eq!(message.message, self::message(n), "altered");
    n
}

/// In the child: fills the queue as fast as 256 senders can, and says how long that took.
pub(crate) async fn fill(dir: &Path, say: &(dyn Fn(&str) + Sync)) {
    const SENDERS: u64 = 256;
    let queue = EmbeddedQueue::open(dir, Options::default()).unwrap();
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for first in 0..SENDERS {
        let queue = queue.clone();
        senders.spawn(async move {
            for n in (first..messages()).step_by(SENDERS as usize) {
                let _durable = queue.append(message(n), Uuid::now_v7()).await.unwrap();
            }
        });
    }
    senders.join_all().await;
    say(&began.elapsed().as_millis().to_string());
    std::future::pending::<()>().await;
}

fn bytes_of(dir: &Path, file: &str) -> u64 {
    std::fs::metadata(dir.join(file)).map_or(0, |meta| meta.len())
}

/// Stragglers are moved after a second.
fn impatient() -> Options {
    let straggler_age = Duration::from_secs(1);
    Options { partitioning: Partitioning { straggler_age, ..Partitioning::default() }, ..Options::default() }
}

/// Takes everything out but the stragglers, which come back much later; returns how many of each.
async fn drain_all(worker: EmbeddedConsumer) -> (u64, u64) {
    let (mut done, mut stragglers) = (0, 0);
    loop {
        let messages = receive(&worker, 1000).await;
        if messages.is_empty() {
            return (done, stragglers);
        }
        let mut settled = JoinSet::new();
        for message in messages {
            let (worker, straggles) = (worker.clone(), number(&message).is_multiple_of(STRAGGLER_EVERY));
            stragglers += u64::from(straggles);
            done += u64::from(!straggles);
            settled.spawn(async move {
                match straggles {
                    true => worker.release(&message, LEASE, true).await.unwrap(),
                    false => worker.acknowledge(&message).await.unwrap(),
                }
            });
        }
        settled.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_comes_and_goes() {
    let (dir, count) = (dir(), messages());
    let mut daemon = Process::start(&mut child::command("fill", dir.path()));
    let fill_ms: u64 = daemon.line().unwrap().parse().unwrap();
    daemon.kill();
    let (file, log) = (bytes_of(dir.path(), "queue.db") / MIB, bytes_of(dir.path(), "queue.db-wal") / MIB);
    println!("{count} messages of 1 KiB: filled in {fill_ms} ms, {file} MiB and a log of {log} MiB");

    let began = Instant::now();
    let queue = EmbeddedQueue::open(dir.path(), impatient()).unwrap();
    let opened = began.elapsed();
    println!("opened after a kill in {} ms", opened.as_millis());
    assert!(opened < Duration::from_secs(3), "{opened:?}");
    assert_eq!(queue.depth().await.unwrap().messages, count);

    let stragglers = count.div_ceil(STRAGGLER_EVERY);
    let drain_ms = drain_with_two_workers(dir.path(), count - stragglers, stragglers).await;
    println!(
        "drained in {drain_ms} ms: {:.1} times as fast as it was filled",
        fill_ms as f64 / drain_ms as f64
    );
    // Faster; but on a busy machine neither is what it could be.
    assert!(drain_ms < 2 * fill_ms, "slower than it was filled by far");

    shrinks(dir.path(), file).await;
    assert!(sql::<u64>(dir.path(), "SELECT count(*) FROM partitions") <= 2, "stragglers keep some");
    assert!(sql::<u64>(dir.path(), "SELECT count(*) FROM moved") > stragglers / 2);
    // Ten minutes later.
    sql_do(dir.path(), "UPDATE waiting SET visible_ms = 1");
    let back = receive(&consumer(dir.path()), 1000).await;
    assert_eq!(
        back.iter().map(number).collect::<Vec<_>>(),
        (0..stragglers).map(|n| n * STRAGGLER_EVERY).collect::<Vec<_>>()
    );
    queue.close().await;
}

async fn drain_with_two_workers(dir: &Path, done: u64, stragglers: u64) -> u64 {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..2 {
        workers.spawn(drain_all(consumer(dir)));
    }
    let drained =
        workers.join_all().await.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap();
    assert_eq!(drained, (done, stragglers));
    let left = consumer(dir).backlog().await.unwrap();
    assert_eq!(left, Backlog { visible: 0, leased: 0, delayed: stragglers });
    ms
}

/// Free pages go back to the file system at 10 MiB a second, but for what the next partitions will need.
async fn shrinks(dir: &Path, from_mib: u64) {
    let began = Instant::now();
    let kept = 64 + 24;
    let deadline = Duration::from_secs(20 + from_mib / 5);
    while bytes_of(dir, "queue.db") / MIB > kept {
        assert!(began.elapsed() < deadline, "{} MiB after {deadline:?}", bytes_of(dir, "queue.db") / MIB);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (file, log) = (bytes_of(dir, "queue.db") / MIB, bytes_of(dir, "queue.db-wal") / MIB);
    println!("down to {file} MiB and a log of {log} MiB {} s later", began.elapsed().as_secs());
}
