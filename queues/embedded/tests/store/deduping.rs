//! A message whose id is claimed is left out; a claim is there exactly when its message is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use sluiced_embedded::{DeadLetters, EmbeddedConsumer, EmbeddedQueue, NewMessage, Options};
use sluiced_queue::WebHookQueueConsumer;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::child::{self, Process};
use crate::common::{
    NUMBERED, claiming, consumer, dir, drain, id_in, numbered, open, random, receive_one, small_partitions,
    sql, sql_do,
};
use crate::shim::Shim;

/// True if it was left out.
async fn add(queue: &EmbeddedQueue, message: NewMessage) -> bool {
    let receipt = queue.add(message).await.unwrap();
    assert_eq!(receipt.durable(), sluiced_queue::Durable::Embedded);
    receipt.is_duplicate()
}

async fn ids_in(dir: &Path) -> Vec<Uuid> {
    drain(&consumer(dir)).await.iter().map(|message| id_in(&message.message)).collect()
}

#[tokio::test]
async fn the_second_of_an_id_is_left_out_though_the_first_is_done() {
    let dir = dir();
    let queue = open(dir.path());
    let id = Uuid::now_v7();
    assert!(!add(&queue, claiming(id)).await);
    assert!(add(&queue, claiming(id)).await);
    assert_eq!(ids_in(dir.path()).await, [id]);
    assert!(add(&queue, claiming(id)).await);
    // It only holds for those who ask, and within one queue.
    assert!(!add(&queue, NewMessage { dedupe_for: None, ..claiming(id) }).await);
    assert!(!add(&queue.named("audit"), claiming(id)).await);
    queue.close().await;
    let queue = open(dir.path());
    assert!(add(&queue, claiming(id)).await, "survives a restart");
    assert_eq!(ids_in(dir.path()).await, [id]);
    queue.close().await;
}

