//! What the tests have in common.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azure_core::http::Url;
use azure_storage_queue::QueueClient;
use bytes::Bytes;
use jiff::Timestamp;
use sluiced_azure::{AzureConsumer, AzureDeadLetters, AzureQueue, Options};
use sluiced_queue::{
    Data, Health, LeasedMessage, RequestFacts, WebHookQueueConsumer, WebHookQueueContext, WebHookQueueHandler,
};
use sluiced_test_brokers::{Azurite, until};
use uuid::Uuid;

/// Longer than any test works on a message.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);
/// Nothing comes within this: nothing is there.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// Options for a queue that no other test uses.
pub(crate) fn options(url: String) -> Options {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Options { url, queue_name: format!("test{number:03}"), publish_deadline: DEADLINE, ..Options::default() }
}

/// A message with this JSON body.
pub(crate) fn message(body: &str) -> WebHookQueueContext {
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::classify(Some("application/json"), false, Bytes::copy_from_slice(body.as_bytes())),
        raw_body: false,
        message_id: Uuid::now_v7(),
        delivery_id: None,
        received_at: Timestamp::from_microsecond(1_795_487_453_123_456).unwrap(),
        content_type: Some("application/json".into()),
        traceparent: None,
        masked: Vec::new(),
        request: RequestFacts { method: "POST".into(), path: "/x".into(), ..RequestFacts::default() },
        dedupe_for: None,
    }
}

pub(crate) async fn ready(options: &Options) -> AzureQueue {
    let queue = AzureQueue::start(options.clone()).unwrap();
    until("the queue is ready", async || queue.health() == Health::Ready).await;
    queue
}

pub(crate) async fn not_ready(queue: &AzureQueue) -> String {
    until("the queue isn't ready", async || queue.health() != Health::Ready).await;
    match queue.health() {
        Health::NotReady(why) => why,
        other => panic!("{other:?}"),
    }
}

/// A queue with so many messages, and a consumer of it.
pub(crate) async fn filled(options: &Options, messages: usize) -> (AzureQueue, AzureConsumer) {
    let queue = ready(options).await;
    for number in 0..messages {
        let _ = queue.enqueue(&message(&format!("{{ \"n\": {number} }}"))).await.unwrap();
    }
    let consumer = AzureConsumer::connect(options.clone()).await.unwrap();
    (queue, consumer)
}

pub(crate) async fn letters(options: &Options) -> AzureDeadLetters {
    AzureDeadLetters::connect(options.clone()).await.unwrap()
}

pub(crate) async fn one(consumer: &AzureConsumer) -> LeasedMessage {
    let mut messages = consumer.receive(1, LEASE, Duration::from_secs(10)).await.unwrap();
    messages.pop().expect("a message comes")
}

pub(crate) async fn nothing(consumer: &AzureConsumer) {
    assert_eq!(consumer.receive(1, LEASE, QUIET).await.unwrap(), []);
}

/// Azure's own client, with a SAS that may do everything.
pub(crate) fn client(azurite: &Azurite, queue: &str) -> QueueClient {
    let sas = crate::credentials::sas("racwdup", "2099-01-01");
    let account = sluiced_test_brokers::azurite::ACCOUNT;
    let url = format!("http://{}/{account}/{queue}?{sas}", azurite.address());
    QueueClient::new(Url::parse(&url).unwrap(), None, None).unwrap()
}

/// A test that does these things one after the other with one emulator, which takes longer to start than most of
/// them; each has queues of its own, and says its name before it begins.
macro_rules! over_one_azurite {
    ($($group:ident: [$($case:ident),+ $(,)?],)+) => {
        $(
            #[tokio::test]
            async fn $group() {
                let azurite = sluiced_test_brokers::Azurite::start().await;
                $(
                    eprintln!(stringify!($case));
                    Box::pin($case(&azurite)).await;
                )+
            }
        )+
    };
}
pub(crate) use over_one_azurite;
