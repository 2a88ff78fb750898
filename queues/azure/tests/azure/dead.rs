//! Dead letters: where Azure Functions has them, and what it takes to find one among many.

use std::time::Duration;

use azure_storage_queue::models::QueueMessage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sluiced_azure::{AzureConsumer, AzureDeadLetters, Options};
use sluiced_queue::{
    DeadLetter, DeadLetterError, DeadLetterStore, Format, WebHookQueueConsumer, WebHookQueueContext,
};
use sluiced_test_brokers::Azurite;

use crate::support::{LEASE, client, filled, letters, message, one, options};

/// Buries everything that is there.
async fn bury_all(consumer: &AzureConsumer, reason: &str) {
    loop {
        let batch = consumer.receive(100, LEASE, Duration::ZERO).await.unwrap();
        if batch.is_empty() {
            return;
        }
        for message in &batch {
            consumer.dead_letter(message, reason).await.unwrap();
        }
    }
}

async fn all(store: &AzureDeadLetters, page: usize) -> Vec<DeadLetter> {
    let mut all: Vec<DeadLetter> = Vec::new();
    loop {
        let after = all.last().map(|letter| letter.id.clone());
        let letters = store.list(after.as_deref(), page).await.unwrap();
        if letters.is_empty() {
            return all;
        }
        all.extend(letters);
    }
}

/// What a reader of the poison queue sees.
async fn shown(azurite: &Azurite, options: &Options) -> Vec<String> {
    let poison = client(azurite, &format!("{}-poison", options.queue_name));
    let shown = poison.peek_messages(None).await.unwrap().into_model().unwrap().items;
    shown.unwrap_or_default().into_iter().map(|message| message.message_text.unwrap()).collect()
}

/// The year in which the first message of a queue expires.
async fn expiry(azurite: &Azurite, queue: &str) -> i32 {
    let shown = client(azurite, queue).peek_messages(None).await.unwrap().into_model().unwrap().items;
    shown.unwrap()[0].expiration_time.unwrap().year()
}

async fn a_dead_letter_is_the_message_with_its_reason_behind_it_and_comes_back_as_it_was(azurite: &Azurite) {
    for format in [Format::Context, Format::CloudEvents] {
        let options = Options { format, ..options(azurite.connection_string()) };
        let (_queue, consumer) = filled(&options, 1).await;
        let original = one(&consumer).await;
        consumer.dead_letter(&original, "exit 1: no \"luck\"\n").await.unwrap();
        let text = BASE64.decode(&shown(azurite, &options).await[0]).unwrap();
        assert!(text.starts_with(&original.message[..original.message.len() - 1]));
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(json["sluicedreason"], "exit 1: no \"luck\"\n");
        assert_eq!(json["sluicedattempts"], 1);
        let context = WebHookQueueContext::decode_message(&text, &[]).expect("other readers can read it");
        assert_eq!(context, original.context().unwrap());
        let poison = format!("{}-poison", options.queue_name);
        assert_eq!(expiry(azurite, &poison).await, 9999, "a dead letter never expires");

        let store = letters(&options).await;
        let letter = store.list(None, 10).await.unwrap().remove(0);
        assert_eq!(letter.message, original.message);
        store.retry(&letter.id).await.unwrap();
        assert_eq!(expiry(azurite, &options.queue_name).await, 9999, "nor does one that was put back");
        let again = one(&consumer).await;
        assert_eq!((&again.message, again.attempt), (&original.message, 1));
        assert_eq!(shown(azurite, &options).await, [""; 0]);
    }
}

async fn a_letter_that_somebody_else_put_there_is_shown_retried_and_purged_too(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    let (_queue, consumer) = filled(&options, 0).await;
    let poison = client(azurite, &format!("{}-poison", options.queue_name));
    poison.create(None).await.unwrap();
    let ours = message("{\"by\":\"functions\"}");
    for text in [BASE64.encode(ours.encode()), "plain <&>\r\n text".into()] {
        let body = QueueMessage { message_text: Some(text) };
        poison.send_message(body.try_into().unwrap(), None).await.unwrap();
    }
    let store = letters(&options).await;
    let found = store.list(None, 10).await.unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|letter| letter.reason == "not recorded in the poison queue"));
    let (plain, coded): (Vec<_>, Vec<_>) = found.into_iter().partition(|l| l.message.starts_with(b"plain"));
    assert_eq!(plain[0].message, "plain <&>\r\n text");
    store.retry(&plain[0].id).await.unwrap();
    assert_eq!(one(&consumer).await.message, "plain <&>\r\n text");
    assert_eq!(store.show(&coded[0].id).await.unwrap().context().unwrap(), ours);
    store.purge(&coded[0].id).await.unwrap();
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
}

