//! What stands in the queue, and what becomes of it.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluiced_azure::{AzureConsumer, AzureQueue, Destination};
use sluiced_queue::{
    EnqueueError, Format, Health, WebHookQueueConsumer, WebHookQueueContext, WebHookQueueHandler,
    WebHookQueuePublisher,
};
use sluiced_test_brokers::{Azurite, Direction, Proxy, until, until_within};
use tokio::task::JoinSet;

use crate::support::{LEASE, client, filled, message, not_ready, options, ready};

async fn a_message_is_base64_and_never_expires(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    let queue = ready(&options).await;
    let sent = message("{\"xml\":\"<&>]]>\u{1}\"}");
    let _ = queue.enqueue(&sent).await.unwrap();
    let shown = client(azurite, &options.queue_name).peek_messages(None).await.unwrap();
    let shown = shown.into_model().unwrap().items.unwrap().remove(0);
    assert_eq!(shown.expiration_time.unwrap().year(), 9999);
    assert_eq!(shown.message_text.unwrap(), BASE64.encode(sent.encode()));
    queue.close().await;
}

async fn azures_own_library_for_another_language_reads_the_same_bytes(azurite: &Azurite) {
    for format in [Format::Context, Format::CloudEvents] {
        let options = sluiced_azure::Options { format, ..options(azurite.connection_string()) };
        let queue = ready(&options).await;
        let sent = message("{ \"number\": 1.0e+2 ,\r\n \"number\":\"\u{e9}\\u00e9\" }\n");
        let _ = queue.enqueue(&sent).await.unwrap();
        let clients = std::env::var_os("SLUICED_TEST_CLIENTS").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients"),
            Into::into,
        );
        let output = tokio::process::Command::new("node")
            .arg(clients.join("read-azure.mjs"))
            .args([&azurite.connection_string(), &options.queue_name, "1"])
            .stderr(Stdio::inherit())
            .output()
            .await
            .unwrap();
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let bytes = BASE64.decode(line["body"].as_str().unwrap()).unwrap();
        assert_eq!(bytes, sent.encode_as(format).payload);
        assert_eq!(WebHookQueueContext::decode_message(&bytes, &[]).unwrap(), sent);
        queue.close().await;
    }
}

async fn the_size_is_checked_after_encoding_and_azures_limit_is_reached_exactly(azurite: &Azurite) {
    let queue = ready(&options(azurite.connection_string())).await;
    let of_length = |bytes: usize| {
        let empty = message("\"\"").encode().len();
        message(&format!("\"{}\"", "x".repeat(bytes - empty)))
    };
    assert_eq!(queue.message_bytes_max(), 49_152);
    let longest = of_length(49_152);
    assert_eq!(BASE64.encode(longest.encode()).len(), 65_536);
    let _ = queue.enqueue(&longest).await.unwrap();
    let error = queue.enqueue(&of_length(49_153)).await.unwrap_err();
    assert_eq!(error, EnqueueError::TooLarge { bytes: 49_153, bytes_max: 49_152 });
    assert_eq!(queue.health(), Health::Ready);
    queue.close().await;
}

async fn a_queue_deleted_under_load_is_created_again_and_nothing_fails(azurite: &Azurite) {
    // What is to be seen isn't how fast the emulator is.
    let publish_deadline = Duration::from_secs(30);
    let options = sluiced_azure::Options { publish_deadline, ..options(azurite.connection_string()) };
    let queue = ready(&options).await;
    client(azurite, &options.queue_name).delete(None).await.unwrap();
    let mut sending = JoinSet::new();
    for number in 0..100 {
        let queue = queue.clone();
        sending.spawn(async move { queue.enqueue(&message(&number.to_string())).await });
    }
    for sent in sending.join_all().await {
        let _ = sent.expect("a missing queue is created");
    }
    let consumer = AzureConsumer::connect(options).await.unwrap();
    assert_eq!(consumer.receive(200, LEASE, Duration::ZERO).await.unwrap().len(), 100);
    queue.close().await;
}

