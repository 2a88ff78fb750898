//! Connections that are cut while messages are on their way: what has a receipt is in the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use sluiced_queue::{
    EnqueueError, Health, WebHookQueueConsumer, WebHookQueueContext, WebHookQueueHandler,
    WebHookQueuePublisher,
};
use sluiced_rabbitmq::Options;
use sluiced_test_brokers::{Direction, Flow, Proxy, RabbitMq, until};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::raw::Raw;
use crate::support::{LEASE, options, ready, scenario, started, webhook, worker};

const ROUNDS: u64 = 16;
const PUBLISHERS: usize = 64;

/// More threads than cores: publishes meet in all their steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn cuts() {
    let broker = RabbitMq::start().await;
    scenario("no receipt without its message", no_receipt_without_its_message(&broker)).await;
    scenario("a retry is nowhere lost", a_retry_is_nowhere_lost(&broker)).await;
    scenario("an unanswered channel is not reused", an_unanswered_channel_is_not_reused(&broker)).await;
    scenario("what is given up unwritten", what_is_given_up_unwritten_costs_nobody(&broker)).await;
}

/// Long messages among short ones: on one channel for all they would overtake one another between getting their
/// number and being written. And in every second round the broker gets no more while its confirmations still come:
/// those for what it has; then the connection is cut.
async fn no_receipt_without_its_message(broker: &RabbitMq) {
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let publish_deadline = Duration::from_secs(2);
    let queue = started(Options { url, publish_deadline, ..options(broker, "cut") }).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let (queue, stop) = (queue.clone(), stop.clone());
        let long = publisher % 16 == 0;
        publishers.spawn(async move {
            let (mut confirmed, mut failed) = (Vec::new(), 0_u32);
            while !stop.load(Ordering::Relaxed) {
                let mut context = webhook();
                if long {
                    context.data = sluiced_queue::Data::Text("x".repeat(300_000));
                }
                match queue.enqueue(&context).await {
                    Ok(_) => confirmed.push(context.message_id),
                    Err(_) => {
                        failed += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            (confirmed, failed)
        });
    }
    for round in 0..ROUNDS {
        ready(&queue).await;
        // A connection that lives so long is replaced soon.
        tokio::time::sleep(Duration::from_millis(110 + round)).await;
        if round % 2 == 0 {
            proxy.set(Direction::Up, Flow::Stall);
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.cut();
            proxy.pass();
        } else {
            let direction = if round % 4 == 1 { Direction::Up } else { Direction::Down };
            proxy.cut_after(direction, 4_000 + round * 79_190 % 600_000);
            let began = Instant::now();
            while proxy.cut_pending(direction) && began.elapsed() < Duration::from_secs(3) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if proxy.cut_pending(direction) {
                proxy.cut();
            }
        }
        until("the loss is known", async || queue.health() != Health::Ready).await;
    }
    stop.store(true, Ordering::Relaxed);
    let ends = publishers.join_all().await;
    let confirmed: Vec<Uuid> = ends.iter().flat_map(|(confirmed, _)| confirmed.clone()).collect();
    let failed: u32 = ends.iter().map(|(_, failed)| failed).sum();
    let there = Raw::connect(&broker.url()).await.drain("cut").await;
    let twice = there.values().filter(|times| **times > 1).count();
    eprintln!(
        "{ROUNDS} cuts: {} confirmed, {failed} failed, {} there, {twice} twice",
        confirmed.len(),
        there.len()
    );
    assert!(confirmed.len() > 1_000, "{}", confirmed.len());
    assert_eq!(missing(&confirmed, &there), 0);
    assert_eq!(proxy.connections_total() as u64, ROUNDS + 1, "one connection at a time");
}

/// A broker's answers are held back until the publishes have given up; then they come, late, and must meet no
/// other message: here all further ones are unroutable, so that any receipt would be a wrong one.
async fn an_unanswered_channel_is_not_reused(broker: &RabbitMq) {
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let deadline = Duration::from_millis(300);
    let impatient = Options { url, channels: 4, publish_deadline: deadline, ..options(broker, "late") };
    let queue = started(impatient).await;
    let raw = Raw::connect(&broker.url()).await;
    let kind = lapin::ExchangeKind::Direct;
    raw.channel.exchange_declare("void".into(), kind, Default::default(), Default::default()).await.unwrap();
    let void = sluiced_rabbitmq::Destination { exchange: Some("void".into()), ..Default::default() };
    let unroutable = queue.to(void, "void").unwrap();
    ready(&unroutable).await;
    let four = async || (0..4).map(|_| queue.publish(&webhook())).collect::<JoinSet<_>>().join_all().await;
    until("all channels are open", async || four().await.iter().all(Result::is_ok)).await;
    let before = pool(broker).await;
    assert!(before.len() >= 4, "{before:?}");
    for round in 0..5 {
        ready(&queue).await;
        proxy.set(Direction::Down, Flow::Stall);
        let publishes = four().await;
        assert!(publishes.iter().all(Result::is_err), "{publishes:?}");
        proxy.pass();
        if round == 0 {
            until("others are open", async || four().await.iter().all(Result::is_ok)).await;
            let after = pool(broker).await;
            assert!(before.is_disjoint(&after), "unanswered channels are used again: {before:?}, {after:?}");
        }
        for _ in 0..20 {
            assert!(unroutable.enqueue(&webhook()).await.is_err(), "a late confirmation met another message");
        }
    }
    assert_eq!(proxy.connections_total(), 1, "late answers cost channels, not the connection");
}

/// More than the connection takes while the network swallows it: the library would close the channel of what is
/// given up before it writes that, and the broker ends a connection on whose closed channels something comes.
async fn what_is_given_up_unwritten_costs_nobody(broker: &RabbitMq) {
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let publish_deadline = Duration::from_millis(300);
    let queue = started(Options { url, publish_deadline, ..options(broker, "unwritten") }).await;
    let mut large = webhook();
    large.data = sluiced_queue::Data::Text("x".repeat(600_000));
    let at_once = async |context: &WebHookQueueContext| {
        (0..64).map(|_| queue.publish(context)).collect::<JoinSet<_>>().join_all().await
    };
    until("all channels are open", async || at_once(&webhook()).await.iter().all(Result::is_ok)).await;
    proxy.set(Direction::Up, Flow::Stall);
    let given_up = at_once(&large).await;
    assert!(given_up.iter().all(|end| matches!(end, Err(EnqueueError::TimedOut { .. }))), "{given_up:?}");
    proxy.pass();
    for _ in 0..5 {
        until("it goes on", async || queue.enqueue(&webhook()).await.is_ok()).await;
    }
    assert_eq!(proxy.connections_total(), 1, "what was given up costs channels, not the connection");
}

/// The numbers of the channels that publish: RabbitMQ's own list of those in confirm mode.
async fn pool(broker: &RabbitMq) -> BTreeSet<u32> {
    let list = broker.ctl(&["list_channels", "number", "confirm", "vhost"]).await;
    let number = |line: &str| line.split_once("\ttrue").and_then(|(number, _)| number.parse().ok());
    list.lines().filter_map(number).collect()
}

/// A worker whose connection is cut at every possible step of giving messages back, or up.
async fn a_retry_is_nowhere_lost(broker: &RabbitMq) {
    const MESSAGES: usize = 40;
    let direct = options(broker, "retries");
    let queue = started(direct.clone()).await;
    let contexts: Vec<_> = (0..MESSAGES).map(|_| webhook()).collect();
    let publishes = contexts.iter().map(|context| queue.publish(context)).collect::<JoinSet<_>>();
    assert!(publishes.join_all().await.iter().all(Result::is_ok));
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let unlucky = worker(&Options { url, ..direct.clone() }).await;
    let (mut given_back, mut round, began) = (0, 0_u64, Instant::now());
    while given_back < 200 || proxy.connections_total() < 25 {
        assert!(began.elapsed() < Duration::from_secs(30), "{given_back} in {}", proxy.connections_total());
        round += 1;
        proxy.cut_after(
            if round % 3 == 0 { Direction::Down } else { Direction::Up },
            3_000 + round * 1_389 % 12_000,
        );
        let Ok(messages) = unlucky.receive(8, LEASE, Duration::from_millis(200)).await else { continue };
        for (n, message) in messages.iter().enumerate() {
            let done = match n {
                7 if round % 16 == 0 => unlucky.dead_letter(message, "unlucky").await,
                0 | 2 | 4 => unlucky.release(message, Duration::ZERO, true).await,
                _ => unlucky.release(message, Duration::from_millis(10), true).await,
            };
            given_back += usize::from(done.is_ok());
        }
    }
    drop(unlucky);
    assert!(
        given_back > 50 && proxy.connections_total() > 20,
        "{given_back} in {}",
        proxy.connections_total()
    );
    let survivor = worker(&direct).await;
    let mut seen = BTreeMap::new();
    while !survivor.backlog().await.unwrap().is_empty() {
        for message in survivor.receive(10, LEASE, Duration::from_millis(500)).await.unwrap() {
            *seen.entry(message.context().unwrap().message_id).or_default() += 1;
            survivor.acknowledge(&message).await.unwrap();
        }
    }
    let dead = Raw::connect(&broker.url()).await.drain("retries.dead").await;
    eprintln!("{given_back} given back or up; {} in the queue, {} dead", seen.len(), dead.len());
    seen.extend(dead);
    let ids: Vec<Uuid> = contexts.iter().map(|context| context.message_id).collect();
    assert_eq!(missing(&ids, &seen), 0);
}

fn missing(confirmed: &[Uuid], there: &BTreeMap<Uuid, usize>) -> usize {
    confirmed.iter().filter(|id| !there.contains_key(id)).count()
}

/// Why each message has a channel of its own: with many on one, lapin reports confirmations of messages that
/// the broker never got, and loses track of which message came back. Not a property to keep, so not run.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
#[ignore = "measures what the library does with one channel for all"]
async fn one_channel_for_all_tells_wrong() {
    const CUTS: u64 = 60;
    let broker = RabbitMq::start().await;
    let raw = Raw::connect(&broker.url()).await;
    raw.declare("shared", &[("x-queue-type", crate::raw::text("quorum"))]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let acks = publish_on_one_channel(&broker.url(), 20_000, 10).await;
    let wrong = acks.iter().filter(|(_, unroutable)| *unroutable).count();
    eprintln!("unroutable: {wrong} of 2000 reported as confirmed");
    raw.drain("shared").await;
    let proxy = Proxy::to(broker.address()).await;
    let (mut total, mut rounds_wrong, mut lost) = (0, 0, 0);
    for round in 0..CUTS {
        proxy.cut_after(Direction::Up, 300_000 + round * 79_190 % 600_000);
        let acks = publish_on_one_channel(&broker.url_at(proxy.port()), usize::MAX, usize::MAX).await;
        let acked: Vec<Uuid> = acks.into_iter().map(|(id, _)| id).collect();
        let wrong = missing(&acked, &raw.drain("shared").await);
        rounds_wrong += usize::from(wrong > 0);
        (total, lost) = (total + acked.len(), lost + wrong);
    }
    eprintln!("cuts: {lost} of {total} confirmed messages missing, in {rounds_wrong} of {CUTS} rounds");
}

/// What 256 tasks on one channel were told is confirmed, and whether it was one of those, every so many, that
/// go nowhere.
async fn publish_on_one_channel(url: &str, messages: usize, unroutable_every: usize) -> Vec<(Uuid, bool)> {
    const TASKS: usize = 256;
    let Ok(connection) = Connection::connect(url, ConnectionProperties::default()).await else {
        return Vec::new();
    };
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let channel = channel.clone();
        tasks.spawn(async move {
            let mut acked = Vec::new();
            for n in (task + 1..messages).step_by(TASKS) {
                let (id, unroutable) = (Uuid::now_v7(), n % unroutable_every == 0);
                let queue = if unroutable { "no-such-queue" } else { "shared" };
                let options = BasicPublishOptions { mandatory: true, immediate: false };
                let properties = BasicProperties::default()
                    .with_delivery_mode(2)
                    .with_message_id(id.to_string().as_str().into());
                let publish = channel.basic_publish("".into(), queue.into(), options, b"{}", properties);
                let Ok(confirm) = publish.await else { break };
                match confirm.await {
                    Ok(Confirmation::Ack(None)) => acked.push((id, unroutable)),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            acked
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}
