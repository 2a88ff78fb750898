//! What one webhook is answered, and when.

use std::time::Duration;

use tokio::time::sleep;

use super::doubles::*;
use crate::spool::{Ack, SpoolOptions, Spooled};
use crate::{Durable, EnqueueError, Health, WebHookQueueHandler};

fn errors() -> Vec<EnqueueError> {
    vec![
        EnqueueError::Unavailable("gone".into()),
        EnqueueError::TimedOut { deadline_ms: 5 },
        EnqueueError::Rejected("no".into()),
        EnqueueError::Full("full".into()),
        EnqueueError::Unroutable("where".into()),
        EnqueueError::Misconfigured("who".into()),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_in_time_needs_no_disk() {
    let (broker, disk) = (Broker::new(after(200)), Disk::new());
    let spooled = spooled(&broker, &disk);
    assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Broker), 200));
    assert_eq!((disk.appended(), broker.tried().len()), (0, 1));
}

/// Trap 4: no confirmation and no deadline, and every request hangs.
#[tokio::test(start_paused = true)]
async fn a_broker_that_never_answers_costs_the_deadline_and_no_more() {
    let (broker, disk) = (Broker::new(Act::Nothing), Disk::new());
    let spooled = spooled(&broker, &disk);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 250));
    assert_eq!(disk.ids(), [webhook.message_id]);
}

#[tokio::test(start_paused = true)]
async fn a_late_confirmation_removes_the_copy_and_nothing_is_sent_twice() {
    let (broker, disk) = (Broker::new(after(5_000)), Disk::new());
    let spooled = spooled(&broker, &disk);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 250));
    sleep(Duration::from_millis(4_000)).await;
    assert_eq!(disk.ids(), [webhook.message_id], "it stays until the broker has it");
    assert_eq!(broker.tried().len(), 1, "the drain leaves it alone");
    disk.is_empty().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.tried(), [webhook.message_id]);
    assert_eq!(spooled.status().counts.late_confirmed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_stays_silent_for_thirty_seconds_is_the_drains() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    let spooled = spooled(&broker, &disk);
    broker.then([Act::Nothing]);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await.0, Ok(Durable::Spool));
    sleep(Duration::from_millis(29_700)).await;
    assert_eq!(broker.tried().len(), 1);
    disk.is_empty().await;
    assert_eq!(broker.stored(), [webhook.message_id]);
}

#[tokio::test(start_paused = true)]
async fn a_late_error_makes_it_the_drains() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    let spooled = spooled(&broker, &disk);
    broker.then([Act::Fail(Duration::from_secs(3), EnqueueError::Unavailable("cut".into()))]);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 250));
    disk.is_empty().await;
    assert_eq!(broker.stored(), [webhook.message_id]);
}

/// A bug in a backend that shows late: nobody would ever say that the publish has ended.
#[tokio::test(start_paused = true)]
async fn a_late_publish_that_panics_makes_it_the_drains() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    let spooled = spooled(&broker, &disk);
    broker.then([Act::Panic(Duration::from_secs(3))]);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 250));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(broker.tried().len(), 1);
    disk.is_empty().await;
    assert_eq!(broker.stored(), [webhook.message_id]);
}

/// The disk's answer takes longer than the broker's: the broker's counts, and the copy goes.
#[tokio::test(start_paused = true)]
async fn a_confirmation_during_the_append_is_the_brokers_receipt() {
    let (broker, disk) = (Broker::new(after(300)), Disk::new());
    disk.append_takes(500);
    let spooled = spooled(&broker, &disk);
    assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Broker), 300));
    assert_eq!(disk.ids().len(), 1);
    disk.is_empty().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.tried().len(), 1, "the copy was never sent");
    assert_eq!(spooled.status().counts.spooled, 0);
}

