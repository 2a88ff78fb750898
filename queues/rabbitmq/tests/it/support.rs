//! What the tests share.

use std::time::{Duration, Instant};

use sluiced_queue::{
    Data, Durable, EnqueueError, Health, LeasedMessage, Receipt, RequestFacts, WebHookQueueConsumer,
    WebHookQueueContext, WebHookQueueHandler,
};
use sluiced_rabbitmq::{Options, RabbitMqConsumer, RabbitMqQueue};
use sluiced_test_brokers::{RabbitMq, until_within};
use uuid::Uuid;

/// A webhook with an id of its own.
pub(crate) fn webhook() -> WebHookQueueContext {
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::Json(r#"{"n": 1.0, "big": 12345678901234567890}"#.into()),
        raw_body: false,
        message_id: Uuid::now_v7(),
        delivery_id: Some("72d3162e".into()),
        received_at: "2026-11-24T02:30:53.123456Z".parse().unwrap(),
        content_type: Some("application/json".into()),
        traceparent: None,
        masked: Vec::new(),
        request: RequestFacts { method: "POST".into(), path: "/x".into(), ..RequestFacts::default() },
        dedupe_for: None,
    }
}

/// Options for this broker and this queue.
pub(crate) fn options(broker: &RabbitMq, queue: &str) -> Options {
    Options { url: vec![broker.url()], queue_name: queue.into(), ..Options::default() }
}

/// A queue handler that takes messages.
pub(crate) async fn started(options: Options) -> RabbitMqQueue {
    let queue = RabbitMqQueue::start(options).unwrap();
    ready(&queue).await;
    queue
}

/// Waits until messages are taken.
pub(crate) async fn ready(queue: &RabbitMqQueue) {
    until_within(Duration::from_secs(30), "the queue is ready", async || queue.health() == Health::Ready)
        .await;
}

/// Waits until messages aren't taken, for a reason with this word in it.
pub(crate) async fn not_ready(queue: &RabbitMqQueue, word: &str) {
    until_within(
        Duration::from_secs(30),
        &format!("the queue is not ready: {word}"),
        async || matches!(queue.health(), Health::NotReady(why) if why.contains(word)),
    )
    .await;
}

/// A publish that is confirmed.
pub(crate) async fn enqueued(queue: &RabbitMqQueue, context: &WebHookQueueContext) {
    let receipt = queue.enqueue(context).await.unwrap();
    assert_eq!(receipt.durable(), Durable::Broker);
}

/// One publish, and how long it took.
pub(crate) async fn enqueue_timed(queue: &RabbitMqQueue) -> (Result<Receipt, EnqueueError>, Duration) {
    let began = Instant::now();
    let answer = queue.enqueue(&webhook()).await;
    (answer, began.elapsed())
}

/// Says which scenario runs, so that a failure has a name and a slow one is seen.
pub(crate) async fn scenario(name: &str, work: impl Future<Output = ()>) {
    let began = Instant::now();
    eprintln!("scenario {name}");
    work.await;
    eprintln!("scenario {name}: {:?}", began.elapsed());
}

/// Up to `max` messages; waits long enough for whatever is on its way.
pub(crate) async fn received(worker: &RabbitMqConsumer, max: usize) -> Vec<LeasedMessage> {
    worker.receive(max, LEASE, Duration::from_secs(5)).await.unwrap()
}

/// Exactly one message.
pub(crate) async fn received_one(worker: &RabbitMqConsumer) -> LeasedMessage {
    let mut messages = received(worker, 1).await;
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

/// Says nothing on RabbitMQ.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// A worker on the queue of these options.
pub(crate) async fn worker(options: &Options) -> RabbitMqConsumer {
    RabbitMqConsumer::connect(options.clone()).await.unwrap()
}
