//! A broker that is well: what is confirmed is there, and what isn't there is no success.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lapin::options::*;
use sluiced_queue::{
    Durable, EnqueueError, Format, Health, WebHookQueueContext, WebHookQueueHandler, WebHookQueuePublisher,
};
use sluiced_rabbitmq::{Destination, Options, RabbitMqQueue, check};
use sluiced_test_brokers::{Direction, Flow, Proxy, RabbitMq, until, until_within};
use tokio::task::JoinSet;

use crate::raw::{Raw, text};
use crate::support::{enqueue_timed, enqueued, not_ready, options, ready, scenario, started, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn publishing() {
    let broker = RabbitMq::with("max_message_size = 1048576\n").await;
    scenario("a new queue is used after a second", a_new_queue_is_used_after_a_second(&broker)).await;
    scenario("persistent, with its id, durable", what_is_confirmed_is_persistent(&broker)).await;
    scenario("every form comes back whole", every_form_comes_back_whole(&broker)).await;
    scenario("exactly the unroutable fail", exactly_the_unroutable_fail(&broker)).await;
    scenario("256 at once", two_hundred_and_fifty_six_at_once(&broker)).await;
    scenario("a full queue says no", a_full_queue_says_no(&broker)).await;
    scenario("a full queue is given more room", a_full_queue_is_given_more_room(&broker)).await;
    scenario("too large for the broker", too_large_for_the_broker(&broker)).await;
    scenario("another queue is used as it is", another_queue_is_used_as_it_is(&broker)).await;
    scenario("a missing queue is not declared", a_missing_queue_is_not_declared(&broker)).await;
    scenario("a deleted queue is declared again", a_deleted_queue_is_declared_again(&broker)).await;
    scenario("an exchange with a routing key", an_exchange_with_a_routing_key(&broker)).await;
    scenario("wrong credentials", wrong_credentials(&broker)).await;
    scenario("dropped publishes hurt nobody", dropped_publishes_hurt_nobody(&broker)).await;
    scenario("close waits for what is in flight", close_waits_for_what_is_in_flight(&broker)).await;
}

async fn a_new_queue_is_used_after_a_second(broker: &RabbitMq) {
    let began = Instant::now();
    let queue = RabbitMqQueue::start(options(broker, "new")).unwrap();
    not_ready(&queue, "created a moment ago").await;
    let refused = queue.enqueue(&webhook()).await;
    assert!(matches!(refused, Err(EnqueueError::Unavailable(_))), "{refused:?}");
    ready(&queue).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    enqueued(&queue, &webhook()).await;
    // One that was there already needs no such second.
    let again = RabbitMqQueue::start(options(broker, "new")).unwrap();
    let began = Instant::now();
    ready(&again).await;
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(queue.depth().await.map(|depth| depth.messages), Some(1));
}

async fn what_is_confirmed_is_persistent(broker: &RabbitMq) {
    let queue = started(options(broker, "persistent")).await;
    let context = webhook();
    let receipt = queue.enqueue(&context).await.unwrap();
    assert_eq!(receipt.durable(), Durable::Broker);
    assert_eq!(queue.destination(), "queue persistent");
    let raw = Raw::connect(&broker.url()).await;
    let delivery = raw.take("persistent").await.unwrap();
    assert_eq!(delivery.properties.delivery_mode(), &Some(2));
    assert_eq!(crate::raw::message_id(&delivery), context.message_id);
    assert_eq!(WebHookQueueContext::decode(&delivery.data).unwrap(), context);
    let queues = broker.ctl(&["list_queues", "name", "type", "durable", "arguments"]).await;
    let line = queues.lines().find(|line| line.starts_with("persistent\t")).unwrap().to_owned();
    for part in ["quorum\ttrue", "reject-publish", "persistent.dead", "at-least-once", "delivery-limit"] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let bindings = broker.ctl(&["list_bindings", "source_name", "destination_name"]).await;
    assert!(bindings.contains("persistent.dead\tpersistent.dead"), "{bindings}");
}

async fn every_form_comes_back_whole(broker: &RabbitMq) {
    let raw = Raw::connect(&broker.url()).await;
    for format in [Format::Context, Format::CloudEvents, Format::Raw] {
        let queue = started(Options { format, ..options(broker, "forms") }).await;
        let mut odd = webhook();
        odd.id = "a/b {c} \u{85} é".into();
        odd.data = sluiced_queue::Data::Text("\u{0}\r\n é".into());
        odd.content_type = Some("text/plain; odd=\"é\u{7f}\"".into());
        let odd_values = vec!["tab\t", "\u{0}\u{1}\r\nx: y", "ÿ\u{2028}", ""];
        odd.request.headers = [("x-odd", odd_values)].into_iter().collect();
        let mut huge = webhook();
        huge.request.headers = [("x-long", vec!["\"".repeat(70_000)])].into_iter().collect();
        for context in [webhook(), odd, huge] {
            enqueued(&queue, &context).await;
            let delivery = raw.take("forms").await.unwrap();
            let headers: Vec<(String, String)> = delivery
                .properties
                .headers()
                .iter()
                .flat_map(|table| table.inner())
                .filter_map(|(name, value)| Some((name.to_string(), value.as_long_string()?.to_string())))
                .collect();
            let back = WebHookQueueContext::decode_message(&delivery.data, &headers).unwrap();
            assert_eq!(back, context, "{format}");
            let event = headers.iter().find(|(name, _)| name == "cloudEvents:type");
            let binary = format == Format::CloudEvents && context.request.headers.is_empty();
            assert!(!binary || event.is_some_and(|(_, value)| value == "github.push"), "{headers:?}");
        }
    }
}

/// With 256 publishes on one channel, hundreds of 2,000 unroutable messages come back as plain confirmations.
async fn exactly_the_unroutable_fail(broker: &RabbitMq) {
    const MESSAGES: usize = 20_000;
    const AT_ONCE: usize = 256;
    let good = started(options(broker, "routable")).await;
    let raw = Raw::connect(&broker.url()).await;
    raw.channel
        .exchange_declare(
            "nowhere".into(),
            lapin::ExchangeKind::Direct,
            Default::default(),
            Default::default(),
        )
        .await
        .unwrap();
    let exchange = Destination { exchange: Some("nowhere".into()), ..Destination::default() };
    let bad = good.to(exchange, "nowhere").unwrap();
    ready(&bad).await;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let (good, bad) = (good.clone(), bad.clone());
        tasks.spawn(async move {
            let mut confirmed = Vec::new();
            for n in (task..MESSAGES).step_by(AT_ONCE) {
                let context = webhook();
                match (
                    n % 10 == 0,
                    if n % 10 == 0 { bad.enqueue(&context).await } else { good.enqueue(&context).await },
                ) {
                    (true, Err(EnqueueError::Unroutable(_))) => {}
                    (false, Ok(_)) => confirmed.push(context.message_id),
                    (unroutable, answer) => panic!("unroutable {unroutable}: {answer:?}"),
                }
            }
            confirmed
        });
    }
    let confirmed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    eprintln!("{MESSAGES} messages in {:?}", began.elapsed());
    assert_eq!(confirmed.len(), MESSAGES / 10 * 9);
    let there = raw.drain("routable").await;
    assert_eq!(there.len(), confirmed.len());
    assert!(confirmed.iter().all(|id| there.get(id) == Some(&1)));
}