/// The drain sees the entry before its key is known: it must not take it for nobody's.
#[tokio::test(start_paused = true)]
async fn the_drain_waits_for_appends_that_are_under_way() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    disk.append_takes(2_000);
    let spooled = spooled(&broker, &disk);
    sleep(Duration::from_millis(10)).await;
    broker.then([after(4_000)]);
    let webhook = webhook();
    // The drain looks by itself every two seconds, and so in the middle of the append.
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 2_250));
    disk.is_empty().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.tried(), [webhook.message_id]);
}

/// Traps 9 and 10: whatever the broker says, the answer is neither a 2xx without a message nor a 4xx.
#[tokio::test(start_paused = true)]
async fn every_error_that_time_may_mend_is_spooled_and_sent_again() {
    for error in errors() {
        let (broker, disk) = (Broker::new(now()), Disk::new());
        let spooled = spooled(&broker, &disk);
        broker.then(vec![fails(error.clone()); 3]);
        let webhook = webhook();
        assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 1), "{error}");
        disk.is_empty().await;
        assert_eq!(broker.stored(), [webhook.message_id], "{error}");
        assert_eq!(broker.tried().len(), 4, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_or_blocked_isnt_waited_for() {
    let (broker, disk) = (Broker::new(Act::Nothing), Disk::new());
    broker.health(Health::NotReady("blocked: memory alarm".into()));
    let spooled = spooled(&broker, &disk);
    sleep(Duration::from_secs(1)).await;
    for _ in 0..100 {
        assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Spool), 0));
    }
    assert_eq!(spooled.health(), Health::Ready, "the spool takes messages");
}

#[tokio::test(start_paused = true)]
async fn after_five_misses_in_a_row_nobody_waits_and_a_probe_ends_it() {
    let (broker, disk) = (Broker::new(Act::Nothing), Disk::new());
    let spooled = spooled(&broker, &disk);
    for _ in 0..5 {
        assert!(!spooled.status().suspect);
        assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Spool), 250));
    }
    assert!(spooled.status().suspect);
    let tried = broker.tried().len();
    for _ in 0..1_000 {
        assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Spool), 0));
    }
    sleep(Duration::from_secs(5)).await;
    let probes = broker.tried().len() - tried;
    assert!((3..=8).contains(&probes), "{probes} probes in five seconds");
    broker.otherwise(now());
    // The probes that hang hold up nothing; the next one is confirmed.
    sleep(Duration::from_secs(2)).await;
    assert!(!spooled.status().suspect);
    assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Broker));
    disk.is_empty().await;
    let stored = broker.stored();
    let distinct: std::collections::BTreeSet<_> = stored.iter().collect();
    assert_eq!(distinct.len(), 1_006, "nothing is missing");
}

#[tokio::test(start_paused = true)]
async fn misses_with_a_confirmation_in_between_are_no_reason_for_suspicion() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    let spooled = spooled(&broker, &disk);
    for _ in 0..20 {
        broker.then([after(400)]);
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Spool));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Broker));
    }
    assert!(!spooled.status().suspect);
}

/// Slow is not gone: what is spooled meanwhile goes on, many at a time.
#[tokio::test(start_paused = true)]
async fn a_broker_that_is_always_late_still_gets_everything() {
    let (broker, disk) = (Broker::new(after(400)), Disk::new());
    let spooled = spooled(&broker, &disk);
    for _ in 0..2_000 {
        let (outcome, took) = send(&spooled, &webhook()).await;
        assert!(outcome == Ok(Durable::Spool) && took <= 250);
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_secs(10)).await;
    assert!(disk.ids().is_empty());
    assert_eq!(broker.stored().len(), 2_000, "each once");
}

/// Trap 26: a message over the broker's limit is the sender's to hear of, also while the broker is away.
#[tokio::test(start_paused = true)]
async fn too_large_is_said_at_the_door_and_never_spooled() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.bytes_max(1_000);
    let spooled = spooled(&broker, &disk);
    let large = webhook_of(2_000);
    let is_too_large =
        |outcome: &Outcome| matches!(outcome, Err(EnqueueError::TooLarge { bytes_max: 1_000, .. }));
    assert!(is_too_large(&send(&spooled, &large).await.0));
    broker.health(Health::NotReady("down".into()));
    assert!(is_too_large(&send(&spooled, &large).await.0));
    assert_eq!(disk.appended(), 0);
}