async fn more_letters_than_azure_shows_are_all_listed_and_all_visible_afterwards(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    let (_queue, consumer) = filled(&options, 75).await;
    bury_all(&consumer, "no luck").await;
    let store = letters(&options).await;
    for _ in 0..2 {
        let listed = all(&store, 10).await;
        let numbers: Vec<u64> = listed
            .iter()
            .map(|letter| {
                letter.context().unwrap().data_as::<serde_json::Value>().unwrap()["n"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(numbers, (0..75).collect::<Vec<u64>>(), "in the order in which they died");
    }
    let other = letters(&options).await;
    let last = all(&other, 100).await.pop().unwrap();
    assert_eq!(store.show(&last.id).await.unwrap(), last, "the last one can be had by its id");
    store.retry(&last.id).await.unwrap();
    assert_eq!(one(&consumer).await.message, last.message);
    assert_eq!(all(&store, 100).await.len(), 74);
    assert_eq!(store.show("nobody").await, Err(DeadLetterError::NotFound("nobody".into())));
}

async fn all_can_be_retried_while_they_are_listed(azurite: &Azurite) {
    for count in [5, 40] {
        let options = options(azurite.connection_string());
        let (_queue, consumer) = filled(&options, count).await;
        bury_all(&consumer, "no luck").await;
        let store = letters(&options).await;
        let mut after = None;
        loop {
            let page = store.list(after.as_deref(), 7).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for letter in page {
                store.retry(&letter.id).await.unwrap();
            }
        }
        let back = consumer.receive(100, LEASE, Duration::ZERO).await.unwrap();
        assert_eq!(back.len(), count);
        assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
    }
}

async fn a_letter_in_somebodys_hands_is_not_reported_as_gone(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    let (_queue, consumer) = filled(&options, 1).await;
    bury_all(&consumer, "no luck").await;
    let store = letters(&options).await;
    let letter = store.list(None, 1).await.unwrap().remove(0);
    let poison = client(azurite, &format!("{}-poison", options.queue_name));
    poison.receive_messages(None).await.unwrap();
    let error = store.purge(&letter.id).await.unwrap_err();
    assert!(
        matches!(&error, DeadLetterError::Unavailable(why) if why.contains("1 more are in")),
        "{error:?}"
    );
}

async fn looking_disturbs_nobody(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    let (_queue, consumer) = filled(&options, 3).await;
    bury_all(&consumer, "no luck").await;
    let store = letters(&options).await;
    let listed = all(&store, 2).await;
    store.show(&listed[2].id).await.unwrap();
    let poison = client(azurite, &format!("{}-poison", options.queue_name));
    let shown = poison.peek_messages(None).await.unwrap().into_model().unwrap().items.unwrap();
    assert_eq!(shown[0].dequeue_count, Some(0), "nobody took it");
}

async fn without_a_poison_queue_there_are_no_letters(azurite: &Azurite) {
    let store = letters(&options(azurite.connection_string())).await;
    assert_eq!(store.list(None, 10).await, Ok(Vec::new()));
    let nowhere = Err(DeadLetterError::NotFound("x".into()));
    assert_eq!(store.retry("x").await, nowhere);
    assert_eq!(store.purge("x").await, nowhere);
    assert_eq!(store.show("x").await.map(drop), nowhere);
}

crate::support::over_one_azurite! {
    dead: [
        a_dead_letter_is_the_message_with_its_reason_behind_it_and_comes_back_as_it_was,
        a_letter_that_somebody_else_put_there_is_shown_retried_and_purged_too,
        more_letters_than_azure_shows_are_all_listed_and_all_visible_afterwards,
        all_can_be_retried_while_they_are_listed,
        a_letter_in_somebodys_hands_is_not_reported_as_gone,
        looking_disturbs_nobody,
        without_a_poison_queue_there_are_no_letters,
    ],
}