async fn two_hundred_and_fifty_six_at_once(broker: &RabbitMq) {
    let queue = started(options(broker, "many")).await;
    let publishes: Vec<_> = (0..256).map(|_| queue.publish(&webhook())).collect();
    let answers = publishes.into_iter().collect::<JoinSet<_>>().join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(Raw::connect(&broker.url()).await.drain("many").await.len(), 256);
}

async fn a_full_queue_says_no(broker: &RabbitMq) {
    let raw = Raw::connect(&broker.url()).await;
    let limit = [
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", 3.into()),
    ];
    raw.declare("full", &limit).await;
    let queue = started(options(broker, "full")).await;
    let mut confirmed = 0;
    let full = loop {
        match queue.enqueue(&webhook()).await {
            Ok(_) if confirmed < 50 => confirmed += 1,
            other => break other,
        }
    };
    assert!(matches!(full, Err(EnqueueError::Full(_))), "{full:?}");
    assert_eq!(raw.drain("full").await.len(), confirmed);
    enqueued(&queue, &webhook()).await;
}

/// RabbitMQ doesn't tell a channel that it has refused.
async fn a_full_queue_is_given_more_room(broker: &RabbitMq) {
    let raw = Raw::connect(&broker.url()).await;
    raw.declare("narrow", &[("x-queue-type", text("quorum")), ("x-overflow", text("reject-publish"))]).await;
    let queue = started(options(broker, "narrow")).await;
    // So many channels are open now, all of which the queue will refuse.
    let publishes: Vec<_> = (0..64).map(|_| queue.publish(&webhook())).collect();
    publishes.into_iter().collect::<JoinSet<_>>().join_all().await;
    let bound = ["set_policy", "--apply-to", "queues", "narrow", "^narrow$", "{\"max-length\":1}"];
    broker.ctl(&bound).await;
    until_within(Duration::from_secs(30), "the queue is full", async || {
        matches!(queue.enqueue(&webhook()).await, Err(EnqueueError::Full(_)))
    })
    .await;
    broker.ctl(&["clear_policy", "narrow"]).await;
    until_within(Duration::from_secs(5), "the queue takes messages again", async || {
        queue.enqueue(&webhook()).await.is_ok()
    })
    .await;
}