#[tokio::test]
async fn a_claim_ends_and_is_forgotten() {
    let dir = dir();
    let queue = open(dir.path());
    let id = Uuid::now_v7();
    let short = || NewMessage { dedupe_for: Some(Duration::from_millis(200)), ..claiming(id) };
    assert!(!add(&queue, short()).await);
    assert!(add(&queue, short()).await);
    tokio::time::sleep(Duration::from_millis(210)).await;
    assert!(!add(&queue, short()).await);
    assert!(!add(&queue, claiming(Uuid::now_v7())).await);
    let held = || -> (i64, i64) {
        (sql(dir.path(), "SELECT count(*) FROM claims"), sql(dir.path(), "SELECT sum(claims) FROM queues"))
    };
    for _ in 0..50 {
        if held() == (1, 1) {
            queue.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?} claims, and one should be left", held());
}

/// Whoever retries a dead letter means it.
#[tokio::test]
async fn what_is_a_dead_letter_makes_no_duplicate_and_can_be_retried() {
    let dir = dir();
    let queue = open(dir.path());
    let id = Uuid::now_v7();
    add(&queue, claiming(id)).await;
    let consumer = consumer(dir.path());
    consumer.dead_letter(&receive_one(&consumer).await, "no").await.unwrap();
    let mut dead = DeadLetters::open(dir.path(), "webhooks").unwrap();
    assert!(!add(&queue, claiming(id)).await, "nobody works on the dead one: a redelivery is queued");
    assert!(add(&queue, claiming(id)).await, "and claims the id anew");
    dead.retry(dead.list(0).unwrap()[0].id).unwrap();
    assert_eq!(ids_in(dir.path()).await, [id, id]);
    queue.close().await;
}

/// In a small store there is room for few claims, and the oldest go first.
#[tokio::test(flavor = "multi_thread")]
async fn claims_are_bounded() {
    const MAX: u64 = 8 << 20 >> 10;
    const BATCH: u64 = 500;
    let dir = dir();
    let options = Options { bytes_max: 8 << 20, ..Options::default() };
    let queue = EmbeddedQueue::open(dir.path(), options.clone()).unwrap();
    let consumer = consumer(dir.path());
    for first in (0..MAX + 2 * BATCH).step_by(BATCH as usize) {
        let mut adds = JoinSet::new();
        for n in first..first + BATCH {
            let (queue, id) = (queue.clone(), numbered(n));
            adds.spawn(async move { add(&queue, NewMessage { payload: "x".into(), ..claiming(id) }).await });
        }
        assert!(adds.join_all().await.iter().all(|duplicate| !duplicate));
        drain(&consumer).await;
    }
    let held = || -> u64 { sql(dir.path(), "SELECT count(*) FROM claims") };
    assert_eq!(held(), MAX);
    assert!(add(&queue, claiming(numbered(MAX + BATCH))).await, "a late one is known");
    assert!(!add(&queue, claiming(numbered(0))).await, "the first ones have gone");
    // With a lower bound it comes down, in steps.
    queue.close().await;
    let queue = EmbeddedQueue::open(dir.path(), Options { bytes_max: 4 << 20, ..options }).unwrap();
    for n in 0..MAX / 2 / 256 + 1 {
        add(&queue, claiming(numbered(1_000_000 + n))).await;
    }
    assert_eq!(held(), MAX / 2);
    assert_eq!(sql::<u64>(dir.path(), "SELECT sum(claims) FROM queues"), MAX / 2);
    queue.close().await;
}

/// After a disk that was full the sender's retry is no duplicate, for the first try was undone.
#[test]
fn a_batch_that_was_undone_leaves_no_claim() {
    let (dir, shim) = (dir(), Shim::new());
    let mut command = child::command("obey", dir.path());
    shim.load_into(&mut command);
    let mut daemon = Process::start(&mut command);
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    assert_eq!(daemon.ask(&format!("claim {first}")), "Ok(false)");
    for errno in [28, 5] {
        shim.rules(&format!("write * fail {errno}"));
        for id in [second, second, first] {
            let refused = daemon.ask(&format!("claim {id}"));
            assert!(refused.starts_with("Err(") || id == first, "{refused}");
        }
        shim.rules("");
    }
    assert_eq!(daemon.ask(&format!("claim {second}")), "Ok(false)");
    assert_eq!(daemon.ask(&format!("claim {second}")), "Ok(true)");
    assert_eq!(daemon.ask(&format!("claim {first}")), "Ok(true)");
    daemon.kill();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = open(dir.path());
        assert_eq!(ids_in(dir.path()).await, [first, second]);
        queue.close().await;
    });
}

/// What a killed daemon wrote and didn't sync is on the disk before anything is its duplicate.
#[test]
fn a_duplicate_of_what_a_killed_daemon_left_is_synced() {
    let dir = dir();
    let id = Uuid::now_v7();
    let start = |rules: &str| {
        let shim = Shim::new();
        let mut command = child::command("obey", dir.path());
        shim.load_into(&mut command);
        shim.rules(rules);
        (Process::start(&mut command), shim)
    };
    let (mut daemon, _shim) = start("sync * skip 0");
    assert_eq!(daemon.ask(&format!("claim {id}")), "Ok(false)");
    daemon.kill();
    let (mut daemon, shim) = start("");
    assert_eq!(daemon.ask(&format!("claim {id}")), "Ok(true)");
    assert!(shim.count("sync queue.db-wal") >= 1);
}

