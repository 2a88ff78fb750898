//! Dead letters: with their reasons, where RabbitMQ's users look for them, and none lost by being looked at.

use std::time::Duration;

use lapin::options::{BasicGetOptions, BasicNackOptions};
use lapin::types::AMQPValue;
use sluiced_queue::{
    DeadLetter, DeadLetterError, DeadLetterStore, WebHookQueueConsumer, WebHookQueueHandler,
    WebHookQueuePublisher,
};
use sluiced_rabbitmq::{Options, RabbitMqDeadLetters};
use sluiced_test_brokers::{Proxy, RabbitMq, until};
use tokio::task::JoinSet;

use crate::raw::Raw;
use crate::support::{enqueued, options, received_one, scenario, started, webhook, worker};

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters() {
    let broker = RabbitMq::with("channel_max = 60\n").await;
    scenario("few channels are enough", few_channels_are_enough(&broker)).await;
    scenario("with the reason", with_the_reason(&broker)).await;
    scenario("looking takes nothing away", looking_takes_nothing_away(&broker)).await;
    scenario("retried and purged", retried_and_purged(&broker)).await;
    scenario("given up by RabbitMQ", given_up_by_rabbitmq(&broker)).await;
    scenario("a look that breaks off", a_look_that_breaks_off(&broker)).await;
}

/// A broker may allow fewer channels than we would use; questions about queues need some besides.
async fn few_channels_are_enough(broker: &RabbitMq) {
    let queue = started(options(broker, "few")).await;
    let publishes = (0..256).map(|_| queue.publish(&webhook())).collect::<JoinSet<_>>();
    let answers = publishes.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    assert_eq!(queue.depth().await.map(|depth| depth.messages), Some(256));
    queue.close().await;
}

/// So many dead letters of this queue.
async fn killed(broker: &RabbitMq, queue: &str, how_many: usize) -> RabbitMqDeadLetters {
    let options = options(broker, queue);
    let publisher = started(options.clone()).await;
    let worker = worker(&options).await;
    for n in 0..how_many {
        enqueued(&publisher, &webhook()).await;
        let message = received_one(&worker).await;
        worker.dead_letter(&message, &format!("reason {n}")).await.unwrap();
    }
    assert!(worker.backlog().await.unwrap().is_empty());
    RabbitMqDeadLetters::connect(options).await.unwrap()
}

