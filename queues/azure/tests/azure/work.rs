//! A worker's side, where Azure has its own ways.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluiced_azure::AzureConsumer;
use sluiced_queue::{Backlog, ConsumeError, WebHookQueueConsumer};
use sluiced_test_brokers::{Azurite, Direction, Flow, Proxy, until};

use crate::double::{Asked, Double, Reply, error, there};
use crate::support::{LEASE, client, filled, message, nothing, one, options};

#[tokio::test]
async fn without_a_queue_a_worker_waits_and_creates_none() {
    let azurite = Azurite::start().await;
    let options = options(azurite.connection_string());
    for _ in 0..2 {
        let error = AzureConsumer::connect(options.clone()).await.unwrap_err();
        let text = format!("there is no queue {} yet", options.queue_name);
        assert_eq!(error, ConsumeError::Unavailable(text));
    }
}

#[tokio::test]
async fn a_message_handed_back_unfailed_is_no_attempt_for_another_worker_either() {
    let azurite = Azurite::start().await;
    let options = options(azurite.connection_string());
    let (queue, first) = filled(&options, 1).await;
    let original = one(&first).await;
    first.release(&original, Duration::ZERO, false).await.unwrap();
    let other = AzureConsumer::connect(options.clone()).await.unwrap();
    let again = one(&other).await;
    assert_eq!((again.attempt, &again.message), (1, &original.message));
    other.release(&again, Duration::ZERO, false).await.unwrap();
    let third = one(&first).await;
    assert_eq!((third.attempt, &third.message), (1, &original.message));
    first.release(&third, Duration::ZERO, true).await.unwrap();
    let failed = one(&other).await;
    assert_eq!((failed.attempt, &failed.message), (2, &original.message));
    sluiced_queue::WebHookQueueHandler::close(&queue).await;
}

#[tokio::test]
async fn an_extension_that_nobody_waits_for_does_not_lose_the_message() {
    let azurite = Azurite::start().await;
    let proxy = Proxy::to(azurite.address()).await;
    let direct = options(azurite.connection_string());
    let (_queue, _) = filled(&direct, 1).await;
    let url = azurite.connection_string_at(proxy.port());
    let consumer = AzureConsumer::connect(sluiced_azure::Options { url, ..direct }).await.unwrap();
    let message = one(&consumer).await;
    proxy.set(Direction::Down, Flow::Delay(Duration::from_millis(400)));
    let given_up = tokio::time::timeout(Duration::from_millis(100), consumer.extend(&message, LEASE)).await;
    assert!(given_up.is_err(), "it was to take longer");
    consumer.acknowledge(&message).await.expect("with the receipt of the extension");
    nothing(&consumer).await;
}

/// One message with the id `m`, and an answer for whatever is done with it.
fn one_message(asked: &Asked) -> Option<Reply> {
    if asked.is_probe() {
        return Some(there(1));
    }
    let text = BASE64.encode(message("{}").encode());
    let xml = format!(
        "<?xml version=\"1.0\"?><QueueMessagesList><QueueMessage><MessageId>m</MessageId>\
         <InsertionTime>Tue, 24 Nov 2026 08:00:00 GMT</InsertionTime><PopReceipt>r</PopReceipt>\
         <DequeueCount>1</DequeueCount><MessageText>{text}</MessageText></QueueMessage></QueueMessagesList>"
    );
    (asked.method == "GET").then_some(Reply::Say(200, Vec::new(), xml))
}

#[tokio::test]
async fn an_acknowledgement_whose_answer_got_lost_counts() {
    let double = Double::start(|asked: &Asked, before| {
        one_message(asked).unwrap_or_else(|| {
            // It was deleted, and the connection ended before the answer came.
            if before == 2 { Reply::Hang } else { error(404, "MessageNotFound") }
        })
    })
    .await;
    let consumer = AzureConsumer::connect(options(double.url())).await.unwrap();
    let message = one(&consumer).await;
    consumer.acknowledge(&message).await.expect("gone is gone");
    assert_eq!(consumer.acknowledge(&message).await, Err(ConsumeError::LeaseLost));
}

