//! What is confirmed is in the stream, once, and nothing else is confirmed.

use std::collections::HashSet;
use std::sync::Arc;

use sluiced_nats::{Destination, NatsQueue, Options};
use sluiced_queue::{Durable, EnqueueError, Format, WebHookQueueContext, WebHookQueueHandler};
use tokio::task::JoinSet;

use crate::support::{jetstream, options, put, ready, stored, until_ready, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_webhook_is_in_the_stream_under_its_id_and_subject() {
    let (nats, queue) = ready().await;
    let webhook = webhook(1);
    let receipt = queue.enqueue(&webhook).await.unwrap();
    assert_eq!((receipt.durable(), receipt.is_duplicate()), (Durable::Broker, false));

    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["webhooks.>"]);
    assert_eq!(config.duplicate_window.as_secs(), 600);
    assert!(config.max_age.is_zero());
    assert_eq!(
        format!("{:?} {:?} {:?}", config.storage, config.retention, config.discard),
        "File WorkQueue New"
    );
    assert_eq!(stream.cached_info().state.consumer_count, 0, "a publisher makes no consumer");

    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!(message.subject.as_str(), "webhooks.github.acme.push");
    assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), webhook.message_id.to_string());
    assert_eq!(WebHookQueueContext::decode(&message.payload).unwrap(), webhook);
    queue.close().await;
    assert!(matches!(queue.enqueue(&webhook).await, Err(EnqueueError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_and_fifty_six_at_once_are_each_stored_once() {
    let (nats, queue) = ready().await;
    let queue = Arc::new(queue);
    let mut tasks = JoinSet::new();
    for task in 0..256 {
        let queue = queue.clone();
        tasks.spawn(async move {
            for round in 0..20 {
                put(&queue, &webhook(task * 20 + round)).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(stored(&nats, "WEBHOOKS").await, 256 * 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_a_success_and_called_one_only_where_that_was_asked_for() {
    let (nats, queue) = ready().await;
    let mut webhook = webhook(1);
    assert!(!queue.enqueue(&webhook).await.unwrap().is_duplicate());
    assert!(!queue.enqueue(&webhook).await.unwrap().is_duplicate());
    webhook.dedupe_for = Some(std::time::Duration::from_secs(60));
    assert!(queue.enqueue(&webhook).await.unwrap().is_duplicate());
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_one_stream_have_message_ids_of_their_own() {
    let (nats, queue) = ready().await;
    let subject = Some("webhooks.audit.{receiver}".to_owned());
    let audit = queue.to(Destination { subject, ..Destination::default() }, "audit").unwrap();
    let webhook = webhook(1);
    put(&queue, &webhook).await;
    assert!(!audit.enqueue(&webhook).await.unwrap().is_duplicate());
    assert_eq!(stored(&nats, "WEBHOOKS").await, 2, "one id on two subjects would be a duplicate");
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    let message = stream.get_raw_message(2).await.unwrap();
    assert_eq!(message.subject.as_str(), "webhooks.audit.github");
    assert_eq!(message.headers.get("Nats-Msg-Id").unwrap().as_str(), format!("{}/audit", webhook.message_id));

    let other = Destination { queue_name: Some("audit".into()), ..Destination::default() };
    let other = queue.to(other, "audit").unwrap();
    assert_eq!(other.destination(), "stream AUDIT, subject audit.{receiver}.{id}.{action}");
    until_ready(&other).await;
    put(&other, &webhook).await;
    assert_eq!(stored(&nats, "AUDIT").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_sender_puts_into_names_and_headers_goes_through_and_comes_back() {
    let nats = sluiced_test_brokers::Nats::start().await;
    let odd = [
        "",
        "a b",
        "*",
        ">",
        "a.b",
        "\r\nPUB x 1\r\n",
        "é\u{85}\u{7f}",
        "a\0b",
        " a\t",
        ":",
        "$JS.API",
        &"x".repeat(3000),
    ];
    let mut subjects = HashSet::new();
    let mut expected = Vec::new();
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let queue = NatsQueue::start(Options { format, ..options(nats.url()) }).unwrap();
        until_ready(&queue).await;
        for text in odd {
            let mut webhook = webhook(1);
            webhook.id = text.into();
            webhook.actions = vec![text.into()];
            webhook.delivery_id = Some(text.into());
            webhook.content_type = Some(format!("application/json;{text}"));
            webhook.request.query = text.into();
            webhook.request.headers.extend([("x-odd", vec![text, text])]);
            put(&queue, &webhook).await;
            expected.push(webhook);
        }
    }
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    for (at, expected) in expected.iter().enumerate() {
        let message = stream.get_raw_message(at as u64 + 1).await.unwrap();
        assert_eq!(message.subject.split('.').count(), 4, "{}", message.subject);
        let headers: Vec<_> =
            message.headers.iter().map(|(n, v)| (n.to_string(), v[0].to_string())).collect();
        assert_eq!(&WebHookQueueContext::decode_message(&message.payload, &headers).unwrap(), expected);
        subjects.insert(message.subject.to_string());
    }
    assert!(subjects.contains("webhooks.github._._"), "{subjects:?}");
}
