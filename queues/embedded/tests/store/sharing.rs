//! Several processes on one store.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sluiced_queue::WebHookQueueConsumer;
use uuid::Uuid;

use crate::child::{self, Process};
use crate::common::{consumer, dir, message_of, small_partitions};

/// Three workers in processes of their own and one in this one, while messages are still appended and
/// partitions come and go: every message is had exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_had_twice() {
    const MESSAGES: usize = 3000;
    let dir = dir();
    let queue = sluiced_embedded::EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    let mut workers: Vec<Process> =
        (0..3).map(|_| Process::start(&mut child::command("work", dir.path()))).collect();
    let mut appends = tokio::task::JoinSet::new();
    for _ in 0..MESSAGES {
        let queue = queue.clone();
        appends.spawn(async move {
            let id = Uuid::now_v7();
            queue.append(message_of(id), id).await.map(|_| id).unwrap()
        });
    }
    let appended: HashSet<Uuid> = appends.join_all().await.into_iter().collect();
    let own = consumer(dir.path());
    let mut had = Vec::new();
    while !own.backlog().await.unwrap().is_empty() {
        for message in crate::common::receive(&own, 3).await {
            had.push(crate::common::id_in(&message.message));
            own.acknowledge(&message).await.unwrap();
        }
    }
    let theirs: Vec<Vec<String>> = workers.iter_mut().map(Process::rest).collect();
    assert!(theirs.iter().all(|lines| !lines.is_empty()), "each worker had a share");
    had.extend(theirs.iter().flatten().map(|line| line.parse::<Uuid>().unwrap()));
    assert_eq!(had.len(), MESSAGES);
    assert_eq!(had.into_iter().collect::<HashSet<_>>(), appended);
    assert_eq!(queue.depth().await.unwrap().messages, 0);
    queue.close().await;
}

#[tokio::test]
async fn a_worker_outlives_the_daemon() {
    let dir = dir();
    let queue = crate::common::open(dir.path());
    crate::common::append_numbered(&queue, 3).await;
    let consumer = consumer(dir.path());
    assert_eq!(crate::common::receive(&consumer, 1).await.len(), 1);
    queue.close().await;
    assert_eq!(crate::common::drain(&consumer).await.len(), 2);
    let queue = crate::common::open(dir.path());
    crate::common::append(&queue, "after the restart").await;
    assert_eq!(crate::common::text(&crate::common::receive_one(&consumer).await), "after the restart");
    queue.close().await;
}

/// The log comes and goes with the last connection; whoever comes or goes meanwhile, nothing is lost.
#[tokio::test]
async fn everybody_comes_and_goes() {
    let dir = dir();
    crate::common::open(dir.path()).close().await;
    let mut visitors: Vec<Process> =
        (0..2).map(|_| Process::start(&mut child::command("visit", dir.path()))).collect();
    let mut appended = HashSet::new();
    for _ in 0..40 {
        let queue = crate::common::open(dir.path());
        for _ in 0..3 {
            let id = Uuid::now_v7();
            let _durable = queue.append(message_of(id), id).await.unwrap();
            appended.insert(id);
        }
        queue.close().await;
    }
    let mut had: Vec<Uuid> = Vec::new();
    for visitor in &mut visitors {
        had.extend(visitor.rest().iter().map(|line| line.parse::<Uuid>().unwrap()));
        assert!(visitor.child.wait().unwrap().success());
    }
    assert!(had.len() > 40, "too few to mean anything: {}", had.len());
    let left = crate::common::drain(&consumer(dir.path())).await;
    had.extend(left.iter().map(|message| crate::common::id_in(&message.message)));
    assert_eq!(had.len(), appended.len());
    assert_eq!(had.into_iter().collect::<HashSet<_>>(), appended);
}

/// There is always somebody who reads, as with several busy workers: the log must start over all the
/// same.
#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_keep_the_log_growing() {
    const MIB: u64 = 1 << 20;
    let dir = dir();
    let queue = crate::common::open(dir.path());
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2).map(|_| read_for_ever(dir.path(), stop.clone())).collect();
    let consumer = consumer(dir.path());
    let mut longest = 0;
    for _ in 0..250 {
        crate::common::append(&queue, vec![1; MIB as usize]).await;
        let message = crate::common::receive_one(&consumer).await;
        consumer.acknowledge(&message).await.unwrap();
        longest = longest.max(dir.path().join("queue.db-wal").metadata().unwrap().len());
    }
    stop.store(true, Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    queue.close().await;
    assert!(longest < 140 * MIB, "the log grew to {} MiB", longest / MIB);
}

/// Reads in transactions of a few milliseconds, with hardly a pause.
fn read_for_ever(dir: &Path, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let mut connection = rusqlite::Connection::open(dir.join("queue.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    std::thread::spawn(move || {
        while !stop.load(Relaxed) {
            let tx = connection.transaction().unwrap();
            let _: i64 = tx.query_row("SELECT count(*) FROM queues", [], |row| row.get(0)).unwrap();
            std::thread::park_timeout(std::time::Duration::from_millis(4));
        }
    })
}