async fn too_large_for_the_broker(broker: &RabbitMq) {
    let queue = started(options(broker, "large")).await;
    let mut large = webhook();
    large.data = sluiced_queue::Data::Text("x".repeat(2 * 1024 * 1024));
    let refused = queue.enqueue(&large).await;
    assert!(
        matches!(refused, Err(EnqueueError::TooLarge { bytes, bytes_max: 1_048_576 }) if bytes > 2_000_000),
        "{refused:?}"
    );
    assert_eq!(queue.message_bytes_max(), 1_048_576, "what the broker said is remembered");
    let small = started(Options { message_bytes_max: Some(100), ..options(broker, "large") }).await;
    let refused = small.enqueue(&webhook()).await;
    assert!(matches!(refused, Err(EnqueueError::TooLarge { bytes_max: 100, .. })), "{refused:?}");
    enqueued(&queue, &webhook()).await;
}

async fn another_queue_is_used_as_it_is(broker: &RabbitMq) {
    let raw = Raw::connect(&broker.url()).await;
    raw.declare("classic", &[("x-queue-type", text("classic"))]).await;
    let queue = started(options(broker, "classic")).await;
    enqueued(&queue, &webhook()).await;
    let warnings = check(&options(broker, "classic")).await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("classic") && warnings[0].contains("x-"), "{warnings:?}");
    assert_eq!(check(&options(broker, "persistent")).await, Ok(Vec::new()));
    assert_eq!(check(&options(broker, "not-there-yet")).await, Ok(Vec::new()));
    let queues = broker.ctl(&["list_queues", "name"]).await;
    assert!(!queues.contains("not-there-yet"), "check creates nothing");
}

async fn a_missing_queue_is_not_declared(broker: &RabbitMq) {
    let options = Options { declare: false, ..options(broker, "forbidden") };
    let queue = RabbitMqQueue::start(options.clone()).unwrap();
    not_ready(&queue, "NOT_FOUND").await;
    let refused = queue.enqueue(&webhook()).await;
    assert!(matches!(refused, Err(EnqueueError::Unroutable(_))), "{refused:?}");
    assert!(check(&options).await.unwrap_err().contains("NOT_FOUND"));
    let raw = Raw::connect(&broker.url()).await;
    let began = Instant::now();
    raw.declare("forbidden", &[("x-queue-type", text("quorum"))]).await;
    ready(&queue).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "somebody else's new queue: {:?}", began.elapsed());
    enqueued(&queue, &webhook()).await;
    let queues = broker.ctl(&["list_queues", "name"]).await;
    assert!(!queues.contains("forbidden.dead"), "{queues}");
}

