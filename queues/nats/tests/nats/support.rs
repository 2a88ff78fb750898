//! What the tests share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sluiced_nats::{NatsQueue, Options};
use sluiced_queue::{Data, Durable, Health, RequestFacts, WebHookQueueContext, WebHookQueueHandler};
use sluiced_test_brokers::{Nats, until};
use uuid::Uuid;

/// A webhook with a body of its own.
pub(crate) fn webhook(number: usize) -> WebHookQueueContext {
    with_body(format!("{{\"number\": {number}}}\n").into_bytes())
}

/// A webhook with this body.
pub(crate) fn with_body(body: Vec<u8>) -> WebHookQueueContext {
    let content_type = Some("application/json");
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::classify(content_type, false, Bytes::from(body)),
        raw_body: false,
        message_id: Uuid::now_v7(),
        delivery_id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".into()),
        received_at: "2026-11-24T02:30:53.123456Z".parse().unwrap(),
        content_type: content_type.map(Into::into),
        traceparent: None,
        masked: vec![],
        request: RequestFacts {
            method: "POST".into(),
            path: "/api/webhooks/incoming/github/acme".into(),
            query: String::new(),
            remote_addr: "203.0.113.7".into(),
            headers: [("x-github-event", vec!["push"])].into_iter().collect(),
        },
        dedupe_for: None,
    }
}

/// Options for one server, with short waits.
pub(crate) fn options(url: String) -> Options {
    Options {
        url: vec![url],
        ack_timeout: Duration::from_millis(500),
        publish_deadline: Duration::from_secs(10),
        ping_interval: Duration::from_millis(300),
        ..Options::default()
    }
}

/// A server, and a queue that is ready.
pub(crate) async fn ready() -> (Nats, NatsQueue) {
    let nats = Nats::start().await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    (nats, queue)
}

pub(crate) async fn until_ready(queue: &NatsQueue) {
    until("the queue is ready", async || queue.health() == Health::Ready).await;
}

pub(crate) async fn until_not_ready(queue: &NatsQueue, because: &str) {
    until(&format!("the queue isn't ready because {because}"), async || match queue.health() {
        Health::NotReady(why) if why.contains(because) => true,
        health => {
            eprintln!("{health:?}");
            false
        }
    })
    .await;
}

/// JetStream behind the queue's back.
pub(crate) async fn jetstream(nats: &Nats) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap())
}

/// How many messages are in a stream.
pub(crate) async fn stored(nats: &Nats, stream: &str) -> u64 {
    jetstream(nats).await.get_stream(stream).await.unwrap().cached_info().state.messages
}

/// Puts one into the queue.
pub(crate) async fn put(queue: &NatsQueue, webhook: &WebHookQueueContext) {
    let receipt = queue.enqueue(webhook).await.unwrap();
    assert_eq!(receipt.durable(), Durable::Broker);
}

/// What this crate logs from now on, a line each.
pub(crate) fn record() -> Arc<Mutex<Vec<String>>> {
    use tracing_subscriber::layer::SubscriberExt;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Recorder(lines.clone()));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    lines
}

struct Recorder(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if !event.metadata().target().starts_with("sluiced_nats") {
            return;
        }
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line += &format!(" {field}={value:?}");
        });
        self.0.lock().unwrap().push(line);
    }
}
