//! Workers: leases, retries, and what becomes of the messages of those that die.

use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use sluiced_queue::{
    Backlog, ConsumeError, Format, LeasedMessage, WebHookQueueConsumer, WebHookQueueHandler,
    WebHookQueuePublisher,
};
use sluiced_rabbitmq::{Options, RabbitMqConsumer};
use sluiced_test_brokers::{Proxy, RabbitMq, until};
use tokio::task::JoinSet;

use crate::raw::{Raw, text};
use crate::support::{LEASE, enqueued, options, received, received_one, scenario, started, webhook, worker};

#[tokio::test(flavor = "multi_thread")]
async fn working() {
    let broker = RabbitMq::start().await;
    scenario("every form is read", every_form_is_read(&broker)).await;
    scenario("no more than asked for", no_more_than_asked_for(&broker)).await;
    scenario("a waiting worker gets it at once", a_waiting_worker_gets_it_at_once(&broker)).await;
    scenario("only failures count as attempts", only_failures_count_as_attempts(&broker)).await;
    scenario("a delay is kept", a_delay_is_kept(&broker)).await;
    scenario("a new delay queue settles", a_new_delay_queue_is_not_trusted_at_once(&broker)).await;
    scenario("headers fill a frame", headers_that_fill_a_frame_cost_nobody_else(&broker)).await;
    scenario("a killed worker's messages come back", a_killed_workers_messages_come_back(&broker)).await;
    scenario("a lease ends with its connection", a_lease_ends_with_its_connection(&broker)).await;
    scenario("a call given up takes nothing", a_call_given_up_takes_nothing(&broker)).await;
    scenario("the backlog is never empty too soon", the_backlog_is_never_empty_too_soon(&broker)).await;
    scenario("questions don't wear a worker out", questions_do_not_wear_a_worker_out(&broker)).await;
    scenario("a full queue takes back", a_full_queue_takes_back(&broker)).await;
    scenario("an absent queue is waited for", an_absent_queue_is_waited_for(&broker)).await;
    scenario("two hundred workers' pace", pace(&broker)).await;
}

async fn every_form_is_read(broker: &RabbitMq) {
    let options = options(broker, "forms");
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let queue = started(Options { format, ..options.clone() }).await;
        let context = webhook();
        enqueued(&queue, &context).await;
        let worker = worker(&options).await;
        let message = received_one(&worker).await;
        assert_eq!(message.context().unwrap(), context, "{format}");
        worker.acknowledge(&message).await.unwrap();
        // Also after a retry, with our own headers in between.
        enqueued(&queue, &context).await;
        let message = received_one(&worker).await;
        worker.release(&message, Duration::from_millis(1), true).await.unwrap();
        let again = received_one(&worker).await;
        assert_eq!((again.context().unwrap(), again.attempt), (context, 2), "{format}");
        assert_eq!(again.headers, message.headers);
        worker.acknowledge(&again).await.unwrap();
        assert_eq!(worker.backlog().await.unwrap(), Backlog::default());
    }
}

async fn no_more_than_asked_for(broker: &RabbitMq) {
    let options = options(broker, "some");
    let queue = started(options.clone()).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        let context = webhook();
        enqueued(&queue, &context).await;
        ids.push(context.message_id);
    }
    let (first, second) = (worker(&options).await, worker(&options).await);
    let seven = received(&first, 7).await;
    let got: Vec<_> = seven.iter().map(|message| message.context().unwrap().message_id).collect();
    assert_eq!(got, ids[..7], "oldest first");
    // What is acknowledged makes no room for what wasn't asked for.
    for message in &seven {
        first.acknowledge(message).await.unwrap();
    }
    let mut rest = Vec::new();
    // A call takes fewer than it may where a channel bears no more.
    while rest.len() < 43 {
        let more = received(&second, 100).await;
        assert!(!more.is_empty(), "after {}", rest.len());
        rest.extend(more);
    }
    assert_eq!(rest.len(), 43);
    assert_eq!(second.receive(5, LEASE, Duration::ZERO).await.unwrap(), Vec::new());
    let backlog = first.backlog().await.unwrap();
    assert!(backlog.leased > 0 && backlog.visible == 0, "{backlog:?}");
    for message in &rest {
        second.extend(message, LEASE).await.unwrap();
        second.acknowledge(message).await.unwrap();
        assert_eq!(second.acknowledge(message).await, Err(ConsumeError::LeaseLost), "only once");
    }
    assert!(first.backlog().await.unwrap().is_empty());
    // Not to wait takes what is there.
    enqueued(&queue, &webhook()).await;
    let there = first.receive(5, LEASE, Duration::ZERO).await.unwrap();
    assert_eq!(there.len(), 1);
    first.acknowledge(&there[0]).await.unwrap();
}

