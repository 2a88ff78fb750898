//! A worker's side, when answers get lost.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluiced_azure::{AzureConsumer, AzureDeadLetters, Options};
use sluiced_queue::{ConsumeError, DeadLetterError, DeadLetterStore, WebHookQueueConsumer};

use crate::double::{Asked, Double, KEY, Reply, error, there};
use crate::signature;
use crate::support::{LEASE, message, one, options};

/// As Azure makes them, and a letter more that it has never used.
const RECEIPT: &str = "r+/=\u{e9}&amp;==";

/// One message with the id `m`, and an answer for whatever is done with it.
fn one_message(asked: &Asked) -> Option<Reply> {
    if asked.is_probe() {
        return Some(there(1));
    }
    let text = BASE64.encode(message("{}").encode());
    let xml = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList><QueueMessage>\
         <MessageId>m</MessageId><InsertionTime>Tue, 24 Nov 2026 08:00:00 GMT</InsertionTime>\
         <PopReceipt>{RECEIPT}</PopReceipt>\
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

#[tokio::test]
async fn every_request_of_a_worker_is_signed_whatever_is_in_its_receipt() {
    let double = Double::start(|asked: &Asked, _| {
        one_message(asked).unwrap_or_else(|| match asked.method.as_str() {
            "PUT" => Reply::Say(204, vec![("x-ms-popreceipt", "a+b/c==".into())], String::new()),
            "POST" => Reply::Created,
            _ => Reply::Say(204, Vec::new(), String::new()),
        })
    })
    .await;
    let options = Options { queue_name: "0-a-9".into(), ..options(double.url()) };
    let consumer = AzureConsumer::connect(options).await.unwrap();
    let first = one(&consumer).await;
    consumer.extend(&first, LEASE).await.unwrap();
    consumer.dead_letter(&first, "no luck").await.unwrap();
    let second = one(&consumer).await;
    consumer.release(&second, LEASE, false).await.unwrap();
    let third = one(&consumer).await;
    consumer.acknowledge(&third).await.unwrap();
    for asked in double.asked() {
        assert!(signature::is_good(&asked, "acme", KEY), "{asked:?}");
    }
    let receipts: Vec<String> = double
        .asked()
        .iter()
        .filter_map(|asked| asked.target.split_once("popreceipt="))
        .map(|(_, rest)| signature::decoded(rest.split('&').next().unwrap()))
        .collect();
    let given = RECEIPT.replace("&amp;", "&");
    assert_eq!(receipts, [&given, "a+b/c==", "a+b/c==", &given, &given]);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let double =
        Double::start(|asked: &Asked, _| if asked.is_probe() { there(1) } else { Reply::Flood }).await;
    let consumer = AzureConsumer::connect(options(double.url())).await.unwrap();
    let began = std::time::Instant::now();
    let error = consumer.receive(1, LEASE, Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(&error, ConsumeError::Unavailable(why) if why.contains("isn't that of a queue")),
        "{error:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(8), "not until the deadline: {:?}", began.elapsed());
}

/// A dead letter that is put back: stored in its queue first, then deleted, and not deleted unless stored.
#[tokio::test]
async fn a_letter_is_put_back_before_it_is_deleted_and_given_back_unless_it_was() {
    for stored in [true, false] {
        let double = Double::start(move |asked: &Asked, _| {
            one_message(asked).unwrap_or_else(|| match asked.method.as_str() {
                "PUT" => Reply::Say(204, vec![("x-ms-popreceipt", "r2".into())], String::new()),
                "POST" if stored => Reply::Created,
                "POST" => error(400, "OutOfRangeInput"),
                _ => Reply::Say(204, Vec::new(), String::new()),
            })
        })
        .await;
        let store = AzureDeadLetters::connect(options(double.url())).await.unwrap();
        let outcome = store.retry("m").await;
        let asked = double.asked();
        let steps: Vec<&str> = asked[2..].iter().map(|asked| asked.method.as_str()).collect();
        assert!(asked[3].is_send() && asked[3].target.contains("messagettl=-1"), "{:?}", asked[3]);
        assert!(!asked[3].target.contains("-poison") && asked[4].target.contains("-poison"));
        assert!(asked[4].target.contains("popreceipt=r2"), "with the receipt of the update");
        if stored {
            assert_eq!((outcome, steps), (Ok(()), vec!["PUT", "POST", "DELETE"]));
        } else {
            assert!(matches!(outcome, Err(DeadLetterError::Unavailable(_))), "{outcome:?}");
            assert_eq!(steps, ["PUT", "POST", "PUT"]);
            assert!(asked[4].target.contains("visibilitytimeout=0"), "{:?}", asked[4]);
        }
    }
}