async fn a_deleted_queue_is_declared_again(broker: &RabbitMq) {
    let queue = started(options(broker, "deleted")).await;
    enqueued(&queue, &webhook()).await;
    let raw = Raw::connect(&broker.url()).await;
    raw.channel.queue_delete("deleted".into(), QueueDeleteOptions::default()).await.unwrap();
    let refused = queue.enqueue(&webhook()).await;
    assert!(matches!(refused, Err(EnqueueError::Unroutable(_))), "{refused:?}");
    until("the queue is declared again", async || queue.enqueue(&webhook()).await.is_ok()).await;
    assert_eq!(raw.count("deleted").await, 1);
    // Late answers: many a message is on its way while the queue is being created.
    let proxy = Proxy::to(broker.address()).await;
    let url = vec![broker.url_at(proxy.port())];
    let far = started(Options { url, ..options(broker, "deleted") }).await;
    proxy.set(Direction::Down, Flow::Delay(Duration::from_millis(150)));
    no_receipt_in_a_queues_first_second(&far, &raw).await;
}

/// Many publish all the while that the queue is deleted and declared again, and again it isn't trusted at once.
async fn no_receipt_in_a_queues_first_second(queue: &RabbitMqQueue, raw: &Raw) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = JoinSet::new();
    for _ in 0..32 {
        let (queue, stop) = (queue.clone(), stop.clone());
        publishers.spawn(async move {
            let mut confirmed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                match queue.enqueue(&webhook()).await {
                    Ok(_) => confirmed.push((began, Instant::now())),
                    Err(_) => tokio::time::sleep(Duration::from_micros(200)).await,
                }
            }
            confirmed
        });
    }
    raw.channel.queue_delete("deleted".into(), QueueDeleteOptions::default()).await.unwrap();
    let deleted = Instant::now();
    until("the queue is there", async || raw.exists("deleted").await).await;
    // By this much later than it was created, at most.
    let seen = Instant::now() - Duration::from_millis(100);
    until("the queue is ready", async || queue.health() == Health::Ready).await;
    stop.store(true, Ordering::Relaxed);
    let confirmed: Vec<(Instant, Instant)> = publishers.join_all().await.into_iter().flatten().collect();
    let early =
        confirmed.iter().filter(|(began, ended)| *began > deleted && *ended < seen + Duration::from_secs(1));
    assert_eq!(early.count(), 0, "receipts from a queue's first second");
}

async fn an_exchange_with_a_routing_key(broker: &RabbitMq) {
    let choice = Options {
        exchange: Some("hooks".into()),
        routing_key: Some("in.{receiver}.{id}.{action}".into()),
        ..options(broker, "unused")
    };
    let queue = started(choice).await;
    assert_eq!(queue.destination(), "exchange hooks key in.{receiver}.{id}.{action}");
    let refused = queue.enqueue(&webhook()).await;
    assert!(
        matches!(&refused, Err(EnqueueError::Unroutable(why)) if why.contains("in.github.acme.push")),
        "{refused:?}"
    );
    let raw = Raw::connect(&broker.url()).await;
    raw.declare("bound", &[("x-queue-type", text("quorum"))]).await;
    let binding = raw.channel.queue_bind(
        "bound".into(),
        "hooks".into(),
        "in.github.#".into(),
        QueueBindOptions::default(),
        Default::default(),
    );
    binding.await.unwrap();
    ready(&queue).await;
    enqueued(&queue, &webhook()).await;
    assert_eq!(raw.take("bound").await.unwrap().routing_key.as_str(), "in.github.acme.push");
    // Whoever else is bound gets it too, and a variable without a value keeps the words in their places.
    let mut bare = webhook();
    (bare.id, bare.actions) = (String::new(), Vec::new());
    enqueued(&queue, &bare).await;
    assert_eq!(raw.take("bound").await.unwrap().routing_key.as_str(), "in.github._._");
}

