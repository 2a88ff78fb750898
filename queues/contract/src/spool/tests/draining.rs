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
    broker.then([Act::Panic(Duration::ZERO)]);
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

/// Probes that hang are waited for: a drain that spins meanwhile takes a whole core.
#[tokio::test(start_paused = true)]
async fn a_broker_that_stays_frozen_is_waited_for_in_peace() {
    let (broker, disk) = (Broker::new(Act::Nothing), Disk::new());
    let spooled = spooled(&broker, &disk);
    for _ in 0..100 {
        assert_eq!(send(&spooled, &webhook()).await.0, Ok(Durable::Spool));
    }
    // A paused clock moves on only when there is nothing left to do.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(disk.ids().len(), 100);
    broker.otherwise(now());
    sleep(Duration::from_secs(45)).await;
    assert!(disk.ids().is_empty());
}

/// The same for entries that wait for the memory of those under way.
#[tokio::test(start_paused = true)]
async fn entries_that_find_no_room_are_waited_for_in_peace() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.bytes_max(64 << 20);
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    for _ in 0..4 {
        assert_eq!(send(&spooled, &webhook_of(3 << 20)).await.0, Ok(Durable::Spool));
    }
    broker.comes_back(after(20_000));
    disk.is_empty().await;
    assert_eq!(broker.stored().len(), 4);
}

/// A message that always takes too long, and all the memory there is for entries, holds up nobody.
#[tokio::test(start_paused = true)]
async fn a_large_message_that_always_times_out_does_not_hold_up_the_others() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.bytes_max(64 << 20);
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let large = webhook_of(5 << 20);
    assert_eq!(send(&spooled, &large).await.0, Ok(Durable::Spool));
    let ids = fill(&spooled, 2_000).await;
    broker.always(large.message_id, Act::Nothing);
    broker.comes_back(after(5));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(disk.ids(), [large.message_id]);
    assert_eq!(broker.stored(), ids);
}

/// Nor does one over which a backend always panics.
#[tokio::test(start_paused = true)]
async fn a_message_that_always_panics_does_not_hold_up_the_others() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let ids = fill(&spooled, 50).await;
    broker.always(ids[0], Act::Panic(Duration::ZERO));
    broker.comes_back(now());
    sleep(Duration::from_secs(20)).await;
    assert_eq!(disk.ids(), [ids[0]]);
}

/// A store may give less than it has, for many reasons: it is empty when it gives nothing.
#[tokio::test(start_paused = true)]
async fn the_spool_is_empty_when_nothing_is_left_and_not_before() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let earlier = spooled(&broker, &disk);
    fill(&earlier, 30).await;
    earlier.finish(Instant::now()).await;
    disk.restarted();
    disk.claim_most(10);
    broker.comes_back(now());
    let later = spooled(&broker, &disk);
    assert_eq!(later.drained(Duration::from_secs(30)).await, Ok(30));
    assert!(disk.ids().is_empty());
}

/// Dead letters are no probes: the broker hasn't been asked.
#[tokio::test(start_paused = true)]
async fn many_that_will_never_be_taken_cost_no_second_each() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    for n in 0..100 {
        let large = webhook_of(5_000);
        assert_eq!(send(&spooled, &large).await.0, Ok(Durable::Spool));
        if n % 2 == 0 {
            disk.damage(large.message_id);
        }
    }
    let ids = fill(&spooled, 5).await;
    broker.bytes_max(1_500);
    broker.comes_back(now());
    sleep(Duration::from_secs(5)).await;
    assert_eq!((broker.stored(), disk.buried().len()), (ids, 100));
}

/// What an earlier broker said is no verdict while this one can't be asked.
#[tokio::test(start_paused = true)]
async fn nothing_is_buried_for_its_length_while_the_broker_is_away() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    broker.goes_down();
    let spooled = spooled(&broker, &disk);
    let large = webhook_of(5_000);
    assert_eq!(send(&spooled, &large).await.0, Ok(Durable::Spool));
    broker.bytes_max(1_500);
    sleep(Duration::from_secs(60)).await;
    assert!(disk.buried().is_empty());
    broker.bytes_max(50_000);
    broker.comes_back(now());
    disk.is_empty().await;
    assert_eq!(broker.stored(), [large.message_id]);
}

/// It would go on acknowledging what nobody will ever send.
#[tokio::test(start_paused = true)]
async fn a_store_that_can_never_be_read_again_ends_the_process() {
    let (broker, disk) = (Broker::new(now()), Disk::new());
    let spooled = spooled(&broker, &disk);
    disk.is_broken();
    sleep(Duration::from_secs(5)).await;
    let Health::Failed(why) = spooled.health() else { panic!("{:?}", spooled.health()) };
    assert!(why.contains("malformed"), "{why}");
    let left = spooled.drained(Duration::from_secs(30)).await.unwrap_err();
    assert!(left.why.unwrap().contains("malformed"));
}
