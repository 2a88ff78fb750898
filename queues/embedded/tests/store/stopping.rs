//! A worker that is stopped (`SIGSTOP`, a debugger, a frozen container): nobody waits for it for ever, and all
//! goes on when it does, or is killed.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sluiced_embedded::{EmbeddedQueue, Options};
use sluiced_queue::{ConsumeError, EnqueueError, Health, WebHookQueueConsumer};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::child::{self, Process};
use crate::common::{LEASE, NOW, append, append_numbered, consumer, dir, drain, open, receive_one, text};
use crate::shim::Shim;

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(process.child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A worker that is stopped while it commits, with the write lock in its hands.
async fn stopped_inside_a_transaction(dir: &Path) -> Process {
    let shim = Shim::new();
    let mut command = child::command("obey-as-worker", dir);
    shim.load_into(&mut command);
    let mut worker = Process::start(&mut command);
    assert_eq!(worker.ask("receive"), "Ok(()) 1");
    shim.rules("write queue.db-wal delay 1000");
    worker.tell("receive");
    tokio::time::sleep(Duration::from_millis(500)).await;
    signal(&worker, Signal::STOP);
    worker
}

/// Every call is answered in time, and with an error that time may mend: senders get 503 and come again.
async fn nobody_waits_for_ever(queue: &EmbeddedQueue, dir: &Path) {
    let began = Instant::now();
    let other = consumer(dir);
    let received = async { other.receive(1, LEASE, NOW).await };
    let (refused, ()) = tokio::join!(received, appends_are_answered(queue, began));
    assert!(matches!(refused, Err(ConsumeError::Unavailable(_))), "{refused:?}");
}

async fn appends_are_answered(queue: &EmbeddedQueue, began: Instant) {
    let mut appends = JoinSet::new();
    for n in 0..20 {
        let queue = queue.clone();
        appends.spawn(async move { queue.append(format!("late {n}").into(), Uuid::now_v7()).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut not_ready = None;
    while !appends.is_empty() {
        if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_millis(100), appends.join_next()).await
        {
            let error = answer.unwrap().unwrap_err();
            assert!(matches!(error, EnqueueError::Unavailable(_) | EnqueueError::TimedOut { .. }), "{error}");
        }
        if not_ready.is_none() && matches!(queue.health(), Health::NotReady(_)) {
            not_ready = Some(began.elapsed());
        }
    }
    let answered = began.elapsed();
    assert!(answered < Duration::from_secs(7), "{answered:?}");
    assert!(not_ready.is_some_and(|after| after < Duration::from_secs(4)), "{not_ready:?}");
}

/// Ready again within a moment; all that was ever acknowledged is there.
async fn goes_on(queue: &EmbeddedQueue, dir: &Path) {
    let began = Instant::now();
    while queue.append("after".into(), Uuid::now_v7()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "never got over");
    }
    assert_eq!(queue.health(), Health::Ready);
    let left = drain(&consumer(dir)).await;
    let of = |name: &str| left.iter().filter(|message| text(message) == name).count();
    assert_eq!((of("m2"), of("m3"), of("after")), (1, 1, 1));
}

#[tokio::test]
async fn a_worker_stopped_inside_a_transaction_and_continued() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 4).await;
    let mut worker = stopped_inside_a_transaction(dir.path()).await;
    nobody_waits_for_ever(&queue, dir.path()).await;
    signal(&worker, Signal::CONT);
    assert_eq!(worker.line().unwrap(), "Ok(()) 2");
    assert_eq!(worker.ask("acknowledge"), "Ok(()) 2");
    goes_on(&queue, dir.path()).await;
    queue.close().await;
    open(dir.path()).close().await;
}

/// What it was about to lease it didn't; what it had leased before stays leased.
#[tokio::test]
async fn a_worker_stopped_inside_a_transaction_and_killed() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 4).await;
    let mut worker = stopped_inside_a_transaction(dir.path()).await;
    nobody_waits_for_ever(&queue, dir.path()).await;
    worker.kill();
    goes_on(&queue, dir.path()).await;
    assert_eq!(consumer(dir.path()).backlog().await.unwrap().leased, 1);
    queue.close().await;
    open(dir.path()).close().await;
}

/// A worker that holds messages and nothing else is in nobody's way.
#[tokio::test]
async fn a_worker_stopped_at_its_work() {
    let dir = dir();
    let queue = open(dir.path());
    append_numbered(&queue, 1).await;
    let mut worker = Process::start(&mut child::command("obey-as-worker", dir.path()));
    assert_eq!(worker.ask("receive"), "Ok(()) 1");
    signal(&worker, Signal::STOP);
    let began = Instant::now();
    for n in 0..50 {
        append(&queue, n.to_string()).await;
    }
    let other = consumer(dir.path());
    assert_eq!(text(&receive_one(&other).await), "0");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(queue.health(), Health::Ready);
    signal(&worker, Signal::CONT);
    assert_eq!(worker.ask("acknowledge"), "Ok(()) 1");
    queue.close().await;
}

/// While somebody reads the log can't start over, so it grows, up to the store's bound. Then senders are told
/// that the store is full, and in time; it isn't once the reader has gone.
#[tokio::test]
async fn a_worker_stopped_while_it_reads() {
    let dir = dir();
    let options = Options { bytes_max: 8 << 20, ..Options::default() };
    let queue = EmbeddedQueue::open(dir.path(), options).unwrap();
    append_numbered(&queue, 1).await;
    let mut reader = Process::start(&mut child::command("read", dir.path()));
    assert_eq!(reader.line().unwrap(), "reading");
    signal(&reader, Signal::STOP);
    let worker = consumer(dir.path());
    let (began, mut appends) = (Instant::now(), 0);
    let (refused, took) = loop {
        let began = Instant::now();
        match queue.append(vec![b'x'; 100_000].into(), Uuid::now_v7()).await {
            Ok(_) => appends += 1,
            Err(error) => break (error, began.elapsed()),
        }
        for message in worker.receive(5, LEASE, NOW).await.unwrap() {
            worker.acknowledge(&message).await.unwrap();
        }
    };
    assert!(matches!(refused, EnqueueError::Full(_)), "{refused}");
    assert!(appends > 20, "{appends} appends in {:?}", began.elapsed());
    assert!(took < Duration::from_secs(6), "{took:?}");
    reader.kill();
    let began = Instant::now();
    while queue.health() != Health::Ready {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", queue.health());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    append(&queue, "after").await;
    queue.close().await;
}
