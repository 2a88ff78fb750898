//! A broker that is absent, killed, frozen or blocked: no receipt meanwhile, an answer in time, and everything
//! as before when it is back.

use std::time::{Duration, Instant};

use sluiced_queue::{EnqueueError, Health, WebHookQueueHandler, WebHookQueuePublisher};
use sluiced_rabbitmq::{Options, RabbitMqQueue, check};
use sluiced_test_brokers::{Port, Proxy, RabbitMq, until};
use tokio::task::JoinSet;

use crate::raw::Raw;
use crate::support::{enqueue_timed, enqueued, not_ready, options, ready, scenario, started, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn outages() {
    let mut broker = RabbitMq::absent("");
    let absent = Port::take();
    let mut choice = options(&broker, "outages");
    // Of a cluster's nodes the first is never there.
    choice.url.insert(0, broker.url_at(absent.number()));
    choice.heartbeat = Duration::from_secs(1);
    let queue = RabbitMqQueue::start(choice).unwrap();
    scenario("absent at the start", absent_at_the_start(&mut broker, &queue)).await;
    scenario("killed and restarted", killed_and_restarted(&mut broker, &queue)).await;
    scenario("frozen", frozen(&broker, &queue)).await;
    scenario("frozen before it is connected to", frozen_before_connecting(&broker)).await;
    scenario("blocked by its memory alarm", blocked(&broker, &queue)).await;
}

async fn absent_at_the_start(broker: &mut RabbitMq, queue: &RabbitMqQueue) {
    not_ready(queue, "refused").await;
    let (answer, took) = enqueue_timed(queue).await;
    assert!(matches!(answer, Err(EnqueueError::Unavailable(_))), "{answer:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(check(&options(broker, "outages")).await.unwrap_err().contains("can't be reached"));
    broker.restart().await;
    ready(queue).await;
    enqueued(queue, &webhook()).await;
}

async fn killed_and_restarted(broker: &mut RabbitMq, queue: &RabbitMqQueue) {
    let mut confirmed = Vec::new();
    let mut publishers = JoinSet::new();
    for _ in 0..32 {
        let queue = queue.clone();
        publishers.spawn(async move {
            let mut confirmed = Vec::new();
            loop {
                let context = webhook();
                match queue.enqueue(&context).await {
                    Ok(_) => confirmed.push(context.message_id),
                    Err(_) => return confirmed,
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    broker.kill().await;
    let began = Instant::now();
    while let Some(ids) = publishers.join_next().await {
        confirmed.extend(ids.unwrap());
    }
    assert!(began.elapsed() < Duration::from_secs(2), "pending publishes hung: {:?}", began.elapsed());
    until("the loss is known", async || queue.health() != Health::Ready).await;
    broker.restart().await;
    ready(queue).await;
    enqueued(queue, &webhook()).await;
    let there = Raw::connect(&broker.url()).await.drain("outages").await;
    eprintln!("killed: {} confirmed, {} there", confirmed.len(), there.len());
    assert!(!confirmed.is_empty() && confirmed.iter().all(|id| there.contains_key(id)));
}

/// A heartbeat of one second notices within three.
async fn frozen(broker: &RabbitMq, queue: &RabbitMqQueue) {
    broker.freeze();
    let began = Instant::now();
    let pending = queue.publish(&webhook()).await;
    assert!(pending.is_err(), "{pending:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    until("the loss is known", async || queue.health() != Health::Ready).await;
    broker.thaw();
    ready(queue).await;
    enqueued(queue, &webhook()).await;
}

/// The kernel accepts for a frozen broker. Each attempt ends in time, and leaves neither thread nor socket behind.
async fn frozen_before_connecting(broker: &RabbitMq) {
    let proxy = Proxy::to(broker.address()).await;
    proxy.stall();
    let url = vec![broker.url_at(proxy.port())];
    let queue = RabbitMqQueue::start(Options { url, ..options(broker, "outages") }).unwrap();
    not_ready(&queue, "no connection within").await;
    until("the first attempt's socket is closed", async || {
        proxy.connections_total() >= 2 && io_threads() <= LINKS
    })
    .await;
    proxy.pass();
    ready(&queue).await;
}

/// The test's other connection, this one's, and that of an attempt under way.
const LINKS: usize = 3;

fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "lapin-io-loop").count()
}

async fn blocked(broker: &RabbitMq, queue: &RabbitMqQueue) {
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let publish_deadline = Duration::from_millis(300);
    let impatient = started(Options { url, publish_deadline, ..options(broker, "impatient") }).await;
    // Channels are open before the alarm.
    until("all at once are confirmed", async || {
        let publishes = (0..64).map(|_| impatient.publish(&webhook())).collect::<JoinSet<_>>();
        publishes.join_all().await.iter().all(Result::is_ok)
    })
    .await;
    broker.memory_alarm(true).await;
    // The broker tells a connection that it is blocked when that publishes.
    let mut pending = JoinSet::new();
    pending.spawn(queue.publish(&webhook()));
    not_ready(queue, "blocked").await;
    let (answer, took) = enqueue_timed(queue).await;
    assert!(matches!(&answer, Err(EnqueueError::Unavailable(why)) if why.contains("blocked")), "{answer:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    // More than the connection takes while it is blocked: what is given up then has not even been written, and
    // a channel that is closed before that costs the connection.
    let mut large = webhook();
    large.data = sluiced_queue::Data::Text("x".repeat(400_000));
    let publishes = (0..64).map(|_| impatient.publish(&large)).collect::<JoinSet<_>>();
    let given_up = publishes.join_all().await;
    assert!(given_up.iter().all(Result::is_err), "{given_up:?}");
    assert!(given_up.iter().any(|end| matches!(end, Err(EnqueueError::TimedOut { .. }))), "{given_up:?}");
    broker.memory_alarm(false).await;
    ready(queue).await;
    enqueued(queue, &webhook()).await;
    let _ = pending.join_all().await;
    for _ in 0..5 {
        until("it goes on", async || impatient.enqueue(&webhook()).await.is_ok()).await;
    }
    assert_eq!(proxy.connections_total(), 1, "what was given up costs channels, not the connection");
}