/// Killed at random moments, and the sender comes again with everything: each message is there once.
#[tokio::test]
async fn after_a_kill_every_retry_is_left_out_or_taken_rightly() {
    let mut left_out = 0;
    for _ in 0..8 {
        let dir = dir();
        let mut daemon = Process::start(&mut child::command("claim", dir.path()));
        assert_eq!(daemon.line().unwrap(), "open");
        tokio::time::sleep(Duration::from_micros(random(30_000))).await;
        daemon.kill();
        let queue = open(dir.path());
        let mut adds = JoinSet::new();
        for n in 0..NUMBERED {
            let queue = queue.clone();
            adds.spawn(async move { add(&queue, claiming(numbered(n))).await });
        }
        left_out += adds.join_all().await.into_iter().filter(|duplicate| *duplicate).count();
        let ids = ids_in(dir.path()).await;
        assert_eq!(ids.len() as u64, NUMBERED);
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), (0..NUMBERED).map(numbered).collect());
        queue.close().await;
    }
    assert!(left_out > 0 && left_out < 8 * NUMBERED as usize, "{left_out}: the kills came at the wrong time");
}

/// One sender's tries of one event, all at once, from several of them.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_retries_add_one_message() {
    const IDS: u64 = 50;
    const TRIES: u64 = 40;
    let dir = dir();
    let queue = open(dir.path());
    let mut adds = JoinSet::new();
    for n in 0..IDS * TRIES {
        let queue = queue.clone();
        adds.spawn(async move { (n % IDS, add(&queue, claiming(numbered(n % IDS))).await) });
    }
    let mut added: Vec<u64> =
        adds.join_all().await.into_iter().filter_map(|(n, duplicate)| (!duplicate).then_some(n)).collect();
    added.sort_unstable();
    assert_eq!(added, (0..IDS).collect::<Vec<_>>());
    assert_eq!(ids_in(dir.path()).await.len() as u64, IDS);
    let commits = queue.counts().commits;
    assert!(commits < IDS * TRIES / 4, "{commits} commits: hardly two of an id met in one batch");
    queue.close().await;
}

#[derive(Clone, Debug)]
enum Order {
    /// All at once: which id, into which queue, and whether it claims.
    Add(Vec<(u64, bool, bool)>),
    TimePasses,
    Restart,
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let add = (0..6_u64, any::<bool>(), prop::bool::weighted(0.8));
    let one = prop_oneof![
        8 => prop::collection::vec(add, 1..20).prop_map(Order::Add),
        1 => Just(Order::TimePasses),
        1 => Just(Order::Restart),
    ];
    prop::collection::vec(one, 1..12)
}

/// Adds all of them at once; how many were added, by id and queue.
async fn add_all(queue: &EmbeddedQueue, adds: &[(u64, bool, bool)]) -> BTreeMap<(u64, bool), usize> {
    let mut tasks = JoinSet::new();
    for &(n, audit, claims) in adds {
        let queue = if audit { queue.named("audit") } else { queue.clone() };
        let dedupe_for = claims.then_some(Duration::from_secs(600));
        tasks.spawn(async move {
            let message = NewMessage { dedupe_for, ..claiming(numbered(n)) };
            ((n, audit), usize::from(!add(&queue, message).await))
        });
    }
    let mut added = BTreeMap::new();
    for (key, count) in tasks.join_all().await {
        *added.entry(key).or_default() += count;
    }
    added
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn claims_do_what_a_set_does(orders in orders()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = dir();
            let mut queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
            let mut claimed = BTreeSet::new();
            let mut total = 0;
            for order in orders {
                match order {
                    Order::Add(adds) => {
                        let mut expected = BTreeMap::new();
                        for &(n, audit, claims) in &adds {
                            let new = !claims || claimed.insert((n, audit));
                            *expected.entry((n, audit)).or_default() += usize::from(new);
                        }
                        total += expected.values().sum::<usize>();
                        assert_eq!(add_all(&queue, &adds).await, expected);
                    }
                    Order::TimePasses => {
                        sql_do(dir.path(), "UPDATE claims SET expires_ms = 1");
                        claimed.clear();
                    }
                    Order::Restart => {
                        queue.close().await;
                        queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
                    }
                }
            }
            let audit = drain(&EmbeddedConsumer::open(dir.path(), "audit").unwrap()).await;
            assert_eq!(audit.len() + ids_in(dir.path()).await.len(), total);
            queue.close().await;
        });
    }
}
