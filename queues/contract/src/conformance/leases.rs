//! How workers take messages, give them back, and lose them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::tools::{
    ARRIVAL, LEASE, QUIET, SHORT_LEASE, SLACK, acknowledge_all, collect, id_of, insist, insist_on,
    nothing_comes, receive_one, until_ready,
};
use super::{Destination, Fault, Rig, Setup, messages};
use crate::consumer::{ConsumeError, LeasedMessage, WebHookQueueConsumer};

/// A clock may be that much ahead of another, and a timer that early.
const EARLY: Duration = Duration::from_millis(100);

/// Whole seconds, because some brokers count in them.
const DELAY: Duration = Duration::from_secs(3);

/// A worker that waits gets a message soon after it comes; one that waits for nothing gets nothing, in time.
pub(super) async fn waiting_for_work(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let consumer = rig.consumer(Destination::Usual).await;
    let began = Instant::now();
    nothing_comes(&*consumer, LEASE, Duration::from_secs(1)).await;
    let waited = began.elapsed();
    assert!(waited + EARLY >= Duration::from_secs(1), "it didn't wait: {waited:?}");
    assert!(waited < Duration::from_secs(1) + SLACK, "it waited too long: {waited:?}");
    let message = messages::message();
    let (received, _) = tokio::join!(
        async { consumer.receive(10, LEASE, ARRIVAL).await.expect("the queue answers") },
        async {
            tokio::time::sleep(QUIET).await;
            insist(&*handler, &message).await
        }
    );
    assert_eq!(received.len(), 1);
    assert_eq!(id_of(&received[0]), message.message_id);
    assert!(began.elapsed() < waited + QUIET + SLACK, "it came late");
    acknowledge_all(&consumer, received).await;
}

/// Two workers share what is there: no message is in both hands.
pub(super) async fn shared_work(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let ids: HashSet<Uuid> = insist_on(&*handler, 60).await.into_iter().collect();
    let workers = [rig.consumer(Destination::Usual).await, rig.consumer(Destination::Usual).await];
    let mut held: Vec<(usize, LeasedMessage)> = Vec::new();
    let began = Instant::now();
    while held.len() < ids.len() {
        assert!(began.elapsed() < ARRIVAL, "{} of {} came", held.len(), ids.len());
        for (number, worker) in workers.iter().enumerate() {
            let batch = worker.receive(7, LEASE, QUIET).await.expect("the queue answers");
            assert!(batch.len() <= 7, "seven were asked for, {} came", batch.len());
            held.extend(batch.into_iter().map(|message| (number, message)));
        }
    }
    let unique: HashSet<Uuid> = held.iter().map(|(_, message)| id_of(message)).collect();
    assert_eq!((held.len(), unique), (ids.len(), ids));
    for (number, message) in held {
        assert_eq!(message.attempt, 1);
        workers[number].acknowledge(&message).await.expect("a held lease can be acknowledged");
    }
}

/// What is acknowledged is gone for good, for whoever asks, also when its lease would have ended.
pub(super) async fn acknowledged_work(rig: &mut dyn Rig) {
    let (consumer, _) = held(rig, SHORT_LEASE, |consumer, message| async move {
        consumer.acknowledge(&message).await.expect("a held lease can be acknowledged");
    })
    .await;
    nothing_comes(&*consumer, SHORT_LEASE, SHORT_LEASE + Duration::from_secs(1)).await;
    nothing_comes(&*rig.consumer(Destination::Usual).await, SHORT_LEASE, QUIET).await;
    until_backlog(&*consumer, "empty", |backlog| backlog.is_empty()).await;
}

/// A worker that sits on a message loses it when its lease ends, and is told so. All workers of a queue ask for
/// leases of one length, as a fleet does.
pub(super) async fn lease_end(rig: &mut dyn Rig) {
    let (slow, message) = held(rig, SHORT_LEASE, |_, _| async {}).await;
    let other = rig.consumer(Destination::Usual).await;
    nothing_comes(&*other, SHORT_LEASE, SHORT_LEASE / 3).await;
    tokio::time::sleep(SHORT_LEASE * 2 / 3).await;
    let again = receive_one(&*other, SHORT_LEASE).await;
    assert_eq!(id_of(&again), id_of(&message));
    assert_eq!(again.attempt, 2);
    lost(slow.acknowledge(&message).await);
    lost(slow.extend(&message, LEASE).await);
    lost(slow.release(&message, Duration::ZERO, true).await);
    lost(slow.dead_letter(&message, "too late").await);
    other.acknowledge(&again).await.expect("the new lease holds");
    nothing_comes(&*other, SHORT_LEASE, QUIET).await;
}

/// A worker that is gone gives its messages back, at the end of their leases at the latest; what it still tries
/// to settle is lost to it.
pub(super) async fn dead_worker(rig: &mut dyn Rig) {
    let (dead, message) = held(rig, SHORT_LEASE, |_, _| async {}).await;
    rig.inflict(Fault::ConsumersCut).await;
    let other = rig.consumer(Destination::Usual).await;
    let again = receive_one(&*other, SHORT_LEASE).await;
    assert_eq!(id_of(&again), id_of(&message));
    assert_eq!(again.attempt, 2);
    lost(dead.acknowledge(&message).await);
    other.acknowledge(&again).await.expect("the new lease holds");
    drop(dead);
    nothing_comes(&*other, SHORT_LEASE, QUIET).await;
}

