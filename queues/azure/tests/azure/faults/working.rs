//! A worker's side, when answers get lost.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluiced_azure::AzureConsumer;
use sluiced_queue::{ConsumeError, WebHookQueueConsumer};

use crate::double::{Asked, Double, Reply, error, there};
use crate::support::{LEASE, message, one, options};

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
async fn an_answer_without_a_count_is_not_an_empty_queue() {
    let silent = Double::start(|_, _| Reply::Say(200, Vec::new(), String::new())).await;
    let error = AzureConsumer::connect(options(silent.url())).await.unwrap_err();
    assert!(matches!(error, ConsumeError::Unavailable(_)), "{error:?}");
}

/// A worker that dies between two of these steps leaves the message in one of the queues at least.
#[tokio::test]
async fn a_message_is_buried_before_it_is_deleted_and_not_deleted_unless_buried() {
    let update = || Reply::Say(204, vec![("x-ms-popreceipt", "r2".into())], String::new());
    for buried in [true, false] {
        let double = Double::start(move |asked: &Asked, _| {
            one_message(asked).unwrap_or_else(|| match asked.method.as_str() {
                "PUT" => update(),
                "POST" if buried => Reply::Created,
                "POST" => error(400, "OutOfRangeInput"),
                _ => Reply::Hang,
            })
        })
        .await;
        let consumer = AzureConsumer::connect(options(double.url())).await.unwrap();
        let message = one(&consumer).await;
        let outcome = consumer.dead_letter(&message, "no luck").await.unwrap_err();
        let steps: Vec<String> = double.asked()[2..].iter().map(|asked| asked.method.clone()).collect();
        if buried {
            assert!(matches!(outcome, ConsumeError::Unavailable(_)), "{outcome:?}");
            assert_eq!(steps, ["PUT", "POST", "DELETE", "DELETE"]);
            assert!(double.asked()[4].target.contains("popreceipt=r2"), "with the receipt of the update");
        } else {
            assert!(matches!(outcome, ConsumeError::Failed(_)), "{outcome:?}");
            assert_eq!(steps, ["PUT", "POST"]);
        }
    }
}
