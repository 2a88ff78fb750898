//! A worker's side, where Azure has its own ways.

use std::time::Duration;

use sluiced_azure::AzureConsumer;
use sluiced_queue::{Backlog, ConsumeError, WebHookQueueConsumer};
use sluiced_test_brokers::{Azurite, Direction, Flow, Proxy, until};

use crate::support::{LEASE, client, filled, nothing, one, options};

async fn without_a_queue_a_worker_waits_and_creates_none(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    for _ in 0..2 {
        let error = AzureConsumer::connect(options.clone()).await.unwrap_err();
        let text = format!("there is no queue {} yet", options.queue_name);
        assert_eq!(error, ConsumeError::Unavailable(text));
    }
}

async fn a_message_handed_back_unfailed_is_no_attempt_for_another_worker_either(azurite: &Azurite) {
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
    // It is rewritten each time.
    first.release(&third, Duration::ZERO, false).await.unwrap();
    let shown = client(azurite, &options.queue_name).peek_messages(None).await.unwrap();
    let shown = shown.into_model().unwrap().items.unwrap().remove(0);
    assert_eq!(shown.expiration_time.unwrap().year(), 9999, "it still never expires");
    let third = one(&first).await;
    first.release(&third, Duration::ZERO, true).await.unwrap();
    let failed = one(&other).await;
    assert_eq!((failed.attempt, &failed.message), (2, &original.message));
    sluiced_queue::WebHookQueueHandler::close(&queue).await;
}

async fn an_extension_that_nobody_waits_for_does_not_lose_the_message(azurite: &Azurite) {
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

async fn a_batch_larger_than_azures_comes_in_several_requests(azurite: &Azurite) {
    let (_queue, consumer) = filled(&options(azurite.connection_string()), 70).await;
    let batch = consumer.receive(65, LEASE, Duration::ZERO).await.unwrap();
    assert_eq!(batch.len(), 65);
    let backlog = consumer.backlog().await.unwrap();
    assert_eq!(backlog, Backlog { visible: 5, leased: 65, delayed: 0 });
    consumer.release(&batch[0], LEASE, true).await.unwrap();
    assert_eq!(consumer.backlog().await.unwrap(), Backlog { visible: 5, leased: 64, delayed: 1 });
}

async fn a_backlog_that_can_not_be_asked_for_is_never_empty(azurite: &Azurite) {
    let proxy = Proxy::to(azurite.address()).await;
    let url = azurite.connection_string_at(proxy.port());
    let (_queue, consumer) = filled(&options(url), 0).await;
    assert_eq!(consumer.backlog().await, Ok(Backlog::default()));
    proxy.refuse();
    assert!(matches!(consumer.backlog().await, Err(ConsumeError::Unavailable(_))));
}

async fn somebody_elses_text_is_handed_out_as_it_is_and_not_rewritten(azurite: &Azurite) {
    let options = options(azurite.connection_string());
    let (_queue, consumer) = filled(&options, 0).await;
    let text = " {\"plain\": \"<&>\"}\t\n ";
    let other = client(azurite, &options.queue_name);
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

crate::support::over_one_azurite! {
    work: [
        without_a_queue_a_worker_waits_and_creates_none,
        a_message_handed_back_unfailed_is_no_attempt_for_another_worker_either,
        an_extension_that_nobody_waits_for_does_not_lose_the_message,
        a_batch_larger_than_azures_comes_in_several_requests,
        a_backlog_that_can_not_be_asked_for_is_never_empty,
        somebody_elses_text_is_handed_out_as_it_is_and_not_rewritten,
    ],
}
