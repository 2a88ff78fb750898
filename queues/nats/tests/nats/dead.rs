//! Dead letters: kept with their reason, retried and purged without losing any.

use std::time::Duration;

use sluiced_nats::{NatsConsumer, NatsDeadLetters, NatsQueue, Options};
use sluiced_queue::{
    ConsumeError, DeadLetterError, DeadLetterStore, EnqueueError, Format, LeasedMessage,
    WebHookQueueConsumer, WebHookQueueContext, WebHookQueueHandler,
};
use sluiced_test_brokers::Nats;

use crate::support::{jetstream, options, put, ready, stored, until_ready, webhook, with_body};

const LEASE: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(5);

async fn take(consumer: &NatsConsumer) -> LeasedMessage {
    consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0)
}

/// A webhook that has died, and where to find it.
async fn died(nats: &Nats, queue: &NatsQueue, reason: &str) -> (WebHookQueueContext, NatsConsumer) {
    let webhook = webhook(1);
    put(queue, &webhook).await;
    let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
    consumer.dead_letter(&take(&consumer).await, reason).await.unwrap();
    (webhook, consumer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_tells_what_it_was_and_why() {
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let nats = Nats::start().await;
        let queue = NatsQueue::start(Options { format, ..options(nats.url()) }).unwrap();
        until_ready(&queue).await;
        let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
        assert_eq!(dead.list(None, 10).await.unwrap(), [], "no stream is no dead letter");
        let (webhook, consumer) = died(&nats, &queue, "exit 1:\r\nSluiced-Id: forged\u{85}").await;
        assert_eq!(stored(&nats, "WEBHOOKS").await, 0);
        assert!(consumer.backlog().await.unwrap().is_empty());

        let letter = dead.list(None, 10).await.unwrap().remove(0);
        assert_eq!(letter, dead.show("1").await.unwrap());
        assert_eq!(letter.context().unwrap(), webhook);
        assert_eq!(letter.message_id, Some(webhook.message_id));
        assert_eq!((letter.attempts, letter.id.as_str()), (1, "1"));
        assert_eq!(letter.reason, "exit 1:  Sluiced-Id: forged");
        assert!(letter.died_at.duration_until(jiff::Timestamp::now()).as_secs().abs() < 60);
        let message = jetstream(&nats).await.get_stream("WEBHOOKS_DEAD").await.unwrap();
        let message = message.get_raw_message(1).await.unwrap();
        assert_eq!(message.subject.as_str(), "webhooks-dead.github.acme.push");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_dead_letter_is_a_new_message_although_its_id_is_still_remembered() {
    let (nats, queue) = ready().await;
    let (webhook, consumer) = died(&nats, &queue, "no").await;
    let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
    dead.retry("1").await.unwrap();
    assert_eq!(dead.list(None, 10).await.unwrap(), []);
    let message = take(&consumer).await;
    assert_eq!(message.attempt, 1, "its attempts are forgotten");
    assert_eq!(message.context().unwrap(), webhook);
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    let stored = stream.get_raw_message(message.tag).await.unwrap();
    assert_eq!(stored.subject.as_str(), "webhooks.github.acme.push");
    let id = |n| format!("{}/retry-{n}", webhook.message_id);
    assert_eq!(stored.headers.get("Nats-Msg-Id").unwrap().as_str(), id(1));

    consumer.dead_letter(&message, "no again").await.unwrap();
    dead.retry("2").await.unwrap();
    let message = take(&consumer).await;
    let stored = stream.get_raw_message(message.tag).await.unwrap();
    assert_eq!(stored.headers.get("Nats-Msg-Id").unwrap().as_str(), id(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_was_interrupted_puts_nothing_into_the_queue_twice() {
    let (nats, queue) = ready().await;
    let (_, _consumer) = died(&nats, &queue, "no").await;
    let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
    // Killed between the publish and the deletion: the letter is there still, and is retried again.
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS_DEAD").await.unwrap();
    let letter = stream.get_raw_message(1).await.unwrap();
    dead.retry("1").await.unwrap();
    let mut headers = letter.headers.clone();
    headers.insert("Nats-Msg-Id", "put-back");
    jetstream(&nats)
        .await
        .publish_with_headers(letter.subject, headers, letter.payload)
        .await
        .unwrap()
        .await
        .unwrap();
    dead.retry("2").await.unwrap();
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
    assert_eq!(stored(&nats, "WEBHOOKS_DEAD").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_stays_dead_while_its_stream_is_missing() {
    let (nats, queue) = ready().await;
    let (_, _consumer) = died(&nats, &queue, "no").await;
    let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
    queue.close().await;
    jetstream(&nats).await.delete_stream("WEBHOOKS").await.unwrap();
    assert!(matches!(dead.retry("1").await, Err(DeadLetterError::Unavailable(_))));
    assert_eq!(dead.list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_in_pages_and_purged_one_by_one() {
    let (nats, queue) = ready().await;
    for number in 0..5 {
        put(&queue, &webhook(number)).await;
    }
    let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
    for message in consumer.receive(5, LEASE, WAIT).await.unwrap() {
        consumer.dead_letter(&message, "no").await.unwrap();
    }
    let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
    let page = dead.list(None, 2).await.unwrap();
    assert_eq!(page.iter().map(|letter| letter.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    dead.purge("3").await.unwrap();
    assert_eq!(dead.purge("3").await, Err(DeadLetterError::NotFound("3".into())));
    assert_eq!(dead.retry("3").await, Err(DeadLetterError::NotFound("3".into())));
    for none in ["0", "99", "x", "-1"] {
        assert_eq!(dead.show(none).await, Err(DeadLetterError::NotFound(none.into())));
    }
    let rest = dead.list(Some("2"), 10).await.unwrap();
    assert_eq!(rest.iter().map(|letter| letter.id.as_str()).collect::<Vec<_>>(), ["4", "5"]);
    assert_eq!(dead.list(Some("5"), 10).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_dead_letters_the_webhook_stays_in_the_queue() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    let consumer = NatsConsumer::connect(Options { declare: false, ..options(nats.url()) }).await.unwrap();
    let message = take(&consumer).await;
    let refused = consumer.dead_letter(&message, "no").await;
    assert!(
        matches!(&refused, Err(ConsumeError::Unavailable(why)) if why.contains("WEBHOOKS_DEAD")),
        "{refused:?}"
    );
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
    consumer.acknowledge(&message).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_webhook_that_is_taken_can_become_a_dead_letter_with_a_long_reason() {
    let (nats, queue) = ready().await;
    let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
    let (mut taken, mut refused) = (900 << 10, 1100 << 10);
    while refused - taken > 1 {
        let bytes = usize::midpoint(taken, refused);
        let mut body = vec![b'1'; bytes];
        (body[0], body[bytes - 1]) = (b'"', b'"');
        match queue.enqueue(&with_body(body)).await {
            Ok(_) => {
                taken = bytes;
                consumer.dead_letter(&take(&consumer).await, &"no ".repeat(1000)).await.unwrap();
            }
            Err(EnqueueError::TooLarge { .. }) => refused = bytes,
            Err(other) => panic!("{other}"),
        }
    }
    let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
    let letters = dead.list(None, 1).await.unwrap();
    assert!(letters[0].reason.len() > 1000 && letters[0].reason.starts_with("no no"));
}