async fn a_waiting_worker_gets_it_at_once(broker: &RabbitMq) {
    let options = options(broker, "pushed");
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    let began = Instant::now();
    let nothing = worker.receive(1, LEASE, Duration::from_millis(300)).await.unwrap();
    assert!(nothing.is_empty() && began.elapsed() >= Duration::from_millis(300));
    let waiting = worker.clone();
    let mut task = JoinSet::new();
    task.spawn(async move { (received_one(&waiting).await, Instant::now()) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    enqueued(&queue, &webhook()).await;
    let (message, at) = task.join_next().await.unwrap().unwrap();
    assert!(at - began < Duration::from_millis(500), "{:?}", at - began);
    worker.acknowledge(&message).await.unwrap();
}

async fn only_failures_count_as_attempts(broker: &RabbitMq) {
    let options = options(broker, "attempts");
    let queue = started(options.clone()).await;
    enqueued(&queue, &webhook()).await;
    let worker = worker(&options).await;
    let mut attempts = Vec::new();
    for (delay_ms, failed) in [(0, false), (0, true), (5, false), (5, true), (0, false)] {
        let message = received_one(&worker).await;
        attempts.push(message.attempt);
        worker.release(&message, Duration::from_millis(delay_ms), failed).await.unwrap();
        assert_eq!(worker.acknowledge(&message).await, Err(ConsumeError::LeaseLost));
    }
    let message = received_one(&worker).await;
    attempts.push(message.attempt);
    assert_eq!(attempts, [1, 1, 2, 2, 3, 3]);
    worker.acknowledge(&message).await.unwrap();
    assert!(worker.backlog().await.unwrap().is_empty());
}

async fn a_delay_is_kept(broker: &RabbitMq) {
    let options = options(broker, "delays");
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    for _ in 0..2 {
        enqueued(&queue, &webhook()).await;
    }
    let messages = received(&worker, 2).await;
    assert_eq!(messages.len(), 2);
    // The first in a span of its own, which is created: that takes a second.
    worker.release(&messages[0], Duration::from_secs(3), true).await.unwrap();
    let began = Instant::now();
    worker.release(&messages[1], Duration::from_millis(700), true).await.unwrap();
    let backlog = worker.backlog().await.unwrap();
    assert_eq!(backlog, Backlog { visible: 0, leased: 0, delayed: 2 });
    let again = received_one(&worker).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_millis(3_000), "{took:?}");
    worker.acknowledge(&again).await.unwrap();
    assert!(!worker.backlog().await.unwrap().is_empty());
    let late = received_one(&worker).await;
    assert!(began.elapsed() >= Duration::from_millis(2_000), "{:?}", began.elapsed());
    assert_ne!(late.context(), again.context());
    worker.acknowledge(&late).await.unwrap();
    assert!(worker.backlog().await.unwrap().is_empty());
}

/// Two at once need one delay queue: it is no less young for the one that didn't create it.
async fn a_new_delay_queue_is_not_trusted_at_once(broker: &RabbitMq) {
    let options = options(broker, "new-delay");
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    for _ in 0..6 {
        enqueued(&queue, &webhook()).await;
    }
    let messages = received(&worker, 6).await;
    let mut releases = JoinSet::new();
    for message in messages {
        let worker = worker.clone();
        releases.spawn(async move {
            let began = Instant::now();
            worker.release(&message, Duration::from_secs(10), true).await.unwrap();
            began.elapsed()
        });
    }
    let took = releases.join_all().await;
    assert!(took.iter().all(|took| *took >= Duration::from_secs(1)), "{took:?}");
    assert_eq!(worker.backlog().await.unwrap(), Backlog { visible: 0, leased: 0, delayed: 6 });
}

/// Somebody else's message, whose headers leave no room in a frame for ours: it can't be given up, but costs the
/// other leases nothing. Too long a header frame would end the connection.
async fn headers_that_fill_a_frame_cost_nobody_else(broker: &RabbitMq) {
    let options = options(broker, "crowded");
    let queue = started(options.clone()).await;
    enqueued(&queue, &webhook()).await;
    let raw = Raw::connect(&broker.url()).await;
    let headers = crate::raw::table(&[("theirs", text(&"x".repeat(130_500)))]);
    let properties = lapin::BasicProperties::default().with_headers(headers);
    let publish = BasicPublishOptions::default();
    raw.channel.basic_publish("".into(), "crowded".into(), publish, b"{}", properties).await.unwrap();
    until("both are there", async || raw.count("crowded").await == 2).await;
    let worker = worker(&options).await;
    let messages = received(&worker, 2).await;
    assert_eq!(messages.len(), 2);
    let refused = worker.dead_letter(&messages[1], &"why ".repeat(500)).await;
    assert!(matches!(&refused, Err(ConsumeError::Unavailable(why)) if why.contains("frames")), "{refused:?}");
    worker.acknowledge(&messages[0]).await.unwrap();
    worker.dead_letter(&messages[1], "short").await.unwrap();
    assert!(worker.backlog().await.unwrap().is_empty());
}

async fn a_killed_workers_messages_come_back(broker: &RabbitMq) {
    let options = options(broker, "killed");
    let queue = started(options.clone()).await;
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let doomed = worker(&Options { url, ..options.clone() }).await;
    for _ in 0..5 {
        enqueued(&queue, &webhook()).await;
    }
    assert_eq!(received(&doomed, 5).await.len(), 5);
    let survivor = worker(&options).await;
    let backlog = survivor.backlog().await.unwrap();
    assert!(backlog.leased >= 1 && backlog.visible == 0, "others' leases are seen: {backlog:?}");
    proxy.refuse();
    let mut back = Vec::new();
    until("all have come back", async || {
        back.extend(received(&survivor, 5).await);
        back.len() == 5
    })
    .await;
    assert!(back.iter().all(|message| message.attempt == 2), "{:?}", attempts(&back));
    for message in &back {
        survivor.acknowledge(message).await.unwrap();
    }
}

fn attempts(messages: &[LeasedMessage]) -> Vec<u32> {
    messages.iter().map(|message| message.attempt).collect()
}

async fn a_lease_ends_with_its_connection(broker: &RabbitMq) {
    let options = options(broker, "leases");
    let queue = started(options.clone()).await;
    enqueued(&queue, &webhook()).await;
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let worker = worker(&Options { url, ..options.clone() }).await;
    let message = received_one(&worker).await;
    worker.extend(&message, LEASE).await.unwrap();
    proxy.refuse();
    until("the loss is noticed", async || worker.extend(&message, LEASE).await.is_err()).await;
    assert_eq!(worker.extend(&message, LEASE).await, Err(ConsumeError::LeaseLost));
    assert_eq!(worker.acknowledge(&message).await, Err(ConsumeError::LeaseLost));
    assert_eq!(worker.release(&message, Duration::ZERO, true).await, Err(ConsumeError::LeaseLost));
    assert_eq!(worker.dead_letter(&message, "x").await, Err(ConsumeError::LeaseLost));
    let away = worker.receive(1, LEASE, Duration::ZERO).await;
    assert!(matches!(away, Err(ConsumeError::Unavailable(_))), "{away:?}");
    assert!(
        matches!(worker.backlog().await, Err(ConsumeError::Unavailable(_))),
        "never empty when unreachable"
    );
    proxy.pass();
    let again = received_one(&worker).await;
    assert_eq!(again.context(), message.context());
    worker.acknowledge(&again).await.unwrap();
}

async fn a_call_given_up_takes_nothing(broker: &RabbitMq) {
    let options = options(broker, "given-up");
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    let mut published = 0;
    for round in 0..40_u64 {
        let mut calls = JoinSet::new();
        for _ in 0..2 {
            let worker = worker.clone();
            calls.spawn(async move {
                let call = worker.receive(3, LEASE, Duration::from_secs(5));
                let Ok(messages) = tokio::time::timeout(Duration::from_micros(round * 300), call).await
                else {
                    return;
                };
                for message in messages.unwrap() {
                    worker.release(&message, Duration::ZERO, false).await.unwrap();
                }
            });
        }
        enqueued(&queue, &webhook()).await;
        published += 1;
        calls.join_all().await;
    }
    let raw = Raw::connect(&broker.url()).await;
    until("all are back", async || raw.count("given-up").await == published).await;
}

async fn the_backlog_is_never_empty_too_soon(broker: &RabbitMq) {
    let options = options(broker, "backlog");
    let queue = started(options.clone()).await;
    let (busy, idle) = (worker(&options).await, worker(&options).await);
    enqueued(&queue, &webhook()).await;
    assert_eq!(idle.backlog().await.unwrap(), Backlog { visible: 1, leased: 0, delayed: 0 });
    let mut rounds = 0;
    let began = Instant::now();
    let hands = busy.clone();
    let mut work = JoinSet::new();
    work.spawn(async move {
        for _ in 0..8 {
            let message = received_one(&hands).await;
            hands.release(&message, Duration::from_millis(200), true).await.unwrap();
        }
    });
    while work.try_join_next().is_none() {
        let backlog = idle.backlog().await.unwrap();
        assert!(!backlog.is_empty(), "after {:?}", began.elapsed());
        rounds += 1;
    }
    assert!(rounds > 3, "{rounds}");
    let message = received_one(&busy).await;
    // Somebody who only waits holds nothing.
    let waiting = idle.clone();
    let mut task = JoinSet::new();
    task.spawn(async move { waiting.receive(1, LEASE, Duration::from_secs(2)).await });
    busy.acknowledge(&message).await.unwrap();
    assert!(busy.backlog().await.unwrap().is_empty());
    task.join_all().await;
}

/// Each question about a queue that isn't there costs a channel, whose number lapin can't use again: after all
/// of them, here 80, every new channel would fail with an old error, and a missing queue's be taken for another's.
async fn questions_do_not_wear_a_worker_out(broker: &RabbitMq) {
    let url = vec![format!("{}?channel_max=80", broker.url())];
    let options = Options { url, ..options(broker, "asked") };
    let queue = started(options.clone()).await;
    enqueued(&queue, &webhook()).await;
    let worker = worker(&options).await;
    let message = received_one(&worker).await;
    enqueued(&queue, &webhook()).await;
    for n in 0..30 {
        let backlog = worker.backlog().await.unwrap_or_else(|error| panic!("after {n} questions: {error}"));
        assert_eq!(backlog, Backlog { visible: 1, leased: 1, delayed: 0 }, "after {n}");
    }
    worker.acknowledge(&message).await.unwrap();
    let next = received_one(&worker).await;
    worker.acknowledge(&next).await.unwrap();
    assert!(worker.backlog().await.unwrap().is_empty());
}

async fn a_full_queue_takes_back(broker: &RabbitMq) {
    let raw = Raw::connect(&broker.url()).await;
    let limit = [
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", 2.into()),
    ];
    raw.declare("narrow", &limit).await;
    let options = options(broker, "narrow");
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    enqueued(&queue, &webhook()).await;
    let message = received_one(&worker).await;
    while queue.publish(&webhook()).await.is_ok() {}
    worker.release(&message, Duration::ZERO, true).await.unwrap();
    let mut ids = Vec::new();
    loop {
        let some = worker.receive(1, LEASE, Duration::from_millis(300)).await.unwrap();
        let Some(next) = some.first() else { break };
        ids.push(next.context().unwrap().message_id);
        worker.acknowledge(next).await.unwrap();
    }
    assert!(ids.contains(&message.context().unwrap().message_id), "{ids:?}");
}

async fn an_absent_queue_is_waited_for(broker: &RabbitMq) {
    let options = options(broker, "absent");
    let absent = RabbitMqConsumer::connect(options.clone()).await.err();
    assert!(
        matches!(&absent, Some(ConsumeError::Unavailable(why)) if why.contains("NOT_FOUND")),
        "{absent:?}"
    );
    let wrong =
        Options { url: vec![broker.url().replace("guest:guest", "guest:made-up")], ..options.clone() };
    let refused = RabbitMqConsumer::connect(wrong).await.err();
    assert!(
        matches!(&refused, Some(ConsumeError::Failed(why)) if why.contains("ACCESS_REFUSED")),
        "{refused:?}"
    );
    let queue = started(options.clone()).await;
    let worker = worker(&options).await;
    // Deleted while somebody waits for its messages.
    let waiting = worker.clone();
    let mut task = JoinSet::new();
    task.spawn(async move { waiting.receive(1, LEASE, Duration::from_secs(20)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let raw = Raw::connect(&broker.url()).await;
    raw.channel.queue_delete("absent".into(), QueueDeleteOptions::default()).await.unwrap();
    let gone = task.join_next().await.unwrap().unwrap();
    assert!(matches!(&gone, Err(ConsumeError::Unavailable(why)) if why.contains("deleted")), "{gone:?}");
    assert!(matches!(worker.backlog().await, Err(ConsumeError::Unavailable(_))));
    until("the publisher has declared it again", async || queue.enqueue(&webhook()).await.is_ok()).await;
    let message = received_one(&worker).await;
    worker.acknowledge(&message).await.unwrap();
}

/// Not a benchmark: a guard against a pace that would be of no use.
async fn pace(broker: &RabbitMq) {
    const MESSAGES: usize = 400;
    let options = options(broker, "pace");
    let queue = started(options.clone()).await;
    let publishes = (0..MESSAGES).map(|_| queue.publish(&webhook())).collect::<JoinSet<_>>();
    assert!(publishes.join_all().await.iter().all(Result::is_ok));
    let worker = worker(&options).await;
    let began = Instant::now();
    let mut done = 0;
    while done < MESSAGES / 2 {
        for message in received(&worker, 1).await {
            worker.acknowledge(&message).await.unwrap();
            done += 1;
        }
    }
    let by_one = began.elapsed();
    let began = Instant::now();
    while done < MESSAGES {
        for message in received(&worker, 16).await {
            worker.acknowledge(&message).await.unwrap();
            done += 1;
        }
    }
    eprintln!("{} messages one by one in {by_one:?}, by sixteen in {:?}", MESSAGES / 2, began.elapsed());
    assert!(by_one < Duration::from_secs(15));
}