#[tokio::test(start_paused = true)]
async fn with_neither_broker_nor_disk_it_is_an_error() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    disk.full(Some(EnqueueError::Full("the disk is full".into())));
    broker.health(Health::NotReady("down".into()));
    let spooled = spooled(&broker, &disk);
    assert_eq!(send(&spooled, &webhook()).await.0, Err(EnqueueError::Full("the disk is full".into())));
    let Health::NotReady(why) = spooled.health() else { panic!("it can take nothing") };
    assert!(why.contains("down") && why.contains("the disk is full"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn with_a_full_disk_the_broker_gets_a_little_longer() {
    let (broker, disk) = (Broker::new(after(1_000)), Disk::new());
    disk.full(Some(EnqueueError::Full("full".into())));
    let spooled = spooled(&broker, &disk);
    for n in 0..10 {
        assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Broker), 1_000), "{n}");
    }
    broker.otherwise(Act::Nothing);
    let (outcome, took) = send(&spooled, &webhook()).await;
    assert!(outcome == Err(EnqueueError::Full("full".into())) && took <= 2_250, "{outcome:?} {took}");
}

/// `--ack spool`. Trap 22: not before the disk has it.
#[tokio::test(start_paused = true)]
async fn acknowledging_from_the_spool_waits_for_the_disk_and_not_for_the_broker() {
    let (broker, disk) = (Broker::new(after(100)), Disk::new());
    disk.append_takes(7);
    let options = SpoolOptions { ack: Ack::Spool, ..options() };
    let spooled = Spooled::start(
        std::sync::Arc::new(Publisher(broker.clone())),
        Some(std::sync::Arc::new(Lane(disk.clone()))),
        options,
    );
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 7));
    disk.is_empty().await;
    assert_eq!(broker.stored(), [webhook.message_id]);
    disk.full(Some(EnqueueError::Full("full".into())));
    assert_eq!(send(&spooled, &webhook).await.0, Err(EnqueueError::Full("full".into())));
}

/// `--spool off`.
#[tokio::test(start_paused = true)]
async fn without_a_spool_the_deadline_is_an_error() {
    let broker = Broker::new(after(100));
    let spooled = Spooled::start(std::sync::Arc::new(Publisher(broker.clone())), None, options());
    assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Broker), 100));
    broker.otherwise(after(400));
    assert_eq!(send(&spooled, &webhook()).await, (Err(EnqueueError::TimedOut { deadline_ms: 250 }), 250));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(broker.stored().len(), 2, "a publish under way isn't cut off");
    for error in errors() {
        broker.then([fails(error.clone())]);
        assert_eq!(send(&spooled, &webhook()).await.0, Err(error));
    }
    broker.health(Health::NotReady("down".into()));
    assert!(matches!(send(&spooled, &webhook()).await, (Err(EnqueueError::Unavailable(_)), 0)));
    assert_eq!(spooled.health(), Health::NotReady("down".into()));
}

/// What late publishes hold in memory is bounded; past it webhooks go straight to the disk.
#[tokio::test(start_paused = true)]
async fn late_publishes_are_bounded() {
    let (broker, disk) = (Broker::new(Act::Nothing), Disk::new());
    broker.bytes_max(64 << 20);
    let spooled = spooled(&broker, &disk);
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let spooled = spooled.clone();
        sending.spawn(async move { send(&spooled, &webhook_of(1 << 20)).await.0 });
    }
    let outcomes = sending.join_all().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(Durable::Spool)));
    assert_eq!(disk.appended(), 40, "none is dropped");
    // As JSON and as base64 beside it each has some 2.3 MiB: fourteen of them fit into 32 MiB.
    sleep(Duration::from_millis(1)).await;
    assert!(broker.in_flight_most() >= 40);
    let late = broker.in_flight_now();
    assert!((8..=22).contains(&late), "{late} late publishes");
}
