//! What becomes of entries.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::doubles::*;
use crate::spool::bounds;
use crate::{Durable, EnqueueError, Health, WebHookQueueHandler};

async fn fill(spooled: &crate::spool::Spooled, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let webhook = webhook();
        assert_eq!(send(spooled, &webhook).await.0, Ok(Durable::Spool));
        ids.push(webhook.message_id);
    }
    ids
}

/// Traps 7 and 8: a broker that is absent at the start, or comes back, gets everything without a restart.
#[tokio::test(start_paused = true)]
async fn a_broker_that_comes_back_gets_everything_oldest_first() {
    let (broker, disk) = (Broker::new(fails(EnqueueError::Unavailable("down".into()))), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 500).await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(disk.ids(), ids, "nothing is given up");
    broker.comes_back(now());
    let began = Instant::now();
    disk.is_empty().await;
    assert_eq!(broker.stored(), ids, "oldest first, each once");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(broker.in_flight_most(), bounds::IN_FLIGHT_MAX);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_left_goes_first() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let earlier = spooled(&broker, &disk);
    let ids = fill(&earlier, 10).await;
    assert_eq!(earlier.finish(Instant::now()).await.depth.unwrap().messages, 10);
    disk.restarted();
    broker.comes_back(now());
    let later = spooled(&broker, &disk);
    disk.is_empty().await;
    assert_eq!(broker.stored(), ids);
    assert_eq!(later.status().counts.drained, 10);
}

/// The message goes out as it came in, whatever lies between.
#[tokio::test(start_paused = true)]
async fn a_probe_a_second_while_it_is_away() {
    let (broker, disk) = (Broker::new(fails(EnqueueError::Unavailable("down".into()))), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    fill(&spooled, 100).await;
    let before = broker.tried().len();
    sleep(Duration::from_secs(60)).await;
    let probes = broker.tried().len() - before;
    assert!((40..=80).contains(&probes), "{probes}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_refuses_is_asked_less_and_less_often_and_for_ever() {
    let full = EnqueueError::Full("discard new".into());
    let (broker, disk) = (Broker::new(fails(full)), Disk::new());
    let spooled = spooled(&broker, &disk);
    fill(&spooled, 10).await;
    sleep(Duration::from_secs(60)).await;
    let before = broker.tried().len();
    sleep(Duration::from_secs(600)).await;
    let probes = broker.tried().len() - before;
    assert!((55..=130).contains(&probes), "{probes} in ten minutes");
    broker.otherwise(now());
    sleep(2 * bounds::REFUSED_DELAY_MAX).await;
    assert!(disk.ids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_message_that_is_refused_does_not_hold_up_the_others() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 200).await;
    broker.poison(ids[0]);
    broker.poison(ids[100]);
    broker.comes_back(now());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(disk.ids(), [ids[0], ids[100]], "they stay, and are tried again");
    let tried = broker.tried().len();
    sleep(Duration::from_secs(300)).await;
    assert!(broker.tried().len() >= tried + 4);
}

#[tokio::test(start_paused = true)]
async fn what_turns_out_too_large_is_a_dead_letter_and_the_rest_goes_on() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 3).await;
    let large = webhook_of(5_000);
    assert_eq!(send(&spooled, &large).await.0, Ok(Durable::Spool), "as far as is known it fits");
    let after = fill(&spooled, 3).await;
    broker.bytes_max(1_500);
    broker.comes_back(now());
    disk.is_empty().await;
    assert_eq!(broker.stored(), [ids, after].concat());
    let buried = disk.buried();
    assert_eq!(buried.len(), 1);
    assert!(buried[0].0 == large.message_id && buried[0].1.contains("1500"), "{buried:?}");
    assert_eq!(spooled.status().counts.dead, 1);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_entry_holds_up_nothing() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 3).await;
    disk.damage(ids[1]);
    broker.comes_back(now());
    disk.is_empty().await;
    assert_eq!(broker.stored(), [ids[0], ids[2]]);
    assert_eq!(disk.buried()[0].0, ids[1]);
}

/// The others must not be forgotten over it.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_buried_yet_is_buried_later() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let large = webhook_of(5_000);
    assert_eq!(send(&spooled, &large).await.0, Ok(Durable::Spool));
    let ids = fill(&spooled, 5).await;
    disk.no_burials(2);
    broker.bytes_max(1_500);
    broker.comes_back(now());
    disk.is_empty().await;
    assert_eq!(broker.stored(), ids);
    assert_eq!(disk.buried().len(), 1);
}

/// A bug in a backend costs the message nothing but time.
#[tokio::test(start_paused = true)]
async fn a_publish_that_panics_is_tried_again() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 3).await;
    broker.then([Act::Panic]);
    broker.comes_back(now());
    disk.is_empty().await;
    let mut stored = broker.stored();
    stored.sort_unstable();
    assert_eq!(stored, ids);
}

/// A bug in the drain must not go unnoticed: nothing would ever be sent again.
#[tokio::test(start_paused = true)]
async fn a_drain_that_panics_ends_the_process() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    disk.has_a_bug();
    let spooled = spooled(&broker, &disk);
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(spooled.health(), Health::Failed(_)), "{:?}", spooled.health());
}

/// An entry leaves the disk after its confirmation: a kill in between is a duplicate and no loss.
#[tokio::test(start_paused = true)]
async fn an_entry_stays_until_it_is_confirmed() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 1).await;
    broker.comes_back(after(200));
    let mut looks = 0;
    while broker.stored().is_empty() {
        assert_eq!(disk.ids(), ids);
        looks += 1;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(looks > 100);
    disk.is_empty().await;
}

/// Live messages that get slow make the drain go from 64 at a time to few.
#[tokio::test(start_paused = true)]
async fn the_drain_makes_way_for_live_messages() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    fill(&spooled, 20_000).await;
    broker.comes_back(after(200));
    sleep(Duration::from_secs(4)).await;
    assert_eq!(broker.in_flight_now(), bounds::IN_FLIGHT_MAX, "nobody is in the way");
    for _ in 0..20 {
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Broker));
    }
    assert!(broker.in_flight_now() <= bounds::IN_FLIGHT_MAX / 4, "{}", broker.in_flight_now());
}

#[tokio::test(start_paused = true)]
async fn large_entries_are_few_at_a_time() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.bytes_max(64 << 20);
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    for _ in 0..12 {
        assert_eq!(send(&spooled, &webhook_of(2 << 20)).await.0, Ok(Durable::Spool));
    }
    broker.comes_back(after(100));
    disk.is_empty().await;
    assert!(broker.in_flight_most() <= 2, "{}", broker.in_flight_most());
    assert_eq!(broker.stored().len(), 12);
}

/// The whole context: what isn't in the body comes along.
#[tokio::test(start_paused = true)]
async fn a_spooled_message_is_the_message() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let webhook = webhook();
    assert_eq!(send(&spooled, &webhook).await.0, Ok(Durable::Spool));
    let stored = disk.contexts();
    assert_eq!(stored, [webhook]);
    assert_eq!(spooled.depth().await.unwrap().messages, 1);
}
