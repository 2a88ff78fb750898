//! Servers that are absent, killed, frozen or cut off: what is confirmed is stored, and nothing twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sluiced_nats::{NatsConsumer, NatsQueue, Options};
use sluiced_queue::{ConsumeError, EnqueueError, Health, WebHookQueueHandler, WebHookQueuePublisher};
use sluiced_test_brokers::nats::Options as Server;
use sluiced_test_brokers::{Direction, Flow, Nats, Proxy, until};
use tokio::task::JoinSet;

use crate::support::{jetstream, options, put, ready, stored, until_not_ready, until_ready, webhook};

/// How often each message id is in the stream.
async fn ids(nats: &Nats) -> HashMap<String, usize> {
    let stream = jetstream(nats).await.get_stream("WEBHOOKS").await.unwrap();
    let messages = stream.cached_info().state.messages;
    let all = async_nats::jetstream::consumer::pull::Config { max_ack_pending: -1, ..Default::default() };
    let consumer = stream.create_consumer(all);
    let consumer = consumer.await.unwrap();
    let mut ids = HashMap::new();
    let mut read = 0;
    while read < messages {
        let mut batch = consumer.fetch().max_messages(5000).messages().await.unwrap();
        while let Some(message) = batch.next().await {
            let headers = message.unwrap().headers.clone().unwrap();
            *ids.entry(headers.get("Nats-Msg-Id").unwrap().to_string()).or_default() += 1;
            read += 1;
        }
    }
    assert_eq!(ids.values().sum::<usize>() as u64, messages, "all of them were read");
    ids
}

/// Publishes from many tasks until told to stop; gives the ids of what was confirmed, and how many weren't.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(Vec<String>, usize)>,
}