async fn wrong_credentials(broker: &RabbitMq) {
    for (wrong, word) in [
        (broker.url().replace("guest:guest", "guest:made-up"), "ACCESS_REFUSED"),
        (broker.url().replace("%2f", "no-such-host"), "NOT_ALLOWED"),
    ] {
        let options = Options { url: vec![wrong], ..options(broker, "credentials") };
        let queue = RabbitMqQueue::start(options.clone()).unwrap();
        not_ready(&queue, word).await;
        let refused = queue.enqueue(&webhook()).await;
        assert!(matches!(&refused, Err(EnqueueError::Misconfigured(_))), "{refused:?}");
        assert!(!format!("{refused:?}").contains("made-up"));
        assert!(check(&options).await.unwrap_err().contains(word));
    }
    broker.ctl(&["add_user", "reader", "made-up"]).await;
    broker.ctl(&["set_permissions", "reader", "^$", "^$", ".*"]).await;
    let url = broker.url().replace("guest:guest", "reader:made-up");
    let queue = RabbitMqQueue::start(Options { url: vec![url], ..options(broker, "persistent") }).unwrap();
    until("the missing permission is seen", async || {
        matches!(queue.enqueue(&webhook()).await, Err(EnqueueError::Misconfigured(_)))
    })
    .await;
    assert_ne!(queue.health(), Health::Ready);
    // Nothing more is needed than to write, once everything is there.
    broker.ctl(&["set_permissions", "reader", "^$", ".*", "^$"]).await;
    let url = broker.url().replace("guest:guest", "reader:made-up");
    let writer = started(Options { url: vec![url], ..options(broker, "persistent") }).await;
    enqueued(&writer, &webhook()).await;
}

/// The answer to a publish that nobody waits for must not be taken for another's. A returned message comes back
/// sooner than a queue confirms: on one channel the first, given up, would be handed the second one's return, and
/// the second would pass for stored.
async fn dropped_publishes_hurt_nobody(broker: &RabbitMq) {
    let queue = started(Options { channels: 2, ..options(broker, "dropped") }).await;
    let nowhere = Destination { exchange: Some("nowhere".into()), ..Destination::default() };
    let unroutable = queue.to(nowhere, "nowhere").unwrap();
    ready(&unroutable).await;
    let mut confirmed = Vec::new();
    for round in 0..400_u64 {
        let patience = Duration::from_micros(round * 4);
        for _ in 0..2 {
            let _ = tokio::time::timeout(patience, queue.publish(&webhook())).await;
        }
        let refused = unroutable.enqueue(&webhook()).await;
        assert!(matches!(refused, Err(EnqueueError::Unroutable(_))), "{refused:?}");
        let impatient = tokio::time::timeout(patience, unroutable.publish(&webhook())).await;
        assert!(!matches!(impatient, Ok(Ok(_))), "an unroutable message was confirmed");
        let context = webhook();
        enqueued(&queue, &context).await;
        confirmed.push(context.message_id);
    }
    let there = Raw::connect(&broker.url()).await.drain("dropped").await;
    assert!(confirmed.iter().all(|id| there.contains_key(id)));
}

async fn close_waits_for_what_is_in_flight(broker: &RabbitMq) {
    let queue = started(options(broker, "closing")).await;
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let queue = queue.clone();
        tasks.spawn(async move { enqueue_timed(&queue).await.0 });
    }
    until("they are on their way", async || queue.depth().await.is_some_and(|depth| depth.messages > 0))
        .await;
    queue.close().await;
    let confirmed = tasks.join_all().await.into_iter().filter(Result::is_ok).count();
    let there = Raw::connect(&broker.url()).await.drain("closing").await.len();
    assert!(there <= confirmed && confirmed > 0, "{there} there, {confirmed} confirmed");
    assert_ne!(queue.health(), Health::Ready);
}
