//! What gets into a queue, and what doesn't.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::tools::{
    ARRIVAL, LEASE, QUIET, collect, insist, insist_on, nothing_comes, publish, receive_one, until_not_ready,
    until_ready,
};
use super::{Credentials, Destination, Facts, Rig, Setup, messages};
use crate::handler::{EnqueueError, Health, WebHookQueueHandler};

/// How many publish at once; as many webhooks are in flight under load.
const PUBLISHERS: usize = 256;

/// A closing handler must have finished what is under way by then.
const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// Every byte of the body and every fact of the request come back, in every form.
pub(super) async fn round_trip(rig: &mut dyn Rig) {
    let facts = rig.facts();
    for &format in facts.formats {
        let handler = rig.handler(Setup { format, ..Setup::default() }).await;
        until_ready(&*handler).await;
        let consumer = rig.consumer(Destination::Usual).await;
        for (content_type, body) in messages::bodies() {
            let sent = messages::with_body(Uuid::now_v7(), content_type, body.clone());
            let receipt = insist(&*handler, &sent).await;
            assert_eq!(receipt.durable(), facts.durable);
            let message = receive_one(&*consumer, LEASE).await;
            assert_eq!(message.attempt, 1);
            let came = message.context().expect("it can be read");
            assert_eq!(came.data.bytes(), body, "{format}: the body is another one");
            assert_eq!(came, sent, "{format}");
            consumer.acknowledge(&message).await.expect("a held lease can be acknowledged");
        }
        handler.close().await;
    }
}

/// Many publishes are in flight; each message with a receipt is there once.
pub(super) async fn many_at_once(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let deadline = rig.facts().publish_deadline;
    let mut publishing = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let handler = handler.clone();
        publishing.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..4 {
                let message = messages::message();
                let receipt = publish(&*handler, &message, deadline).await.expect("nothing is wrong");
                assert!(!receipt.is_duplicate());
                ids.push(message.message_id);
            }
            ids
        });
    }
    let ids: Vec<Uuid> = publishing.join_all().await.concat();
    let consumer = rig.consumer(Destination::Usual).await;
    let seen = collect(&consumer, ids.iter().copied()).await;
    assert_eq!(seen.len(), ids.len(), "others came as well");
    let twice = seen.values().filter(|&&times| times > 1).count();
    assert_eq!(twice, 0, "came more than once");
}

/// A message of just the limit's length passes; a byte more is refused, and the error names both lengths.
pub(super) async fn too_large(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let Facts { publish_deadline: deadline, limit_reserve, .. } = rig.facts();
    // Asked for after the connection is there: the limit may come from the broker.
    let bytes_max = handler.message_bytes_max();
    let longest = messages::of_length(bytes_max);
    let receipt = publish(&*handler, &longest, deadline).await.expect("just the limit's length");
    assert!(!receipt.is_duplicate());
    let too_long = bytes_max + limit_reserve + 1;
    let error = publish(&*handler, &messages::of_length(too_long), deadline).await.expect_err("too long");
    match error {
        EnqueueError::TooLarge { bytes, bytes_max: named } if limit_reserve > 0 => {
            assert!(bytes >= too_long && (bytes_max..bytes).contains(&named), "{error}");
        }
        _ => assert_eq!(error, EnqueueError::TooLarge { bytes: too_long, bytes_max }),
    }
    let consumer = rig.consumer(Destination::Usual).await;
    let message = receive_one(&*consumer, LEASE).await;
    assert_eq!(message.context().expect("it can be read"), longest);
    consumer.acknowledge(&message).await.expect("a held lease can be acknowledged");
    nothing_comes(&*consumer, LEASE, QUIET).await;
    assert_eq!(handler.health(), Health::Ready, "one message that is too long says nothing of the next");
}

/// Without a destination there is no receipt, and the handler says that it isn't ready; it is when the
/// destination comes into being.
pub(super) async fn missing_destination(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup { destination: Destination::Missing, ..Setup::default() }).await;
    let deadline = rig.facts().publish_deadline;
    fails_with(&*handler, deadline, "that the destination is missing", |error| {
        matches!(error, EnqueueError::Unroutable(_) | EnqueueError::Misconfigured(_))
    })
    .await;
    until_not_ready(&*handler).await;
    rig.mend().await;
    let sent = messages::message();
    let _ = insist(&*handler, &sent).await;
    until_ready(&*handler).await;
}

/// Wrong credentials are told apart, nothing gets a receipt, and it goes on trying.
pub(super) async fn refused_credentials(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup { credentials: Credentials::Wrong, ..Setup::default() }).await;
    let deadline = rig.facts().publish_deadline;
    fails_with(&*handler, deadline, "that credentials are refused", |error| {
        matches!(error, EnqueueError::Misconfigured(_))
    })
    .await;
    until_not_ready(&*handler).await;
    rig.mend().await;
    let sent = messages::message();
    let _ = insist(&*handler, &sent).await;
    until_ready(&*handler).await;
    let consumer = rig.consumer(Destination::Usual).await;
    let seen = collect(&consumer, [sent.message_id]).await;
    assert_eq!(seen.get(&sent.message_id), Some(&1));
}

/// One message for two handlers is in both places; neither takes it for a duplicate of the other's.
pub(super) async fn fan_out(rig: &mut dyn Rig) {
    let usual = rig.handler(Setup::default()).await;
    let other = rig.handler(Setup { destination: Destination::Other, ..Setup::default() }).await;
    until_ready(&*usual).await;
    until_ready(&*other).await;
    let message = messages::message();
    assert!(!insist(&*usual, &message).await.is_duplicate());
    assert!(!insist(&*other, &message).await.is_duplicate());
    let mut times = 0;
    for destination in [Destination::Usual, Destination::Other] {
        let consumer = rig.consumer(destination).await;
        // A consumer may see both places, so only their sum counts.
        times += collect(&consumer, []).await.get(&message.message_id).copied().unwrap_or_default();
    }
    assert_eq!(times, 2);
}

/// Closing finishes what is under way: every receipt counts, everybody gets an answer, and then nothing is taken.
pub(super) async fn closing(rig: &mut dyn Rig) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let before = insist_on(&*handler, 10).await;
    let deadline = rig.facts().publish_deadline;
    let mut publishing = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let handler = handler.clone();
        publishing.spawn(async move {
            let message = messages::message();
            publish(&*handler, &message, deadline).await.ok().map(|_| message.message_id)
        });
    }
    tokio::task::yield_now().await;
    tokio::time::timeout(CLOSE_DEADLINE, handler.close()).await.expect("closing ends");
    let during = publishing.join_all().await.into_iter().flatten();
    let after = publish(&*handler, &messages::message(), deadline).await;
    assert!(after.is_err(), "a closed handler gave a receipt");
    let consumer = rig.consumer(Destination::Usual).await;
    collect(&consumer, before.into_iter().chain(during)).await;
}

/// Publishing never succeeds, and soon says why: right after its start a handler has only begun to connect.
async fn fails_with(
    handler: &dyn WebHookQueueHandler,
    deadline: Duration,
    what: &str,
    is_kind: impl Fn(&EnqueueError) -> bool,
) {
    let began = Instant::now();
    loop {
        let error = publish(handler, &messages::message(), deadline).await.expect_err("it can't get there");
        if is_kind(&error) {
            return;
        }
        assert!(began.elapsed() < ARRIVAL, "the operator must learn {what}: {error:?}");
        tokio::time::sleep(QUIET).await;
    }
}