async fn all(letters: &RabbitMqDeadLetters, step: usize) -> Vec<DeadLetter> {
    let mut all: Vec<DeadLetter> = Vec::new();
    loop {
        let page = letters.list(all.last().map(|letter| letter.id.as_str()), step).await.unwrap();
        assert!(page.len() <= step);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn reasons(letters: &[DeadLetter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.reason.as_str()).collect()
}

async fn with_the_reason(broker: &RabbitMq) {
    let options = options(broker, "reason");
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    let letters = RabbitMqDeadLetters::connect(options.clone()).await.unwrap();
    assert_eq!(letters.list(None, 10).await.unwrap(), Vec::new());
    let context = webhook();
    enqueued(&queue, &context).await;
    let message = received_one(&worker).await;
    worker.release(&message, Duration::ZERO, true).await.unwrap();
    let message = received_one(&worker).await;
    worker.dead_letter(&message, "exit status 3 \u{7}\n é").await.unwrap();
    let page = letters.list(None, 10).await.unwrap();
    assert_eq!(page.len(), 1);
    let letter = &page[0];
    assert_eq!((letter.reason.as_str(), letter.attempts), ("exit status 3 \u{7}\n é", 2));
    assert_eq!((letter.message_id, letter.context().unwrap()), (Some(context.message_id), context));
    let age = jiff::Timestamp::now().as_second() - letter.died_at.as_second();
    assert!((0..60).contains(&age), "{age}");
    assert_eq!(&letters.show(&letter.id).await.unwrap(), letter);
    // In plain AMQP as well.
    let raw = Raw::connect(&broker.url()).await;
    until("the look has ended", async || raw.count("reason.dead").await == 1).await;
    // Far more often than a queue's default limit of deliveries allows.
    for _ in 0..30 {
        let got =
            async || raw.channel.basic_get("reason.dead".into(), BasicGetOptions::default()).await.unwrap();
        let mut letter = None;
        until("it is there", async || {
            letter = got().await;
            letter.is_some()
        })
        .await;
        letter.unwrap().acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
    }
    let delivery = raw.take("reason.dead").await.unwrap();
    let headers = delivery.properties.headers().as_ref().unwrap().inner().clone();
    assert_eq!(headers["sluiced-queue"], AMQPValue::LongString("reason".into()));
    assert_eq!(headers["sluiced-routing-key"], AMQPValue::LongString("reason".into()));
    assert_eq!(delivery.properties.delivery_mode(), &Some(2));
}

async fn looking_takes_nothing_away(broker: &RabbitMq) {
    const LETTERS: usize = 40;
    let letters = killed(broker, "looked", LETTERS).await;
    let expected: Vec<String> = (0..LETTERS).map(|n| format!("reason {n}")).collect();
    for step in [1, 7, 16, 100] {
        let seen = all(&letters, step).await;
        assert_eq!(reasons(&seen), expected, "in steps of {step}");
    }
    for _ in 0..30 {
        letters.list(None, 1).await.unwrap();
    }
    let first = all(&letters, 100).await.remove(0);
    assert_eq!(first.reason, "reason 0");
    assert_eq!(first.attempts, 1, "looking is no attempt");
    let raw = Raw::connect(&broker.url()).await;
    assert_eq!(raw.count("looked.dead").await as usize, LETTERS, "all are back when the list was read");
    // A list that isn't read to its end holds letters back for a moment only.
    letters.list(None, 5).await.unwrap();
    assert!((raw.count("looked.dead").await as usize) < LETTERS);
    until("they are back", async || raw.count("looked.dead").await as usize == LETTERS).await;
}

async fn retried_and_purged(broker: &RabbitMq) {
    let letters = killed(broker, "retried", 30).await;
    let before = all(&letters, 100).await;
    letters.retry(&before[4].id).await.unwrap();
    letters.purge(&before[5].id).await.unwrap();
    for id in [&before[4].id, &before[5].id, "no-such-letter"] {
        assert_eq!(letters.retry(id).await, Err(DeadLetterError::NotFound(id.into())));
        assert_eq!(letters.purge(id).await, Err(DeadLetterError::NotFound(id.into())));
        assert_eq!(letters.show(id).await, Err(DeadLetterError::NotFound(id.into())));
    }
    let worker = worker(&options(broker, "retried")).await;
    let message = received_one(&worker).await;
    assert_eq!((message.attempt, message.context().ok()), (1, before[4].context().ok()));
    worker.acknowledge(&message).await.unwrap();
    // As `--all` does it: a page, each of it, the next page.
    let mut after: Option<String> = None;
    let mut retried = 0;
    loop {
        let page = letters.list(after.as_deref(), 6).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for letter in &page {
            letters.retry(&letter.id).await.unwrap();
            retried += 1;
        }
    }
    assert_eq!(retried, 28);
    assert_eq!(letters.list(None, 10).await.unwrap(), Vec::new());
    assert_eq!(worker.backlog().await.unwrap().visible, 28);
}

/// Of a message whose workers die, until the queue's limit is reached; and of one that somebody else rejected.
async fn given_up_by_rabbitmq(broker: &RabbitMq) {
    let options = Options { delivery_limit: 3, ..options(broker, "given-up") };
    let queue = started(options.clone()).await;
    let context = webhook();
    enqueued(&queue, &context).await;
    let raw = Raw::connect(&broker.url()).await;
    for _ in 0..4 {
        until("it is delivered", async || {
            let got = raw.channel.basic_get("given-up".into(), BasicGetOptions::default()).await.unwrap();
            let Some(got) = got else { return false };
            got.delivery.acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap()
        })
        .await;
    }
    let letters = RabbitMqDeadLetters::connect(options.clone()).await.unwrap();
    let mut page = Vec::new();
    until("it is dead", async || {
        page = letters.list(None, 10).await.unwrap();
        !page.is_empty()
    })
    .await;
    assert!(page[0].reason.contains("delivery_limit"), "{:?}", page[0].reason);
    assert_eq!(page[0].id, context.message_id.to_string());
    let age = jiff::Timestamp::now().as_second() - page[0].died_at.as_second();
    assert!((0..60).contains(&age), "{age}");
    letters.retry(&page[0].id).await.unwrap();
    let worker = worker(&options).await;
    let message = received_one(&worker).await;
    assert_eq!((message.context().unwrap(), message.attempt), (context, 1));
    worker.acknowledge(&message).await.unwrap();
}

async fn a_look_that_breaks_off(broker: &RabbitMq) {
    let letters = killed(broker, "broken", 10).await;
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let remote = RabbitMqDeadLetters::connect(Options { url, ..options(broker, "broken") }).await.unwrap();
    let page = remote.list(None, 5).await.unwrap();
    proxy.refuse();
    assert!(matches!(remote.retry(&page[1].id).await, Err(DeadLetterError::Unavailable(_))));
    let raw = Raw::connect(&broker.url()).await;
    until("all are back", async || raw.count("broken.dead").await == 10).await;
    assert_eq!(raw.count("broken").await, 0);
    assert_eq!(all(&letters, 100).await.len(), 10);
    proxy.pass();
    until("it works again", async || remote.retry(&page[1].id).await.is_ok()).await;
    assert_eq!(raw.count("broken").await, 1);
    assert_eq!(all(&letters, 100).await.len(), 9);
}
