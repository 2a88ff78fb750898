//! What goes in comes out, byte for byte, in order, and in few commits.

use std::sync::Arc;

use bytes::Bytes;
use sluiced_embedded::{Depth, EmbeddedConsumer, EmbeddedQueue, Options};
use sluiced_queue::{
    Data, Durable, EnqueueError, Format, Health, RequestFacts, WebHookQueueConsumer, WebHookQueueContext,
    WebHookQueueHandler,
};
use uuid::Uuid;

use crate::common::{
    append, append_numbered, consumer, dir, open, receive, receive_one, small_partitions, sql, texts,
};

#[tokio::test]
async fn bytes_come_out_as_they_went_in() {
    let dir = dir();
    let queue = open(dir.path());
    let long: Vec<u8> = (0..5 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sent =
        [Bytes::new(), Bytes::from_static(b"\0\xff\r\n"), Bytes::from(long), Bytes::from_static(b"{}")];
    for message in &sent {
        append(&queue, message.clone()).await;
    }
    let received = receive(&consumer(dir.path()), 10).await;
    let received: Vec<&Bytes> = received.iter().map(|leased| &leased.message).collect();
    assert_eq!(received, sent.iter().collect::<Vec<_>>());
    queue.close().await;
}

#[tokio::test]
async fn oldest_come_first_across_partitions_and_restarts() {
    let dir = dir();
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    append_numbered(&queue, 25).await;
    queue.close().await;
    let queue = EmbeddedQueue::open(dir.path(), small_partitions()).unwrap();
    let messages = receive(&consumer(dir.path()), 100).await;
    assert_eq!(texts(&messages), (0..25).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert!(messages.iter().all(|message| message.attempt == 1));
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_share_few_commits() {
    let dir = dir();
    let queue = open(dir.path());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let queue = queue.clone();
        tasks.spawn(async move { append(&queue, format!("m{n}")).await });
    }
    assert_eq!(tasks.join_all().await.len(), 1000);
    let counts = queue.counts();
    assert_eq!(counts.appends, 1000);
    assert!(counts.commits < 200, "{} commits for 1000 concurrent appends", counts.commits);
    assert_eq!(queue.depth().await.unwrap().messages, 1000);
    queue.close().await;
}

#[tokio::test]
async fn queues_of_one_store_are_apart() {
    let dir = dir();
    let queue = open(dir.path());
    let audit = queue.named("audit");
    append(&queue, "for the workers").await;
    append(&audit, "for the auditors").await;
    let auditor = EmbeddedConsumer::open(dir.path(), "audit").unwrap();
    assert_eq!(texts(&receive(&auditor, 10).await), ["for the auditors"]);
    assert_eq!(texts(&receive(&consumer(dir.path()), 10).await), ["for the workers"]);
    assert_eq!(audit.depth().await.unwrap().bytes, 16);
    let nobodys = EmbeddedConsumer::open(dir.path(), "not-there-yet").unwrap();
    assert!(nobodys.backlog().await.unwrap().is_empty());
    queue.close().await;
}

#[tokio::test]
async fn depth_tells_messages_bytes_and_the_oldest() {
    let dir = dir();
    let queue = open(dir.path());
    assert_eq!(queue.depth().await.unwrap(), Depth::default());
    append(&queue, "12345").await;
    append(&queue, "123").await;
    let both = queue.depth().await.unwrap();
    assert_eq!((both.messages, both.bytes), (2, 8));
    let consumer = consumer(dir.path());
    let first = receive_one(&consumer).await;
    assert_eq!(queue.depth().await.unwrap(), both, "leased isn't done");
    consumer.acknowledge(&first).await.unwrap();
    let one = queue.depth().await.unwrap();
    assert_eq!((one.messages, one.bytes), (1, 3));
    assert!(one.oldest_us.unwrap() > both.oldest_us.unwrap());
    queue.close().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_by_name() {
    let dir = dir();
    let queue =
        EmbeddedQueue::open(dir.path(), Options { message_bytes_max: 4, ..Options::default() }).unwrap();
    let refused = queue.append(Bytes::from_static(b"12345"), Uuid::now_v7()).await;
    assert_eq!(refused, Err(EnqueueError::TooLarge { bytes: 5, bytes_max: 4 }));
    queue.close().await;
}

#[tokio::test]
async fn a_full_store_says_so_and_recovers() {
    let dir = dir();
    let options = Options { bytes_max: 4 << 20, ..Options::default() };
    let queue = EmbeddedQueue::open(dir.path(), options).unwrap();
    let message = Bytes::from(vec![7; 100_000]);
    let mut accepted = 0;
    let refused = loop {
        match queue.append(message.clone(), Uuid::now_v7()).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "the bound isn't kept");
    };
    assert!(matches!(refused, EnqueueError::Full(_)), "{refused}");
    // The log counts; once it is copied, the store finds out by itself that there is room after all.
    let consumer = consumer(dir.path());
    for message in receive(&consumer, 100).await {
        consumer.acknowledge(&message).await.unwrap();
    }
    let mut tries = 0;
    while queue.health() != Health::Ready {
        tries += 1;
        assert!(tries < 100, "not ready after ten seconds: {:?}", queue.health());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    append(&queue, message).await;
    queue.close().await;
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_left_alone() {
    let dir = dir();
    let queue =
        EmbeddedQueue::open(dir.path(), Options { free_percent_min: 100, ..Options::default() }).unwrap();
    let refused = queue.append(Bytes::from_static(b"x"), Uuid::now_v7()).await.unwrap_err();
    assert!(matches!(&refused, EnqueueError::Full(why) if why.contains("MiB free")), "{refused}");
    assert!(matches!(queue.health(), Health::NotReady(_)));
    queue.close().await;
}

/// The log is bounded by a share of a small store's bound, so it never fills the store by itself.
#[tokio::test]
async fn a_small_store_takes_many_messages_that_are_done() {
    let dir = dir();
    let options = Options { bytes_max: 32 << 20, ..Options::default() };
    let queue = EmbeddedQueue::open(dir.path(), options).unwrap();
    let consumer = consumer(dir.path());
    for _ in 0..100 {
        append(&queue, vec![3; 1 << 20]).await;
        let message = receive_one(&consumer).await;
        consumer.acknowledge(&message).await.unwrap();
    }
    queue.close().await;
}

fn context() -> WebHookQueueContext {
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::Json(Bytes::from_static(b"{\"n\": 1.0}")),
        raw_body: false,
        message_id: Uuid::now_v7(),
        delivery_id: None,
        received_at: jiff::Timestamp::UNIX_EPOCH,
        content_type: Some("application/json".into()),
        traceparent: None,
        masked: Vec::new(),
        request: RequestFacts::default(),
        dedupe_for: None,
    }
}

#[tokio::test]
async fn a_context_is_encoded_with_its_id() {
    let dir = dir();
    let queue = open(dir.path());
    let context = context();
    let handler: &dyn WebHookQueueHandler = &queue;
    assert_eq!(handler.enqueue(&context).await.unwrap().durable(), Durable::Embedded);
    let leased = receive_one(&consumer(dir.path())).await;
    assert_eq!(WebHookQueueContext::decode(&leased.message).unwrap(), context);
    let id: Vec<u8> = sql(dir.path(), "SELECT message_id FROM messages_1");
    assert_eq!(id, context.message_id.as_bytes());
    handler.close().await;
}

/// Whatever the form, the queue's other names have it too, and a worker gets the webhook.
#[tokio::test]
async fn a_webhook_goes_in_as_the_format_says() {
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let dir = dir();
        let queue = EmbeddedQueue::open(dir.path(), Options { format, ..Options::default() }).unwrap();
        let context = context();
        for queue in [queue.clone(), queue.named("audit")] {
            let receipt = queue.enqueue(&context).await.unwrap();
            assert!(!receipt.is_duplicate());
        }
        for name in ["webhooks", "audit"] {
            let leased = receive_one(&EmbeddedConsumer::open(dir.path(), name).unwrap()).await;
            let encoded = context.encode_as(format);
            assert_eq!((&leased.message, &leased.headers), (&encoded.payload, &encoded.headers));
            assert_eq!(leased.context().unwrap(), context);
        }
        queue.close().await;
    }
}

#[tokio::test]
async fn a_webhook_that_asks_for_it_is_left_out_the_second_time() {
    let dir = dir();
    let queue = open(dir.path());
    let context = WebHookQueueContext { dedupe_for: Some(std::time::Duration::from_secs(60)), ..context() };
    assert!(!queue.enqueue(&context).await.unwrap().is_duplicate());
    assert!(queue.enqueue(&context).await.unwrap().is_duplicate());
    assert_eq!(queue.depth().await.unwrap().messages, 1);
    queue.close().await;
}

#[tokio::test]
async fn nothing_is_taken_after_close() {
    let dir = dir();
    let queue = open(dir.path());
    append(&queue, "before").await;
    queue.close().await;
    queue.close().await;
    let late = queue.append(Bytes::from_static(b"after"), Uuid::now_v7()).await;
    assert!(matches!(late, Err(EnqueueError::Unavailable(_))));
    assert!(matches!(queue.health(), Health::NotReady(_)));
    assert!(!dir.path().join("queue.db-wal").exists(), "the last to close leaves one file");
}

#[tokio::test(flavor = "multi_thread")]
async fn close_finishes_what_is_under_way() {
    let dir = dir();
    let queue = open(dir.path());
    let mut tasks = tokio::task::JoinSet::new();
    let started = Arc::new(tokio::sync::Barrier::new(51));
    for n in 0..50 {
        let (queue, started) = (queue.clone(), started.clone());
        tasks.spawn(async move {
            started.wait().await;
            queue.append(Bytes::from(format!("m{n}")), Uuid::now_v7()).await
        });
    }
    started.wait().await;
    queue.close().await;
    let acknowledged = tasks.join_all().await.iter().filter(|answer| answer.is_ok()).count();
    let queue = open(dir.path());
    assert!(queue.depth().await.unwrap().messages >= acknowledged as u64);
    queue.close().await;
}
