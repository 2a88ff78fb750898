//! What the cases have in common.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::messages;
use crate::consumer::{LeasedMessage, WebHookQueueConsumer};
use crate::handler::{Health, Receipt, WebHookQueueHandler};
use crate::{EnqueueError, WebHookQueueContext};

/// Longer than any case works on a message.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// Whole seconds, because some brokers count in them, and as short as a case can be sure of.
pub(super) const SHORT_LEASE: Duration = Duration::from_secs(3);
/// By then a queue has recovered from whatever was mended: a broker that starts, a backoff, a heartbeat.
pub(super) const RECOVERY: Duration = Duration::from_secs(45);
/// By then a message that is there has been handed out.
pub(super) const ARRIVAL: Duration = Duration::from_secs(15);
/// Nothing comes within this: nothing is there.
pub(super) const QUIET: Duration = Duration::from_millis(500);
/// What two busy cores and a broker's clock may be late by.
pub(super) const SLACK: Duration = Duration::from_secs(3);

const LOOK_EVERY: Duration = Duration::from_millis(50);
const BATCH: usize = 100;

/// Waits until the handler takes messages.
pub(super) async fn until_ready(handler: &dyn WebHookQueueHandler) {
    let began = Instant::now();
    while handler.health() != Health::Ready {
        assert!(began.elapsed() < RECOVERY, "not ready within {RECOVERY:?}: {:?}", handler.health());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the handler says that it doesn't.
pub(super) async fn until_not_ready(handler: &dyn WebHookQueueHandler) {
    let began = Instant::now();
    while !matches!(handler.health(), Health::NotReady(_)) {
        assert!(began.elapsed() < RECOVERY, "still {:?} after {RECOVERY:?}", handler.health());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Publishes one message, which ends within the deadline and a bit whatever happens.
pub(super) async fn publish(
    handler: &dyn WebHookQueueHandler,
    message: &WebHookQueueContext,
    deadline: Duration,
) -> Result<Receipt, EnqueueError> {
    let outcome = tokio::time::timeout(deadline + SLACK, handler.enqueue(message)).await;
    outcome
        .unwrap_or_else(|_| panic!("a publish hangs: not done {SLACK:?} after its deadline of {deadline:?}"))
}

/// Publishes one message and insists, as a sender does: until there is a receipt.
pub(super) async fn insist(handler: &dyn WebHookQueueHandler, message: &WebHookQueueContext) -> Receipt {
    let began = Instant::now();
    loop {
        match handler.enqueue(message).await {
            Ok(receipt) => return receipt,
            Err(error) => assert!(began.elapsed() < RECOVERY, "no receipt within {RECOVERY:?}: {error}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Publishes messages of their own; gives their ids in order.
pub(super) async fn insist_on(handler: &dyn WebHookQueueHandler, count: usize) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let message = messages::message();
        // What it says of duplicates matters to those who ask for it.
        let _ = insist(handler, &message).await;
        ids.push(message.message_id);
    }
    ids
}

/// Leases one message, which must come.
pub(super) async fn receive_one(consumer: &dyn WebHookQueueConsumer, lease: Duration) -> LeasedMessage {
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < ARRIVAL, "no message within {ARRIVAL:?}");
        let mut messages =
            consumer.receive(1, lease, Duration::from_secs(1)).await.expect("the queue answers");
        assert!(messages.len() <= 1, "one was asked for, {} came", messages.len());
        if let Some(message) = messages.pop() {
            return message;
        }
    }
}

/// Insists that nothing comes for a while. The lease asked for matters: some brokers know only one, for all.
pub(super) async fn nothing_comes(consumer: &dyn WebHookQueueConsumer, lease: Duration, within: Duration) {
    let messages = consumer.receive(1, lease, within).await.expect("the queue answers");
    assert!(messages.is_empty(), "came although it shouldn't: attempt {}", messages[0].attempt);
}

/// The id of a message whose other bytes must be what they were.
pub(super) fn id_of(message: &LeasedMessage) -> Uuid {
    let context = message.context().expect("a message of ours can be read");
    assert_eq!(context, messages::of_id(context.message_id), "altered");
    context.message_id
}

/// Takes and acknowledges everything until all that is wanted has come and nothing more does. How often each
/// message came; every byte of it is checked.
pub(super) async fn collect(
    consumer: &Arc<dyn WebHookQueueConsumer>,
    wanted: impl IntoIterator<Item = Uuid>,
) -> HashMap<Uuid, u32> {
    let mut missing: HashSet<Uuid> = wanted.into_iter().collect();
    let mut seen: HashMap<Uuid, u32> = HashMap::new();
    let mut last_came = Instant::now();
    loop {
        let batch = match consumer.receive(BATCH, LEASE, QUIET).await {
            Ok(batch) => batch,
            Err(error) => {
                assert!(last_came.elapsed() < RECOVERY, "the queue stays away: {error}");
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
        };
        if batch.is_empty() {
            if missing.is_empty() {
                return seen;
            }
            let lost = missing.len();
            assert!(last_came.elapsed() < ARRIVAL, "LOST: {lost} with a receipt never came, {missing:?}");
            continue;
        }
        last_came = Instant::now();
        for message in &batch {
            let id = id_of(message);
            missing.remove(&id);
            *seen.entry(id).or_default() += 1;
        }
        acknowledge_all(consumer, batch).await;
    }
}

/// At once, because each may wait for a disk.
pub(super) async fn acknowledge_all(consumer: &Arc<dyn WebHookQueueConsumer>, messages: Vec<LeasedMessage>) {
    let mut acknowledging = JoinSet::new();
    for message in messages {
        let consumer = consumer.clone();
        acknowledging.spawn(async move { consumer.acknowledge(&message).await });
    }
    for outcome in acknowledging.join_all().await {
        outcome.expect("a held lease can be acknowledged");
    }
}