#[tokio::test]
async fn a_first_answer_that_somebody_else_has_it_is_a_lost_lease() {
    for (status, code) in [(404, "MessageNotFound"), (400, "PopReceiptMismatch")] {
        let double =
            Double::start(move |asked: &Asked, _| one_message(asked).unwrap_or_else(|| error(status, code)))
                .await;
        let consumer = AzureConsumer::connect(options(double.url())).await.unwrap();
        let message = one(&consumer).await;
        assert_eq!(consumer.acknowledge(&message).await, Err(ConsumeError::LeaseLost));
        let message = one(&consumer).await;
        assert_eq!(consumer.dead_letter(&message, "x").await, Err(ConsumeError::LeaseLost));
        assert_eq!(double.sends().len(), 0, "what is lost isn't buried");
    }
}

#[tokio::test]
async fn leases_are_azures_whole_seconds_and_at_most_seven_days() {
    let double = Double::start(|asked: &Asked, _| one_message(asked).unwrap()).await;
    let consumer = AzureConsumer::connect(options(double.url())).await.unwrap();
    for lease in [Duration::from_millis(1_500), Duration::ZERO, Duration::MAX] {
        let _ = consumer.receive(1, lease, Duration::ZERO).await.unwrap();
    }
    let asked: Vec<String> = double.asked().into_iter().map(|asked| asked.target).collect();
    for (target, seconds) in asked[1..].iter().zip([2, 1, 604_800]) {
        assert!(target.contains(&format!("visibilitytimeout={seconds}")), "{target}");
    }
}

#[tokio::test]
async fn a_batch_larger_than_azures_comes_in_several_requests() {
    let azurite = Azurite::start().await;
    let (_queue, consumer) = filled(&options(azurite.connection_string()), 70).await;
    let batch = consumer.receive(65, LEASE, Duration::ZERO).await.unwrap();
    assert_eq!(batch.len(), 65);
    let backlog = consumer.backlog().await.unwrap();
    assert_eq!(backlog, Backlog { visible: 5, leased: 65, delayed: 0 });
    consumer.release(&batch[0], LEASE, true).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap(), Backlog { visible: 5, leased: 64, delayed: 1 });
}

#[tokio::test]
async fn an_idle_worker_asks_about_once_a_second() {
    let double = Double::start(|asked: &Asked, _| {
        let empty = "<?xml version=\"1.0\"?><QueueMessagesList />".to_owned();
        if asked.is_probe() { there(0) } else { Reply::Say(200, Vec::new(), empty) }
    })
    .await;
    let consumer = AzureConsumer::connect(options(double.url())).await.unwrap();
    assert_eq!(consumer.receive(1, LEASE, Duration::from_secs(6)).await, Ok(Vec::new()));
    let looks = double.asked().len();
    assert!((8..=14).contains(&looks), "{looks} in 6 s");
}

#[tokio::test]
async fn a_backlog_that_can_not_be_asked_for_is_never_empty() {
    let azurite = Azurite::start().await;
    let proxy = Proxy::to(azurite.address()).await;
    let url = azurite.connection_string_at(proxy.port());
    let (_queue, consumer) = filled(&options(url), 0).await;
    assert_eq!(consumer.backlog().await, Ok(Backlog::default()));
    proxy.refuse();
    assert!(matches!(consumer.backlog().await, Err(ConsumeError::Unavailable(_))));

    let silent = Double::start(|_, _| Reply::Say(200, Vec::new(), String::new())).await;
    let error = AzureConsumer::connect(options(silent.url())).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Unavailable(_)), "an answer without a count isn't 0: {error:?}");
}

#[tokio::test]
async fn somebody_elses_text_is_handed_out_as_it_is_and_not_rewritten() {
    let azurite = Azurite::start().await;
    let options = options(azurite.connection_string());
    let (_queue, consumer) = filled(&options, 0).await;
    let text = "{\"plain\": \"<&>\"}";
    let other = client(&azurite, &options.queue_name);
    let body = azure_storage_queue::models::QueueMessage { message_text: Some(text.into()) };
    other.send_message(body.try_into().unwrap(), None).await.unwrap();
    let message = one(&consumer).await;
    assert_eq!(message.message, text.as_bytes());
    assert!(message.context().is_err());
    consumer.release(&message, Duration::ZERO, false).await.unwrap();
    until("it is back", async || {
        let shown = other.peek_messages(None).await.unwrap().into_model().unwrap().items;
        shown.is_some_and(|shown| shown[0].message_text.as_deref() == Some(text))
    })
    .await;
}
