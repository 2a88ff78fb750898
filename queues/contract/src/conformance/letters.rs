//! Dead letters: kept with their reason, shown, put back, deleted.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::tools::{ARRIVAL, LEASE, QUIET, id_of, insist_on, nothing_comes, receive_one, until_ready};
use super::{Destination, Rig, Setup, messages};
use crate::consumer::WebHookQueueConsumer;
use crate::dead::{DeadLetter, DeadLetterError, DeadLetterStore};

/// Given up, looked at, put back with its attempts forgotten, given up again, deleted.
pub(super) async fn dead_letter_life(rig: &mut dyn Rig) {
    let began = Timestamp::now();
    let (consumer, store, ids) = dead(rig, 1).await;
    let letter = only(&*store).await;
    assert_letter(&letter, ids[0], 2);
    let age = letter.died_at.duration_since(began).as_secs();
    assert!((-2..60).contains(&age), "it died {age} s after the case began");
    assert_eq!(store.show(&letter.id).await, Ok(letter.clone()));
    nothing_comes(&*consumer, LEASE, QUIET).await;

    store.retry(&letter.id).await.expect("it can be put back");
    let again = receive_one(&*consumer, LEASE).await;
    assert_eq!((id_of(&again), again.attempt), (ids[0], 1));
    until_letters(&*store, 0).await;
    not_found(store.show(&letter.id).await.map(drop), &letter.id);
    not_found(store.retry(&letter.id).await, &letter.id);
    not_found(store.purge(&letter.id).await, &letter.id);

    consumer.dead_letter(&again, "for good").await.expect("a held lease can be given up");
    let letter = only(&*store).await;
    assert_eq!((letter.reason.as_str(), letter.attempts), ("for good", 1));
    store.purge(&letter.id).await.expect("it can be deleted");
    until_letters(&*store, 0).await;
    nothing_comes(&*consumer, LEASE, QUIET).await;
}

/// Many are listed in pages, in the order in which they died, none twice; looking disturbs nothing.
pub(super) async fn dead_letter_pages(rig: &mut dyn Rig) {
    const COUNT: usize = 7;
    let (_, store, ids) = dead(rig, COUNT).await;
    until_letters(&*store, COUNT).await;
    for _ in 0..2 {
        let mut listed: Vec<DeadLetter> = Vec::new();
        loop {
            let after = listed.last().map(|letter| letter.id.clone());
            let page = store.list(after.as_deref(), 3).await.expect("the store answers");
            assert!(page.len() <= 3, "three were asked for, {} came", page.len());
            if page.is_empty() {
                break;
            }
            listed.extend(page);
            assert!(listed.len() <= COUNT, "a page repeats itself");
        }
        let order: Vec<Uuid> =
            listed.iter().map(|letter| letter.context().expect("readable").message_id).collect();
        assert_eq!(order, ids);
    }
    let third = store.list(None, 3).await.expect("the store answers").remove(2);
    store.purge(&third.id).await.expect("it can be deleted");
    until_letters(&*store, COUNT - 1).await;
    let rest = store.list(None, COUNT).await.expect("the store answers");
    assert!(rest.iter().all(|letter| letter.id != third.id), "another one was deleted");
}

/// So many messages that failed once and were then given up, one after the other.
async fn dead(
    rig: &mut dyn Rig,
    count: usize,
) -> (Arc<dyn WebHookQueueConsumer>, Arc<dyn DeadLetterStore>, Vec<Uuid>) {
    let handler = rig.handler(Setup::default()).await;
    until_ready(&*handler).await;
    let consumer = rig.consumer(Destination::Usual).await;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.extend(insist_on(&*handler, 1).await);
        let first = receive_one(&*consumer, LEASE).await;
        consumer
            .release(&first, std::time::Duration::ZERO, true)
            .await
            .expect("a held lease can be released");
        let second = receive_one(&*consumer, LEASE).await;
        consumer.dead_letter(&second, "exit 1: no \"luck\"").await.expect("a held lease can be given up");
    }
    (consumer, rig.dead_letters().await, ids)
}

fn assert_letter(letter: &DeadLetter, id: Uuid, attempts: u32) {
    assert_eq!(letter.context().expect("a message of ours can be read"), messages::of_id(id));
    assert!(letter.message_id.is_none_or(|of_backend| of_backend == id));
    assert_eq!(letter.reason, "exit 1: no \"luck\"");
    assert_eq!(letter.attempts, attempts);
}

async fn only(store: &dyn DeadLetterStore) -> DeadLetter {
    until_letters(store, 1).await;
    store.list(None, 10).await.expect("the store answers").remove(0)
}

/// A broker may need a moment to show what has moved.
async fn until_letters(store: &dyn DeadLetterStore, count: usize) {
    let began = Instant::now();
    loop {
        let found = store.list(None, count + 1).await.expect("the store answers").len();
        if found == count {
            return;
        }
        assert!(began.elapsed() < ARRIVAL, "{found} dead letters instead of {count}");
        tokio::time::sleep(QUIET / 10).await;
    }
}

fn not_found(outcome: Result<(), DeadLetterError>, id: &str) {
    assert_eq!(outcome, Err(DeadLetterError::NotFound(id.to_owned())));
}
