//! Message headers go where the message goes, and are as safe as it is.

use std::fs;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use sluiced_embedded::{DeadError, DeadLetters, EmbeddedQueue, NewMessage, Options};
use sluiced_queue::{EnqueueError, LeasedMessage, WebHookQueueConsumer};
use uuid::Uuid;

use crate::common::{append, consumer, dir, open, receive, receive_one, small_partitions, sql};

fn with_headers(payload: &'static [u8], headers: &[(&str, &str)]) -> NewMessage {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    NewMessage { headers, ..NewMessage::new(payload, Uuid::now_v7()) }
}

fn awkward() -> NewMessage {
    with_headers(b"\0body\xff", &[("a", "1"), ("a", "2"), ("", ""), ("uni", "ü\u{0}\"\\\u{1F680}\n")])
}

fn parts(message: &LeasedMessage) -> (Bytes, Vec<(String, String)>) {
    (message.message.clone(), message.headers.clone())
}

#[tokio::test]
async fn headers_come_out_as_they_went_in() {
    let dir = dir();
    let queue = open(dir.path());
    let sent = [awkward(), NewMessage::new("without", Uuid::now_v7()), with_headers(b"", &[("only", "me")])];
    for message in &sent {
        let _durable = queue.add(message.clone()).await.unwrap();
    }
    queue.close().await;
    let queue = open(dir.path());
    let received: Vec<_> = receive(&consumer(dir.path()), 10).await.iter().map(parts).collect();
    let expected: Vec<_> = sent.iter().map(|new| (new.payload.clone(), new.headers.clone())).collect();
    assert_eq!(received, expected);
    queue.close().await;
}

#[tokio::test]
async fn a_dead_letter_keeps_its_headers_and_takes_them_back() {
    let dir = dir();
    let queue = open(dir.path());
    let sent = awkward();
    let _durable = queue.add(sent.clone()).await.unwrap();
    let consumer = consumer(dir.path());
    let leased = receive_one(&consumer).await;
    consumer.dead_letter(&leased, "no").await.unwrap();
    let mut dead = DeadLetters::open(dir.path(), "webhooks").unwrap();
    let letter = dead.list(0).unwrap().remove(0);
    assert_eq!(dead.headers(letter.id).unwrap(), sent.headers);
    assert_eq!(letter.bytes, 6 + r#"[["a","1"],["a","2"],["",""],["uni","ü\u0000\"\\🚀\n"]]"#.len() as u64);
    dead.retry(letter.id).unwrap();
    assert_eq!(dead.headers(letter.id), Err(DeadError::NotFound(letter.id)));
    let again = receive_one(&consumer).await;
    assert_eq!(parts(&again), (sent.payload, sent.headers));
    let id: Vec<u8> = sql(dir.path(), "SELECT message_id FROM messages_1 WHERE seq = 2");
    assert_eq!(id, sent.message_id.as_bytes());
    queue.close().await;
}

/// All bounds in bytes hold for both together, and the counts add up.
#[tokio::test]
async fn headers_count() {
    let dir = dir();
    let options = Options { message_bytes_max: 200, ..small_partitions() };
    let queue = EmbeddedQueue::open(dir.path(), options).unwrap();
    let header = "x".repeat(300);
    let refused = queue.add(with_headers(b"", &[("h", &header)])).await.unwrap_err();
    assert_eq!(refused, EnqueueError::TooLarge { bytes: 300 + r#"[["h",""]]"#.len(), bytes_max: 200 });
    let _durable = queue.add(with_headers(b"12345", &[("h", "1")])).await.unwrap();
    append(&queue, "12345").await;
    assert_eq!(queue.depth().await.unwrap().bytes, 5 + r#"[["h","1"]]"#.len() as u64 + 5);
    let consumer = consumer(dir.path());
    let leased = receive_one(&consumer).await;
    consumer.acknowledge(&leased).await.unwrap();
    assert_eq!(queue.depth().await.unwrap().bytes, 5);
    queue.close().await;
    open(dir.path()).close().await;
}

#[tokio::test]
async fn headers_that_have_rotted_are_not_handed_out() {
    let dir = dir();
    let queue = open(dir.path());
    let _durable = queue.add(with_headers(b"good", &[("h", "that will rot")])).await.unwrap();
    queue.close().await;
    let path = dir.path().join("queue.db");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"that will").unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"T", at as u64).unwrap();
    let queue = open(dir.path());
    let consumer = consumer(dir.path());
    assert!(receive(&consumer, 1).await.is_empty());
    let mut dead = DeadLetters::open(dir.path(), "webhooks").unwrap();
    let letter = dead.list(0).unwrap().remove(0);
    assert_eq!(dead.retry(letter.id), Err(DeadError::Damaged(letter.id)));
    assert_eq!(dead.list(0).unwrap().len(), 1);
    queue.close().await;
}