async fn another_queue_of_the_account_is_a_destination_of_its_own(azurite: &Azurite) {
    let usual = options(azurite.connection_string());
    let queue = ready(&usual).await;
    let name = format!("{}-audit", usual.queue_name);
    let audit = queue.to(Destination { queue_name: Some(name.clone()) }, "audit").unwrap();
    assert_eq!(audit.destination(), format!("queue {name}"));
    until("the other queue is ready", async || audit.health() == Health::Ready).await;
    let sent = message("{}");
    let _ = audit.enqueue(&sent).await.unwrap();
    let options = sluiced_azure::Options { queue_name: name, ..usual.clone() };
    let consumer = AzureConsumer::connect(options).await.unwrap();
    let came = consumer.receive(10, LEASE, Duration::from_secs(5)).await.unwrap();
    assert_eq!(came[0].context().unwrap(), sent);
    let wrong = queue.to(Destination { queue_name: Some("Audit".into()) }, "audit").unwrap_err();
    assert!(wrong.to_string().contains("`audit` would do"), "{wrong}");
    audit.close().await;
    let _ = queue.enqueue(&sent).await.expect("the first one goes on");
    queue.close().await;
}

#[tokio::test]
async fn absent_at_the_start_is_not_ready_and_comes_by_itself() {
    let mut azurite = Azurite::absent();
    let options = options(azurite.connection_string());
    let queue = AzureQueue::start(options.clone()).unwrap();
    let why = not_ready(&queue).await;
    until("the reason is known", async || {
        queue.health() == Health::NotReady("no connection: Connection refused (os error 111)".into())
    })
    .await;
    assert!(!why.is_empty());
    let error = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(&error, EnqueueError::Unavailable(why) if why.contains("refused")), "{error:?}");
    assert!(sluiced_azure::check(&options).await.unwrap_err().contains("refused"));
    azurite.restart().await;
    until_within(Duration::from_secs(5), "ready", async || queue.health() == Health::Ready).await;
    assert_eq!(sluiced_azure::check(&options).await, Ok(Vec::new()));
    queue.close().await;
}

async fn check_tells_of_a_queue_that_is_missing_and_creates_nothing(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    for _ in 0..2 {
        let warnings = sluiced_azure::check(&options).await.unwrap();
        assert!(warnings[0].contains("will be created"), "{warnings:?}");
    }
    let forbidden = sluiced_azure::Options { declare: false, ..options };
    let error = sluiced_azure::check(&forbidden).await.unwrap_err();
    assert!(error.contains("az storage queue create"), "{error}");
}

async fn closing_waits_for_what_is_under_way(azurite: &Azurite) {
    let (queue, consumer) = filled(&options(azurite.connection_string()), 0).await;
    let mut sending = JoinSet::new();
    for number in 0..50 {
        sending.spawn(queue.publish(&message(&number.to_string())));
    }
    tokio::task::yield_now().await;
    queue.close().await;
    let stored = consumer.receive(100, LEASE, Duration::ZERO).await.unwrap().len();
    let receipts = sending.join_all().await.into_iter().filter(Result::is_ok).count();
    assert!(receipts > 0 && stored >= receipts, "{receipts} receipts, {stored} messages");
    let late = queue.enqueue(&message("{}")).await.unwrap_err();
    assert!(matches!(late, EnqueueError::Unavailable(_)));
}

async fn connections_that_are_cut_keep_nobody_waiting(azurite: &Azurite) {
    let proxy = Proxy::to(azurite.address()).await;
    let url = azurite.connection_string_at(proxy.port());
    let queue =
        ready(&sluiced_azure::Options { publish_deadline: Duration::from_secs(20), ..options(url) }).await;
    for round in 0..6 {
        let passed = proxy.bytes(Direction::Up);
        let mut sending = JoinSet::new();
        for number in 0..64 {
            sending.spawn(queue.publish(&message(&number.to_string())));
        }
        until("some are on their way", async || proxy.bytes(Direction::Up) > passed + 1 + round * 3_000)
            .await;
        proxy.cut();
        for sent in sending.join_all().await {
            assert!(matches!(sent, Ok(_) | Err(EnqueueError::Unavailable(_))), "not timed out: {sent:?}");
        }
    }
    queue.close().await;
}

crate::support::over_one_azurite! {
    publish: [
        a_message_is_base64_and_never_expires,
        azures_own_library_for_another_language_reads_the_same_bytes,
        the_size_is_checked_after_encoding_and_azures_limit_is_reached_exactly,
        a_queue_deleted_under_load_is_created_again_and_nothing_fails,
        another_queue_of_the_account_is_a_destination_of_its_own,
        check_tells_of_a_queue_that_is_missing_and_creates_nothing,
        closing_waits_for_what_is_under_way,
        connections_that_are_cut_keep_nobody_waiting,
    ],
}
