//! Workers: leases, verdicts, and what is left of a worker that dies.

use std::time::Duration;

use sluiced_nats::{NatsConsumer, NatsQueue, Options};
use sluiced_queue::{Backlog, ConsumeError, Format, WebHookQueueConsumer, WebHookQueueHandler};
use sluiced_test_brokers::{Nats, until};

use crate::support::{jetstream, options, put, ready, stored, until_ready, webhook};

const LEASE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(700);
const NO_WAIT: Duration = Duration::ZERO;
const WAIT: Duration = Duration::from_secs(5);

async fn consumer(nats: &Nats) -> NatsConsumer {
    NatsConsumer::connect(options(nats.url())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_each_webhook_whole_and_an_acknowledged_one_is_gone() {
    let (nats, queue) = ready().await;
    let consumer = consumer(&nats).await;
    assert!(consumer.backlog().await.unwrap().is_empty());
    let mut sent = Vec::new();
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let queue = NatsQueue::start(Options { format, ..options(nats.url()) }).unwrap();
        until_ready(&queue).await;
        sent.push(webhook(sent.len()));
        put(&queue, sent.last().unwrap()).await;
    }
    let messages = consumer.receive(10, LEASE, WAIT).await.unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(consumer.backlog().await.unwrap(), Backlog { visible: 0, leased: 3, delayed: 0 });
    for (message, sent) in messages.iter().zip(&sent) {
        assert_eq!(&message.context().unwrap(), sent);
        assert_eq!(message.attempt, 1);
        consumer.acknowledge(message).await.unwrap();
        assert_eq!(consumer.acknowledge(message).await, Err(ConsumeError::LeaseLost));
    }
    assert!(consumer.backlog().await.unwrap().is_empty());
    assert_eq!(stored(&nats, "WEBHOOKS").await, 0);
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_worker_gets_a_webhook_at_once_and_never_two_workers_the_same() {
    let (nats, queue) = ready().await;
    let (one, two) = (consumer(&nats).await, consumer(&nats).await);
    let began = std::time::Instant::now();
    let waiting = async { one.receive(5, LEASE, WAIT).await.unwrap() };
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        put(&queue, &webhook(1)).await;
    };
    let (first, ()) = tokio::join!(waiting, later);
    assert_eq!(first.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(two.receive(5, LEASE, Duration::from_millis(200)).await.unwrap().is_empty());
    put(&queue, &webhook(2)).await;
    assert_eq!(two.receive(5, LEASE, WAIT).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_waiting_takes_nothing_with_it() {
    let (nats, queue) = ready().await;
    let (one, two) = (consumer(&nats).await, consumer(&nats).await);
    for number in 0..10 {
        let waiting = one.receive(5, LEASE, WAIT);
        assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
        // The server hears of it over another connection than of the webhook.
        tokio::time::sleep(Duration::from_millis(50)).await;
        put(&queue, &webhook(number)).await;
        let message = two.receive(5, LEASE, WAIT).await.unwrap().remove(0);
        assert_eq!(message.attempt, 1);
        two.acknowledge(&message).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_webhook_comes_back_and_its_late_verdict_is_refused() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    let slow = consumer(&nats).await;
    let held = slow.receive(1, SHORT, WAIT).await.unwrap().remove(0);
    let other = consumer(&nats).await;
    assert!(other.receive(1, SHORT, NO_WAIT).await.unwrap().is_empty());
    let again = other.receive(1, SHORT, WAIT).await.unwrap().remove(0);
    assert_eq!((again.attempt, again.tag), (2, held.tag));
    assert_eq!(slow.acknowledge(&held).await, Err(ConsumeError::LeaseLost));
    assert_eq!(slow.extend(&held, SHORT).await, Err(ConsumeError::LeaseLost));
    assert_eq!(slow.release(&held, NO_WAIT, true).await, Err(ConsumeError::LeaseLost));
    assert_eq!(slow.dead_letter(&held, "late").await, Err(ConsumeError::LeaseLost));
    other.acknowledge(&again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_extended_outlasts_its_first_end() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    let consumer = consumer(&nats).await;
    let held = consumer.receive(1, SHORT, WAIT).await.unwrap().remove(0);
    for _ in 0..4 {
        tokio::time::sleep(SHORT / 2).await;
        consumer.extend(&held, SHORT).await.unwrap();
    }
    let other = self::consumer(&nats).await;
    assert!(other.receive(1, SHORT, NO_WAIT).await.unwrap().is_empty());
    consumer.acknowledge(&held).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_webhook_comes_back_after_its_delay_and_only_failures_count() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    let consumer = consumer(&nats).await;
    let held = consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0);
    consumer.release(&held, NO_WAIT, false).await.unwrap();
    let held = consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0);
    assert_eq!(held.attempt, 1, "it was not begun");

    let began = std::time::Instant::now();
    let delay = Duration::from_millis(800);
    consumer.release(&held, delay, true).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap(), Backlog { visible: 0, leased: 0, delayed: 1 });
    assert!(!self::consumer(&nats).await.backlog().await.unwrap().is_empty(), "another worker sees it too");
    let held = consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0);
    assert!(began.elapsed() >= delay - Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(held.attempt, 2);
    consumer.acknowledge(&held).await.unwrap();
    assert!(consumer.backlog().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_delayed_webhooks_dont_keep_others_waiting() {
    let (nats, queue) = ready().await;
    for number in 0..1100 {
        put(&queue, &webhook(number)).await;
    }
    let consumer = consumer(&nats).await;
    let mut failed = 0;
    while failed < 1100 {
        for message in consumer.receive(256, LEASE, WAIT).await.unwrap() {
            consumer.release(&message, Duration::from_secs(600), true).await.unwrap();
            failed += 1;
        }
    }
    put(&queue, &webhook(1100)).await;
    let message = consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0);
    consumer.acknowledge(&message).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap().delayed, 1100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_after_the_server_was_killed() {
    let (mut nats, queue) = ready().await;
    for number in 0..3 {
        put(&queue, &webhook(number)).await;
    }
    let consumer = consumer(&nats).await;
    let held = consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0);
    nats.kill().await;
    until("the worker knows", async || matches!(consumer.backlog().await, Err(ConsumeError::Unavailable(_))))
        .await;
    assert!(matches!(consumer.receive(1, LEASE, WAIT).await, Err(ConsumeError::Unavailable(_))));
    nats.restart().await;
    // A verdict on what was leased before still counts.
    consumer.acknowledge(&held).await.unwrap();
    let mut rest = Vec::new();
    until("the others come", async || {
        rest.extend(consumer.receive(5, LEASE, NO_WAIT).await.unwrap_or_default());
        rest.len() == 2
    })
    .await;
    for message in &rest {
        consumer.acknowledge(message).await.unwrap();
    }
    until("nothing is left", async || consumer.backlog().await.is_ok_and(Backlog::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_and_no_stream_are_unavailable_and_never_an_empty_queue() {
    let nats = Nats::start().await;
    let missing = NatsConsumer::connect(options(nats.url())).await;
    assert!(matches!(missing, Err(ConsumeError::Unavailable(why)) if why.contains("stream WEBHOOKS")));
    let wrong = NatsConsumer::connect(Options { url: vec!["http://x".into()], ..Options::default() }).await;
    assert!(matches!(wrong, Err(ConsumeError::Failed(_))));

    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    let consumer = consumer(&nats).await;
    jetstream(&nats).await.delete_stream("WEBHOOKS").await.unwrap();
    until("the stream is missed", async || {
        matches!(consumer.backlog().await, Err(ConsumeError::Unavailable(_)))
    })
    .await;
    assert!(matches!(consumer.receive(1, LEASE, NO_WAIT).await, Err(ConsumeError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_a_work_queue_need_subjects_that_dont_overlap() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    let of = |filter: &str| Options { filter_subject: Some(filter.into()), ..options(nats.url()) };
    let github = NatsConsumer::connect(of("webhooks.github.>")).await.unwrap();
    let stripe = NatsConsumer::connect(of("webhooks.stripe.>")).await.unwrap();
    assert!(stripe.receive(1, LEASE, NO_WAIT).await.unwrap().is_empty());
    assert_eq!(github.receive(1, LEASE, WAIT).await.unwrap().len(), 1);
    let all = NatsConsumer::connect(options(nats.url())).await;
    assert!(matches!(&all, Err(ConsumeError::Failed(why)) if why.contains("filter_subject")), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_lease_raises_what_the_server_waits_for_and_a_shorter_one_doesnt_lower_it() {
    let (nats, queue) = ready().await;
    for number in 0..2 {
        put(&queue, &webhook(number)).await;
    }
    let patient = consumer(&nats).await;
    let _held = patient.receive(1, LEASE, WAIT).await.unwrap();
    let brisk = consumer(&nats).await;
    let _too = brisk.receive(1, SHORT, WAIT).await.unwrap();
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    assert_eq!(stream.consumer_info("sluiced").await.unwrap().config.ack_wait, LEASE);
}
