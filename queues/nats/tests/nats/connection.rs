//! Connections that are cut, worn out, or silent: nobody waits longer than need be, and nothing piles up.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sluiced_nats::{NatsConsumer, NatsDeadLetters, NatsQueue, Options};
use sluiced_queue::{
    ConsumeError, DeadLetterStore, EnqueueError, WebHookQueueConsumer, WebHookQueueHandler,
    WebHookQueuePublisher,
};
use sluiced_test_brokers::nats::Options as Server;
use sluiced_test_brokers::{Direction, Nats, Proxy, until};
use tokio::task::JoinSet;

use crate::support::{options, put, stored, until_ready, webhook, with_body};

const LEASE: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_flight_on_a_cut_connection_is_sent_again_at_once() {
    let nats = Nats::start().await;
    let proxy = Proxy::to(nats.address()).await;
    let patient = Options {
        ack_timeout: Duration::from_secs(20),
        publish_deadline: Duration::from_secs(30),
        ..options(nats.url_at(proxy.port()))
    };
    let queue = NatsQueue::start(patient).unwrap();
    let mut confirmed = 0;
    for round in 0..5 {
        until_ready(&queue).await;
        // Some acknowledgements come, then the connection is cut, and a new one is let in at once.
        proxy.cut_after(Direction::Down, 700);
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for number in 0..100 {
            tasks.spawn(queue.publish(&webhook(number)));
        }
        for receipt in tasks.join_all().await {
            match receipt {
                Ok(_) => confirmed += 1,
                // Its turn came when there was no connection.
                Err(EnqueueError::Unavailable(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(began.elapsed() < Duration::from_secs(5), "round {round}: {:?}", began.elapsed());
    }
    assert!(confirmed > 100, "{confirmed}");
    assert_eq!(stored(&nats, "WEBHOOKS").await, confirmed);
    until("no connection is left over", async || proxy.connections_open() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_never_come_dont_pile_up_in_a_connection_that_lives() {
    let nats = Nats::with(Server { jetstream: false, ..Server::default() }).await;
    let proxy = Proxy::to(nats.address()).await;
    // Somebody hears them, so that the server doesn't say that nobody does, and says nothing.
    let listener = async_nats::connect(nats.url()).await.unwrap();
    let mut heard = listener.subscribe("webhooks.>").await.unwrap();
    let mut hearing = JoinSet::new();
    hearing.spawn(async move { while heard.next().await.is_some() {} });
    let brisk = Options {
        ack_timeout: Duration::from_millis(50),
        publish_deadline: Duration::from_millis(400),
        ping_interval: Duration::from_secs(10),
        ..options(nats.url_at(proxy.port()))
    };
    let queue = NatsQueue::start(brisk).unwrap();
    until("it is connected", async || {
        matches!(queue.enqueue(&webhook(0)).await, Err(EnqueueError::TimedOut { .. }))
    })
    .await;
    assert_eq!(proxy.connections_total(), 1);
    // Three copies of each.
    for _ in 0..2 {
        let mut tasks = JoinSet::new();
        for number in 0..4000 {
            tasks.spawn(queue.publish(&webhook(number)));
        }
        assert!(tasks.join_all().await.iter().all(Result::is_err));
    }
    until("the connection is made anew", async || {
        proxy.connections_total() > 1 && proxy.connections_open() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_asked_for_at_each_connection() {
    let mut nats = Nats::with(Server { max_payload: Some(64 << 10), ..Server::default() }).await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    let long = with_body(format!("\"{}\"", "x".repeat(100 << 10)).into_bytes());
    for (max_payload, fits) in [(64 << 10, false), (256 << 10, true), (32 << 10, false)] {
        nats.options_mut().max_payload = Some(max_payload);
        nats.restart().await;
        until("the new limit is known", async || {
            (max_payload / 2..max_payload).contains(&queue.message_bytes_max())
                && queue.health() == sluiced_queue::Health::Ready
        })
        .await;
        match queue.enqueue(&long).await {
            Ok(_) => assert!(fits),
            Err(EnqueueError::TooLarge { bytes_max, .. }) => assert!(!fits && bytes_max < max_payload),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_has_acknowledged_nothing_and_every_wait_ends() {
    let nats = Nats::start().await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    // So slow to notice that it is the waits' own deadlines that end them.
    let unaware = Options { ping_interval: Duration::from_secs(60), ..options(nats.url()) };
    let consumer = NatsConsumer::connect(unaware.clone()).await.unwrap();
    let message = consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0);
    let dead = NatsDeadLetters::connect(unaware).await.unwrap();
    nats.freeze();
    let began = Instant::now();
    let (acknowledged, extended, released, died, received, backlog, listed) = tokio::join!(
        consumer.acknowledge(&message),
        consumer.extend(&message, LEASE),
        consumer.release(&message, Duration::ZERO, true),
        consumer.dead_letter(&message, "no"),
        consumer.receive(1, LEASE, Duration::from_secs(1)),
        consumer.backlog(),
        dead.list(None, 1),
    );
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    for verdict in [acknowledged, extended, released, died] {
        assert!(matches!(&verdict, Err(ConsumeError::Unavailable(_))), "{verdict:?}");
    }
    assert!(matches!(&received, Err(ConsumeError::Unavailable(_))), "{received:?}");
    assert!(matches!(&backlog, Err(ConsumeError::Unavailable(_))), "{backlog:?}");
    assert!(listed.is_err());
    nats.thaw();
}
