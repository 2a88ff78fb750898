//! Streams that are missing, full, or not as ours: errors by kind, and warnings that name what to do.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use sluiced_nats::{Destination, NatsConsumer, NatsQueue, Options, Retention, check};
use sluiced_queue::{EnqueueError, Format, Health, WebHookQueueHandler};
use sluiced_test_brokers::nats::Options as Server;
use sluiced_test_brokers::{Nats, until};

use crate::support::{
    jetstream, options, put, ready, stored, until_not_ready, until_ready, webhook, with_body,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_is_unroutable_and_created_again() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    jetstream(&nats).await.delete_stream("WEBHOOKS").await.unwrap();
    let began = Instant::now();
    let refused = queue.enqueue(&webhook(2)).await;
    assert!(
        matches!(&refused, Err(EnqueueError::Unroutable(why)) if why.contains("webhooks.github")),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    until("it is there again", async || jetstream(&nats).await.get_stream("WEBHOOKS").await.is_ok()).await;
    until_ready(&queue).await;
    put(&queue, &webhook(2)).await;
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_declare_a_missing_stream_is_waited_for() {
    let nats = Nats::start().await;
    let careful = Options { declare: false, ..options(nats.url()) };
    let queue = NatsQueue::start(careful.clone()).unwrap();
    until_not_ready(&queue, "stream WEBHOOKS doesn't exist; create it").await;
    assert!(matches!(queue.enqueue(&webhook(1)).await, Err(EnqueueError::Unroutable(_))));
    assert!(check(&careful).await.unwrap_err().contains("doesn't exist"));
    let config = Config { name: "WEBHOOKS".into(), subjects: vec!["webhooks.>".into()], ..Config::default() };
    jetstream(&nats).await.create_stream(config).await.unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_is_full_by_messages_and_by_bytes_and_takes_again_when_there_is_room() {
    let nats = Nats::start().await;
    for (name, full) in [
        ("messages", Options { max_messages: Some(2), ..options(nats.url()) }),
        ("bytes", Options { max_bytes: Some(2500), ..options(nats.url()) }),
    ] {
        let queue = NatsQueue::start(Options { queue_name: name.into(), ..full.clone() }).unwrap();
        until_ready(&queue).await;
        let mut taken = 0;
        let refused = loop {
            match queue.enqueue(&webhook(taken)).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, EnqueueError::Full(why) if why.contains("10077")), "{refused:?}");
        assert!(taken >= 1);
        let stream = jetstream(&nats).await.get_stream(name.to_uppercase()).await.unwrap();
        assert!(stream.delete_message(1).await.unwrap());
        put(&queue, &webhook(9)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_would_refuse_is_too_large_here_and_what_it_takes_is_not() {
    let nats = Nats::with(Server { max_payload: Some(64 << 10), ..Server::default() }).await;
    let before = Options { message_bytes_max: Some(123_456), ..options("nats://127.0.0.1:1".into()) };
    assert_eq!(NatsQueue::start(before).unwrap().message_bytes_max(), 123_456, "what was last known");
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let queue = NatsQueue::start(Options { format, ..options(nats.url()) }).unwrap();
        until_ready(&queue).await;
        let max = queue.message_bytes_max();
        assert!((58 << 10..64 << 10).contains(&max), "{max}");
        let body = |bytes: usize| {
            let mut body = vec![b'1'; bytes];
            (body[0], body[bytes - 1]) = (b'"', b'"');
            body
        };
        let around = with_body(Vec::new()).encode_for_headers(format, "ce-").payload.len();
        put(&queue, &with_body(body(max - around - 600))).await;
        let refused = queue.enqueue(&with_body(body(64 << 10))).await;
        match refused {
            Err(EnqueueError::TooLarge { bytes, bytes_max }) => {
                assert!(bytes > bytes_max && bytes_max <= 64 << 10, "{bytes} {bytes_max}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(queue.health(), Health::Ready, "the server was never asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_dont_fit_go_into_the_payload_of_a_cloud_event() {
    let (nats, _) = ready().await;
    let mut webhook = webhook(1);
    webhook.request.headers.extend([("x-long", vec!["\"".repeat(40 << 10)])]);
    let start = async |format| {
        let queue = NatsQueue::start(Options { format, ..options(nats.url()) }).unwrap();
        until_ready(&queue).await;
        queue
    };
    put(&start(Format::CloudEvents).await, &webhook).await;
    let raw = start(Format::Raw).await.enqueue(&webhook).await;
    assert!(matches!(raw, Err(EnqueueError::TooLarge { .. })), "{raw:?}");
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    let back = sluiced_queue::WebHookQueueContext::decode_message(&message.payload, &[]).unwrap();
    assert_eq!(back, webhook);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_max_msg_size_of_the_stream_is_the_limit() {
    let (nats, queue) = ready().await;
    let js = jetstream(&nats).await;
    let mut config = js.get_stream("WEBHOOKS").await.unwrap().cached_info().config.clone();
    config.max_message_size = 2000;
    js.update_stream(&config).await.unwrap();
    // Not known yet, so the server says so.
    let refused = queue.enqueue(&with_body(vec![b'x'; 3000])).await;
    assert!(matches!(refused, Err(EnqueueError::TooLarge { .. })), "{refused:?}");
    let late = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&late).await;
    assert_eq!(late.message_bytes_max(), 2000 - 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_stream_is_used_as_it_is_and_its_dangers_are_named() {
    let nats = Nats::start().await;
    let config = Config {
        name: "WEBHOOKS".into(),
        subjects: vec!["webhooks.>".into(), "other".into()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_messages: 5,
        max_age: Duration::from_secs(3600),
        storage: StorageType::Memory,
        duplicate_window: Duration::from_secs(2),
        ..Config::default()
    };
    jetstream(&nats).await.create_stream(config).await.unwrap();
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    let warnings = check(&options(nats.url())).await.unwrap();
    for danger in ["kept in memory", "discard: old", "max_age", "duplicate_window", "retention is Limits"] {
        assert_eq!(warnings.iter().filter(|w| w.contains(danger)).count(), 1, "{danger}: {warnings:#?}");
    }
    let now = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap().cached_info().config.clone();
    assert_eq!((now.max_messages, now.subjects.len()), (5, 2), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_power_safe_is_warned_about_unless_the_servers_sync_always() {
    let nats = Nats::start().await;
    let warnings = check(&options(nats.url())).await.unwrap();
    assert!(warnings.iter().any(|w| w.contains("doesn't exist; it is created")), "{warnings:#?}");
    assert!(warnings.iter().any(|w| w.contains("fewer than three replicas")), "{warnings:#?}");
    let synced = Options { sync_always: true, ..options(nats.url()) };
    let queue = NatsQueue::start(synced.clone()).unwrap();
    until_ready(&queue).await;
    assert_eq!(check(&synced).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_would_acknowledge_and_drop_isnt_published() {
    let nats = Nats::start().await;
    let interest = Options { retention: Retention::Interest, ..options(nats.url()) };
    let queue = NatsQueue::start(interest.clone()).unwrap();
    until_not_ready(&queue, "no consumer").await;
    let refused = queue.enqueue(&webhook(1)).await;
    assert!(matches!(refused, Err(EnqueueError::Unroutable(_))), "{refused:?}");
    assert!(check(&interest).await.is_err());
    let _worker = NatsConsumer::connect(interest).await.unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_belongs_to_another_stream_is_misconfigured_and_goes_nowhere() {
    let (nats, queue) = ready().await;
    let config = Config { name: "OTHER".into(), subjects: vec!["other.>".into()], ..Config::default() };
    jetstream(&nats).await.create_stream(config).await.unwrap();
    let wrong = Destination { subject: Some("other.{receiver}".into()), ..Destination::default() };
    let wrong = queue.to(wrong, "wrong").unwrap();
    until_not_ready(&wrong, "stream WEBHOOKS takes webhooks.>, not other.>").await;
    let refused = wrong.enqueue(&webhook(1)).await;
    assert!(matches!(refused, Err(EnqueueError::Misconfigured(_))), "{refused:?}");
    assert_eq!(stored(&nats, "OTHER").await, 0);
    assert_eq!(queue.health(), Health::Ready, "each destination on its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_says_so() {
    let nats = Nats::with(Server { jetstream: false, ..Server::default() }).await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_not_ready(&queue, "JetStream isn't enabled").await;
    assert!(matches!(queue.enqueue(&webhook(1)).await, Err(EnqueueError::Unroutable(_))));
    assert!(check(&options(nats.url())).await.unwrap_err().contains("JetStream isn't enabled"));
}

#[tokio::test]
async fn options_that_cant_be_meant_so_name_the_way_out() {
    let start = |change: fn(&mut Options)| {
        let mut options = Options::default();
        change(&mut options);
        NatsQueue::start(options).unwrap_err().to_string()
    };
    assert!(start(|o| o.url = vec!["amqp://u:s3cret@h".into()]).contains("nats://HOST:4222"));
    assert!(start(|o| o.queue_name = String::new()).contains("name"));
    assert!(start(|o| o.stream = Some("a.b".into())).contains("a.b"));
    assert!(start(|o| o.subject = Some("{receiver}".into())).contains("first part"));
    assert!(start(|o| o.user = Some("u".into())).contains("together"));
    assert!(start(|o| o.nkey = Some("x".into())).contains("SU"));
    assert!(start(|o| o.creds = Some("x".into())).contains("credentials"));
    assert!(start(|o| o.creds_file = Some("/nowhere.creds".into())).contains("/nowhere.creds"));
    assert!(start(|o| o.tls_cert = Some("/x".into())).contains("tls_key"));
    assert!(
        start(|o| (o.token, o.nkey_file) = (Some("t".into()), Some("/x".into()))).contains("token, nkey")
    );
    assert!(start(|o| o.ack_timeout = Duration::ZERO).contains("ack_timeout"));
    assert!(start(|o| o.publish_deadline = Duration::MAX).contains("publish_deadline"));
    assert!(start(|o| o.ping_interval = Duration::MAX).contains("ping_interval"));
    assert!(start(|o| o.inbox_prefix = Some("a b".into())).contains("inboxes"));
    assert!(start(|o| o.domain = Some("a.*".into())).contains("domain"));
    for handler in ["", "a\r\nb", "retry-1", "a/retry-1", "dead-7"] {
        let named = Options { handler: Some(handler.into()), ..Options::default() };
        assert!(NatsQueue::start(named).unwrap_err().to_string().contains("handler"), "{handler:?}");
        let queue = NatsQueue::start(Options::default()).unwrap();
        assert!(queue.to(Destination::default(), handler).is_err(), "{handler:?}");
    }
    let secret =
        Options { token: Some("s3cret".into()), url: vec!["nats://u:s3cret@h".into()], ..Options::default() };
    assert!(!format!("{secret:?}").contains("s3cret"));
}
