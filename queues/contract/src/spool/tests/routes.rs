//! Routes within one destination: one that leads nowhere holds up nobody but its own messages.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use super::doubles::*;
use crate::{Durable, EnqueueError, WebHookQueueContext};

/// Live ones of another route don't even see the disk.
#[tokio::test(start_paused = true)]
async fn live_messages_of_other_routes_go_to_the_broker() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.no_route(&["bad"]);
    let spooled = spooled(&broker, &disk);
    for _ in 0..50 {
        assert_eq!(send(&spooled, &webhook_to("bad")).await.0, Ok(Durable::Spool));
    }
    for n in 0..20 {
        assert_eq!(send(&spooled, &webhook_to("good")).await.0, Ok(Durable::Broker), "{n}");
        assert_eq!(send(&spooled, &webhook_to("bad")).await.0, Ok(Durable::Spool));
    }
    sleep(Duration::from_secs(300)).await;
    let before = broker.tried().len();
    sleep(Duration::from_secs(600)).await;
    let probes = broker.tried().len() - before;
    assert!((55..=130).contains(&probes), "{probes} in ten minutes: seventy messages, and one probe");
    broker.no_route(&[]);
    sleep(Duration::from_secs(15)).await;
    assert!(disk.ids().is_empty());
    assert_eq!(send(&spooled, &webhook_to("bad")).await.0, Ok(Durable::Broker));
    let stored = broker.stored();
    assert_eq!((stored.len(), stored.iter().collect::<BTreeSet<_>>().len()), (91, 91), "each once");
}

/// A thousand that lead nowhere lie in front of one that doesn't.
#[tokio::test(start_paused = true)]
async fn spooled_messages_of_other_routes_go_past() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.no_route(&["bad"]);
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    for _ in 0..20_000 {
        assert_eq!(send(&spooled, &webhook_to("bad")).await.0, Ok(Durable::Spool));
    }
    let good = webhook_to("good");
    assert_eq!(send(&spooled, &good).await.0, Ok(Durable::Spool));
    broker.comes_back(now());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(broker.stored(), [good.message_id]);
    broker.no_route(&[]);
    sleep(Duration::from_secs(30)).await;
    assert!(disk.ids().is_empty());
    assert_eq!(broker.stored().len(), 20_001);
}

/// While one waits, the end isn't waited for.
#[tokio::test(start_paused = true)]
async fn what_waits_for_its_route_does_not_hold_up_the_end() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.no_route(&["bad"]);
    let spooled = spooled(&broker, &disk);
    assert_eq!(send(&spooled, &webhook_to("bad")).await.0, Ok(Durable::Spool));
    sleep(Duration::from_secs(5)).await;
    let began = tokio::time::Instant::now();
    let left = spooled.finish(began + Duration::from_secs(20)).await;
    assert_eq!(left.depth.unwrap().messages, 1);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

/// The broker goes away while a route is being asked: the route is asked again when it is back.
#[tokio::test(start_paused = true)]
async fn a_route_asked_in_vain_is_asked_again() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.no_route(&["bad"]);
    let spooled = spooled(&broker, &disk);
    let ids: Vec<_> = (0..3).map(|_| webhook_to("bad")).collect();
    for webhook in &ids {
        assert_eq!(send(&spooled, webhook).await.0, Ok(Durable::Spool));
    }
    broker.no_route(&[]);
    broker.otherwise(Act::Nothing);
    sleep(Duration::from_secs(45)).await;
    broker.otherwise(fails(EnqueueError::Unavailable("down".into())));
    sleep(Duration::from_secs(45)).await;
    broker.otherwise(now());
    disk.is_empty().await;
    assert_eq!(broker.stored().len(), 3);
}

/// Each route is asked with one message, and each of these takes all the memory that there is for entries.
#[tokio::test(start_paused = true)]
async fn routes_are_not_asked_with_large_messages_all_at_once() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.bytes_max(64 << 20);
    let receivers = ["a", "b", "c"];
    broker.no_route(&receivers);
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    for receiver in receivers {
        let large = WebHookQueueContext { receiver: receiver.into(), ..webhook_of(5 << 20) };
        assert_eq!(send(&spooled, &large).await.0, Ok(Durable::Spool));
    }
    broker.comes_back(after(10_000));
    sleep(Duration::from_secs(30)).await;
    broker.no_route(&[]);
    disk.is_empty().await;
    assert_eq!((broker.stored().len(), broker.in_flight_most()), (3, 1));
}