impl Load {
    fn start(queue: &NatsQueue, tasks: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            let (queue, stop) = (queue.clone(), stop.clone());
            set.spawn(async move {
                let (mut confirmed, mut failed) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let webhook = webhook(confirmed.len());
                    match queue.enqueue(&webhook).await {
                        Ok(_) => confirmed.push(webhook.message_id.to_string()),
                        Err(_) => {
                            failed += 1;
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
                (confirmed, failed)
            });
        }
        Self { stop, tasks: set }
    }

    async fn end(self) -> (HashSet<String>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.tasks.join_all().await;
        let failed = done.iter().map(|(_, failed)| failed).sum();
        (done.into_iter().flat_map(|(confirmed, _)| confirmed).collect(), failed)
    }
}

/// All that was confirmed is there, and nothing twice.
fn assert_kept(confirmed: &HashSet<String>, ids: &HashMap<String, usize>) {
    let lost: Vec<_> = confirmed.iter().filter(|id| !ids.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} of {} confirmed are lost", lost.len(), confirmed.len());
    let twice = ids.values().filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "stored twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_absent_at_start_is_found_when_it_comes() {
    let mut nats = Nats::absent(Server::default());
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_not_ready(&queue, "can't be reached").await;
    let began = Instant::now();
    assert!(matches!(queue.enqueue(&webhook(1)).await, Err(EnqueueError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_millis(100), "a publish that would only wait ends at once");
    nats.restart().await;
    let up = Instant::now();
    until_ready(&queue).await;
    assert!(up.elapsed() < Duration::from_secs(2), "{:?}", up.elapsed());
    put(&queue, &webhook(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_restarted_under_load_loses_and_doubles_nothing() {
    let (mut nats, queue) = ready().await;
    let load = Load::start(&queue, 64);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nats.kill().await;
        until_not_ready(&queue, "").await;
        nats.restart().await;
        until_ready(&queue).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (confirmed, _) = load.end().await;
    assert!(confirmed.len() > 500, "{}", confirmed.len());
    queue.close().await;
    assert_kept(&confirmed, &ids(&nats).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    let nats = Nats::start().await;
    let proxy = Proxy::to(nats.address()).await;
    let queue = NatsQueue::start(options(nats.url_at(proxy.port()))).unwrap();
    until_ready(&queue).await;
    let load = Load::start(&queue, 64);
    for round in 0..30_u64 {
        until_ready(&queue).await;
        let direction = if round % 2 == 0 { Direction::Up } else { Direction::Down };
        proxy.cut_after(direction, 1000 + round * 7919);
        until("it is cut", async || !proxy.cut_pending(direction)).await;
    }
    until_ready(&queue).await;
    let (confirmed, _) = load.end().await;
    assert!(confirmed.len() > 500, "{}", confirmed.len());
    until("lost connections are let go of", async || proxy.connections_open() == 1).await;
    queue.close().await;
    until("the last one too", async || proxy.connections_open() == 0).await;
    assert_kept(&confirmed, &ids(&nats).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_acknowledgement_is_asked_for_again_and_nothing_is_stored_twice() {
    let nats = Nats::start().await;
    let proxy = Proxy::to(nats.address()).await;
    let queue = NatsQueue::start(options(nats.url_at(proxy.port()))).unwrap();
    until_ready(&queue).await;
    // The messages arrive, their acknowledgements don't, and then the connection is gone.
    proxy.set(Direction::Down, Flow::Stall);
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let publishing = queue.publish(&webhook(number));
        tasks.spawn(publishing);
    }
    until("all are stored", async || stored(&nats, "WEBHOOKS").await == 200).await;
    proxy.cut();
    proxy.pass();
    for receipt in tasks.join_all().await {
        assert!(!receipt.unwrap().is_duplicate(), "it is our own copy, not another webhook");
    }
    assert_eq!(stored(&nats, "WEBHOOKS").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_acknowledgement_is_waited_for_and_nothing_is_stored_twice() {
    let nats = Nats::start().await;
    let proxy = Proxy::to(nats.address()).await;
    let patient = Options { ping_interval: Duration::from_secs(5), ..options(nats.url_at(proxy.port())) };
    let queue = NatsQueue::start(patient).unwrap();
    until_ready(&queue).await;
    proxy.set(Direction::Down, Flow::Delay(Duration::from_secs(2)));
    let mut tasks = JoinSet::new();
    for number in 0..50 {
        tasks.spawn(queue.publish(&webhook(number)));
    }
    let began = Instant::now();
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(3), "not the first answer: {:?}", began.elapsed());
    assert_eq!(stored(&nats, "WEBHOOKS").await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_noticed_its_publishes_end_and_come_back_once() {
    let nats = Nats::start().await;
    let impatient = Options { publish_deadline: Duration::from_secs(2), ..options(nats.url()) };
    let queue = NatsQueue::start(impatient).unwrap();
    until_ready(&queue).await;
    nats.freeze();
    let frozen = Instant::now();
    let webhook = webhook(1);
    assert_eq!(queue.enqueue(&webhook).await, Err(EnqueueError::TimedOut { deadline_ms: 2000 }));
    assert!(frozen.elapsed() < Duration::from_millis(2500), "{:?}", frozen.elapsed());
    until_not_ready(&queue, "").await;
    assert!(frozen.elapsed() < Duration::from_secs(4), "{:?}", frozen.elapsed());
    nats.thaw();
    until_ready(&queue).await;
    put(&queue, &webhook).await;
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_silent_server_piles_up_is_bounded() {
    let nats = Nats::start().await;
    let proxy = Proxy::to(nats.address()).await;
    let slow = Options {
        ping_interval: Duration::from_secs(60),
        ack_timeout: Duration::from_secs(60),
        publish_deadline: Duration::from_secs(3),
        ..options(nats.url_at(proxy.port()))
    };
    let queue = NatsQueue::start(slow).unwrap();
    until_ready(&queue).await;
    proxy.stall();
    let mut tasks = JoinSet::new();
    for number in 0..9000 {
        tasks.spawn(queue.publish(&webhook(number)));
    }
    let answers = tasks.join_all().await;
    let refused = answers.iter().filter(|answer| matches!(answer, Err(EnqueueError::Unavailable(_)))).count();
    let late = answers.iter().filter(|answer| matches!(answer, Err(EnqueueError::TimedOut { .. }))).count();
    assert_eq!((refused, late), (9000 - 8192, 8192));

    // In bytes too: 100 of nearly 1 MiB don't fit into 64 MiB.
    let body = vec![b'x'; 700 << 10];
    let big: Vec<_> = (0..100).map(|_| crate::support::with_body(body.clone())).collect();
    let mut tasks = JoinSet::new();
    big.iter().for_each(|webhook| {
        tasks.spawn(queue.publish(webhook));
    });
    let answers = tasks.join_all().await;
    assert!(
        answers.iter().filter(|answer| matches!(answer, Err(EnqueueError::Unavailable(_)))).count() >= 10
    );
    proxy.pass();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_is_dropped_half_way_hurts_no_other() {
    let (nats, queue) = ready().await;
    let kept = Load::start(&queue, 16);
    for number in 0..500 {
        let publishing = queue.publish(&webhook(number));
        let _ = tokio::time::timeout(Duration::from_micros(number as u64), publishing).await;
    }
    let (confirmed, failed) = kept.end().await;
    assert_eq!(failed, 0);
    assert!(!confirmed.is_empty());
    assert_kept(&confirmed, &ids(&nats).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_about_to_stop_is_left_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let config = format!(
        "pid_file: {:?}\nlame_duck_duration: 60s\nlame_duck_grace_period: 30s\n",
        pid_file.to_str().unwrap()
    );
    let first = Nats::with(Server { config, ..Server::default() }).await;
    let mut second = Nats::absent(Server::default());
    let both = Options { url: vec![format!("{},{}", first.url(), second.url())], ..options(first.url()) };
    let queue = NatsQueue::start(both).unwrap();
    until_ready(&queue).await;
    second.restart().await;
    let load = Load::start(&queue, 16);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let signalled = std::process::Command::new("kill").args(["-USR2", pid.trim()]).status().unwrap();
    assert!(signalled.success());
    // The first server lives on for a minute and more; nobody waits for its end.
    until("the other one gets them", async || {
        matches!(jetstream(&second).await.get_stream("WEBHOOKS").await, Ok(stream) if stream.cached_info().state.messages > 100)
    })
    .await;
    let (confirmed, failed) = load.end().await;
    assert_eq!(failed, 0, "publishes go on elsewhere");
    let second = ids(&second).await;
    assert!(confirmed.iter().any(|id| second.contains_key(id)), "of {}", confirmed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_is_one_line_in_the_log() {
    let lines = crate::support::record();
    let mut nats = Nats::start().await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    nats.kill().await;
    until_not_ready(&queue, "can't be reached").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    nats.restart().await;
    until_ready(&queue).await;
    assert_eq!(queue.health(), Health::Ready);
    let lines = lines.lock().unwrap().clone();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("broker lost"), count("broker connected")), (1, 2), "{lines:#?}");
    assert_eq!(count("destination created"), 1);
    assert_eq!(count("fewer than three replicas"), 1, "an R1 stream is warned about, once: {lines:#?}");
}

/// A worker waits for its server by connecting again and again, and says so itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_connect_is_told_and_the_log_is_not() {
    let lines = crate::support::record();
    let nats = Nats::absent(Server::default());
    for _ in 0..3 {
        let refused = NatsConsumer::connect(options(nats.url())).await;
        assert!(matches!(&refused, Err(ConsumeError::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(*lines.lock().unwrap(), [] as [String; 0]);
}