/// Work that takes longer keeps its message as long as it says so.
pub(super) async fn extended_lease(rig: &mut dyn Rig) {
    let (consumer, message) = held(rig, SHORT_LEASE, |_, _| async {}).await;
    let other = rig.consumer(Destination::Usual).await;
    for _ in 0..3 {
        nothing_comes(&*other, SHORT_LEASE, SHORT_LEASE / 2).await;
        consumer.extend(&message, SHORT_LEASE).await.expect("a held lease can be extended");
    }
    consumer.acknowledge(&message).await.expect("an extended lease can be acknowledged");
    nothing_comes(&*other, SHORT_LEASE, SHORT_LEASE).await;
}

/// Failed work comes back at once if that is asked for, and the attempt counts.
pub(super) async fn release_at_once(rig: &mut dyn Rig) {
    let (consumer, message) = held(rig, LEASE, |_, _| async {}).await;
    let mut held = message.clone();
    for attempt in 2..=4 {
        consumer.release(&held, Duration::ZERO, true).await.expect("a held lease can be released");
        held = receive_one(&*consumer, LEASE).await;
        assert_eq!(id_of(&held), id_of(&message));
        assert_eq!(held.attempt, attempt);
    }
    lost(consumer.acknowledge(&message).await);
    consumer.acknowledge(&held).await.expect("the last lease holds");
    nothing_comes(&*consumer, LEASE, QUIET).await;
}

/// Work that wasn't begun comes back as if it had never been handed out.
pub(super) async fn release_unfailed(rig: &mut dyn Rig) {
    let (consumer, message) = held(rig, LEASE, |_, _| async {}).await;
    consumer.release(&message, Duration::ZERO, false).await.expect("a held lease can be released");
    let again = receive_one(&*consumer, LEASE).await;
    assert_eq!(id_of(&again), id_of(&message));
    assert_eq!(again.attempt, 1, "only a failure counts");
    consumer.release(&again, Duration::ZERO, true).await.expect("a held lease can be released");
    let third = receive_one(&*consumer, LEASE).await;
    assert_eq!(third.attempt, 2);
    consumer.acknowledge(&third).await.expect("a held lease can be acknowledged");
}

/// A retry with a delay comes after it and not before, once, and isn't forgotten meanwhile.
pub(super) async fn delayed_retry(rig: &mut dyn Rig) {
    let (consumer, message) = held(rig, LEASE, |_, _| async {}).await;
    let began = Instant::now();
    consumer.release(&message, DELAY, true).await.expect("a held lease can be released");
    let backlog = consumer.backlog().await.expect("the queue answers");
    assert!(!backlog.is_empty(), "a delayed message isn't gone");
    let again = receive_one(&*rig.consumer(Destination::Usual).await, LEASE).await;
    let waited = began.elapsed();
    assert!(waited + EARLY >= DELAY, "it came after {waited:?}");
    assert!(waited < DELAY + SLACK, "it came only after {waited:?}");
    assert_eq!(id_of(&again), id_of(&message));
    assert_eq!(again.attempt, 2);
}

/// The backlog counts what is ready, in hand and delayed, and is empty only when nothing is left.
pub(super) async fn backlog_counts(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let consumer = rig.consumer(Destination::Usual).await;
    until_backlog(&*consumer, "empty at first", |backlog| backlog.is_empty()).await;
    let ids = insist_on(&*handler, 5).await;
    until_backlog(&*consumer, "five", |backlog| backlog.visible + backlog.leased == 5).await;
    let one = receive_one(&*consumer, LEASE).await;
    let two = receive_one(&*consumer, LEASE).await;
    until_backlog(&*consumer, "still five", |backlog| {
        backlog.visible + backlog.leased + backlog.delayed == 5
    })
    .await;
    consumer.release(&one, LEASE, true).await.expect("a held lease can be released");
    until_backlog(&*consumer, "five with the delayed one", |backlog| {
        backlog.visible + backlog.leased + backlog.delayed == 5
    })
    .await;
    consumer.acknowledge(&two).await.expect("a held lease can be acknowledged");
    let gone = [id_of(&one), id_of(&two)];
    collect(&consumer, ids.into_iter().filter(|id| !gone.contains(id))).await;
    // Nothing can be had any more, but one is still to come: whoever ends now would forget it.
    for _ in 0..10 {
        let backlog = consumer.backlog().await.expect("the queue answers");
        assert!(!backlog.is_empty(), "the delayed one isn't counted");
        tokio::time::sleep(EARLY).await;
    }
}

/// Waits until a backlog is as it should be: a broker may count with a delay.
async fn until_backlog(
    consumer: &dyn WebHookQueueConsumer,
    what: &str,
    is_right: impl Fn(crate::Backlog) -> bool,
) {
    let began = Instant::now();
    loop {
        let backlog = consumer.backlog().await.expect("the queue answers");
        if is_right(backlog) {
            return;
        }
        assert!(began.elapsed() < ARRIVAL, "{what}: {backlog:?}");
        tokio::time::sleep(EARLY).await;
    }
}

/// A message in a worker's hands, and what it does with it.
async fn held<F: Future<Output = ()>>(
    rig: &mut dyn Rig,
    lease: Duration,
    then: impl FnOnce(std::sync::Arc<dyn WebHookQueueConsumer>, LeasedMessage) -> F,
) -> (std::sync::Arc<dyn WebHookQueueConsumer>, LeasedMessage) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let ids = insist_on(&*handler, 1).await;
    let consumer = rig.consumer(Destination::Usual).await;
    let message = receive_one(&*consumer, lease).await;
    assert_eq!((id_of(&message), message.attempt), (ids[0], 1));
    then(consumer.clone(), message.clone()).await;
    (consumer, message)
}

fn lost(outcome: Result<(), ConsumeError>) {
    assert_eq!(outcome, Err(ConsumeError::LeaseLost));
}
