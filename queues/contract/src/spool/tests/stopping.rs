//! The end: what is drained, what stays.

use std::time::Duration;

use tokio::time::Instant;

use super::doubles::*;
use crate::{Durable, EnqueueError, Health, WebHookQueueHandler};

const GRACE: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn the_spool_is_drained_within_the_grace() {
    let (broker, disk) = (Broker::new(fails(EnqueueError::Unavailable("down".into()))), Disk::new());
    broker.health(Health::NotReady("down".into()));
    let spooled = spooled(&broker, &disk);
    for _ in 0..300 {
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Spool));
    }
    broker.otherwise(after(50));
    broker.health(Health::Ready);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let left = spooled.finish(Instant::now() + GRACE).await;
    assert!(left.is_nothing() && disk.ids().is_empty());
    assert!(!broker.is_closed(), "the broker goes last");
    spooled.close().await;
    assert!(broker.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_is_not_waited_for_and_what_stays_is_counted() {
    let (broker, disk) = (Broker::new(fails(EnqueueError::Unavailable("down".into()))), Disk::new());
    broker.health(Health::NotReady("down".into()));
    let spooled = spooled(&broker, &disk);
    for _ in 0..3 {
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Spool));
    }
    let began = Instant::now();
    let left = spooled.finish(began + GRACE).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!((left.depth.unwrap().messages, left.why.as_deref()), (3, Some("down")));
    assert_eq!(disk.ids().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_grace_bounds_a_slow_broker() {
    let (broker, disk) = (Broker::new(after(200)), Disk::new());
    broker.health(Health::NotReady("down".into()));
    let spooled = spooled(&broker, &disk);
    for _ in 0..8_000 {
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Spool));
    }
    broker.health(Health::Ready);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    let left = spooled.finish(began + Duration::from_secs(5)).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(7), "{took:?}");
    assert!(!left.is_nothing());
    // What was confirmed is gone from the disk: no duplicate for want of a moment.
    assert_eq!(broker.stored().len() + disk.ids().len(), 8_000);
}

#[tokio::test(start_paused = true)]
async fn late_publishes_are_waited_for() {
    let (broker, disk) = (Broker::new(after(3_000)), Disk::new());
    let spooled = spooled(&broker, &disk);
    assert_eq!(send(&spooled, &webhook()).await, (Ok(Durable::Spool), 250));
    let left = spooled.finish(Instant::now() + GRACE).await;
    assert!(left.is_nothing(), "{left:?}");
    assert_eq!(broker.tried().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_after_the_end() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    let spooled = spooled(&broker, &disk);
    assert!(spooled.finish(Instant::now() + GRACE).await.is_nothing());
    assert!(matches!(send(&spooled, &webhook()).await.0, Err(EnqueueError::Unavailable(_))));
    assert_eq!(broker.tried().len() + disk.ids().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_empty_spool_gives_up_when_nothing_moves() {
    let (broker, disk) = (Broker::new(fails(EnqueueError::Unavailable("down".into()))), Disk::new());
    broker.health(Health::NotReady("down".into()));
    let spooled = spooled(&broker, &disk);
    for _ in 0..5 {
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Spool));
    }
    let left = spooled.drained(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(left.depth.unwrap().messages, 5);
    broker.otherwise(now());
    broker.health(Health::Ready);
    assert_eq!(spooled.drained(Duration::from_secs(30)).await, Ok(5));
}

/// A confirmation that comes while the last entries are waited for takes its copy out all the same.
#[tokio::test(start_paused = true)]
async fn a_late_confirmation_at_the_very_end_is_no_duplicate() {
    let (broker, disk) = (Broker::new(after(6_000)), Disk::new());
    let spooled = spooled(&broker, &disk);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await, (Ok(Durable::Spool), 250));
    // Something that hangs in the drain until the grace is over.
    broker.goes_down();
    assert_eq!(send(&spooled, &self::webhook()).await.0, Ok(Durable::Spool));
    broker.comes_back(Act::Nothing);
    tokio::time::sleep(Duration::from_secs(1)).await;
    broker.goes_down();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let left = spooled.finish(Instant::now() + Duration::from_secs(10)).await;
    assert_eq!(broker.stored(), [webhook.message_id]);
    assert!(!disk.ids().contains(&webhook.message_id), "{left:?}");
}
