//! What would be acknowledged and not kept isn't published, and isn't taken for stored.

use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use sluiced_nats::{Destination, NatsConsumer, NatsDeadLetters, NatsQueue, Options, check};
use sluiced_queue::{
    ConsumeError, DeadLetterError, DeadLetterStore, EnqueueError, LeasedMessage, WebHookQueueConsumer,
    WebHookQueueHandler,
};
use sluiced_test_brokers::Nats;
use sluiced_test_brokers::nats::Options as Server;

use crate::support::{jetstream, options, put, ready, stored, until_not_ready, until_ready, webhook};

const LEASE: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(5);

async fn stream(nats: &Nats, config: Config) {
    jetstream(nats).await.create_stream(config).await.unwrap();
}

fn named(name: &str, subject: &str) -> Config {
    Config { name: name.into(), subjects: vec![subject.into()], ..Config::default() }
}

async fn take(consumer: &NatsConsumer) -> LeasedMessage {
    consumer.receive(1, LEASE, WAIT).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interest_stream_whose_consumers_want_other_subjects_gets_nothing() {
    let nats = Nats::start().await;
    stream(&nats, Config { retention: RetentionPolicy::Interest, ..named("WEBHOOKS", "webhooks.>") }).await;
    let of = async |name: &str, filter_subject: &str| {
        let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
        let (durable_name, filter_subject) = (Some(name.to_owned()), filter_subject.to_owned());
        let config = pull::Config { durable_name, filter_subject, ..pull::Config::default() };
        stream.create_consumer(config).await.unwrap();
    };
    of("stripe", "webhooks.stripe.>").await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_not_ready(&queue, "no consumer of webhooks.>").await;
    let refused = queue.enqueue(&webhook(1)).await;
    assert!(matches!(refused, Err(EnqueueError::Unroutable(_))), "{refused:?}");
    assert!(check(&options(nats.url())).await.unwrap_err().contains("interest"));
    of("all", "").await;
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_nobody_has_looked_at_yet_is_looked_at_first() {
    let (nats, queue) = ready().await;
    stream(&nats, Config { retention: RetentionPolicy::Interest, ..named("EVENTS", "events.>") }).await;
    for number in 0..20 {
        let subject = Some("events.{receiver}".into());
        let destination = Destination { stream: Some("EVENTS".into()), subject, ..Destination::default() };
        let events = queue.to(destination, "events").unwrap();
        let refused = events.enqueue(&webhook(number)).await;
        assert!(
            matches!(&refused, Err(EnqueueError::Unroutable(why)) if why.contains("interest")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_acknowledges_nothing_isnt_filled_with_copies() {
    let nats = Nats::start().await;
    stream(&nats, Config { no_ack: true, ..named("WEBHOOKS", "webhooks.>") }).await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_not_ready(&queue, "no_ack").await;
    let refused = queue.enqueue(&webhook(1)).await;
    assert!(matches!(refused, Err(EnqueueError::Unroutable(_))), "{refused:?}");
    assert_eq!(stored(&nats, "WEBHOOKS").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_request_doesnt_hide_what_the_others_tell() {
    let users = r#"authorization { users: [
        { user: admin, password: admin },
        { user: reader, password: in,
          permissions: { publish: ["webhooks.>", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.LIST.*"], subscribe: "_INBOX.>" } }
    ] }
    "#;
    let nats = Nats::with(Server { config: users.into(), ..Server::default() }).await;
    let login = |user: &str, password: &str| Options {
        user: Some(user.into()),
        password: Some(password.into()),
        ..options(nats.url())
    };
    let queue = NatsQueue::start(login("reader", "in")).unwrap();
    until_not_ready(&queue, "STREAM.CREATE").await;
    // It is looked at again each second.
    for _ in 0..25 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_ne!(queue.health(), sluiced_queue::Health::Ready, "there is no stream");
    }
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".into(), "admin".into());
    let admin = async_nats::jetstream::new(admin.connect(nats.url()).await.unwrap());
    let config = Config { retention: RetentionPolicy::Interest, ..named("WEBHOOKS", "webhooks.>") };
    admin.create_stream(config).await.unwrap();
    until_not_ready(&queue, "no consumer of webhooks.>").await;
    assert!(matches!(queue.enqueue(&webhook(1)).await, Err(EnqueueError::Unroutable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_wouldnt_keep_dead_letters_gets_none() {
    let interest =
        Config { retention: RetentionPolicy::Interest, ..named("WEBHOOKS_DEAD", "webhooks-dead.>") };
    for (config, because) in [
        (interest, "interest"),
        (Config { no_ack: true, ..named("WEBHOOKS_DEAD", "webhooks-dead.>") }, "no_ack"),
        (named("WEBHOOKS_DEAD", "other-dead.>"), "takes other-dead.>"),
    ] {
        let (nats, queue) = ready().await;
        put(&queue, &webhook(1)).await;
        stream(&nats, config).await;
        let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
        let message = take(&consumer).await;
        let refused = consumer.dead_letter(&message, "no").await;
        assert!(
            matches!(&refused, Err(ConsumeError::Unavailable(why)) if why.contains(because)),
            "{because}: {refused:?}"
        );
        assert_eq!(stored(&nats, "WEBHOOKS").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_dead_letter_and_acknowledgement_leaves_one_dead_letter() {
    let nats = Nats::start().await;
    // What is acknowledged stays in it, and comes again with a new consumer.
    stream(&nats, named("WEBHOOKS", "webhooks.>")).await;
    let queue = NatsQueue::start(options(nats.url())).unwrap();
    until_ready(&queue).await;
    put(&queue, &webhook(1)).await;
    for _ in 0..2 {
        let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
        consumer.dead_letter(&take(&consumer).await, "no").await.unwrap();
        let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
        stream.delete_consumer("sluiced").await.unwrap();
    }
    assert_eq!(stored(&nats, "WEBHOOKS_DEAD").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_an_id_in_a_stream_that_is_made_anew_die_each_for_itself() {
    let (nats, queue) = ready().await;
    queue.close().await;
    for number in 0..2 {
        let js = jetstream(&nats).await;
        if number == 1 {
            js.delete_stream("WEBHOOKS").await.unwrap();
            stream(
                &nats,
                Config { retention: RetentionPolicy::WorkQueue, ..named("WEBHOOKS", "webhooks.>") },
            )
            .await;
        }
        js.publish("webhooks.x", format!("{number}").into()).await.unwrap().await.unwrap();
        let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
        let message = take(&consumer).await;
        assert_eq!(message.tag, 1);
        consumer.dead_letter(&message, "no").await.unwrap();
    }
    assert_eq!(stored(&nats, "WEBHOOKS_DEAD").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_may_not_be_deleted_is_not_called_gone() {
    let (nats, queue) = ready().await;
    put(&queue, &webhook(1)).await;
    stream(&nats, Config { deny_delete: true, ..named("WEBHOOKS_DEAD", "webhooks-dead.>") }).await;
    let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
    consumer.dead_letter(&take(&consumer).await, "no").await.unwrap();
    let dead = NatsDeadLetters::connect(options(nats.url())).await.unwrap();
    for refused in [dead.purge("1").await, dead.retry("1").await] {
        assert!(matches!(&refused, Err(DeadLetterError::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(dead.list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_would_break_leases_or_messages_is_refused_and_differences_are_told_once() {
    let lines = crate::support::record();
    let (nats, _queue) = ready().await;
    let stream = jetstream(&nats).await.get_stream("WEBHOOKS").await.unwrap();
    let usual = pull::Config {
        durable_name: Some("sluiced".into()),
        filter_subject: "webhooks.>".into(),
        max_deliver: 5,
        max_ack_pending: 100,
        ..pull::Config::default()
    };
    let second = Duration::from_secs(1);
    for (config, because) in [
        (pull::Config { headers_only: true, ..usual.clone() }, "headers_only"),
        (pull::Config { backoff: vec![second, second], ..usual.clone() }, "backoff"),
    ] {
        stream.create_consumer(config).await.unwrap();
        let refused = NatsConsumer::connect(options(nats.url())).await;
        assert!(matches!(&refused, Err(ConsumeError::Failed(why)) if why.contains(because)), "{refused:?}");
        stream.delete_consumer("sluiced").await.unwrap();
    }
    stream.create_consumer(usual).await.unwrap();
    let consumer = NatsConsumer::connect(options(nats.url())).await.unwrap();
    jetstream(&nats).await.delete_stream("WEBHOOKS_DEAD").await.ok();
    for _ in 0..3 {
        // Each error makes it look at the consumer anew.
        stream.delete_consumer("sluiced").await.unwrap();
        assert!(consumer.backlog().await.is_err());
        let again = pull::Config {
            durable_name: Some("sluiced".into()),
            filter_subject: "webhooks.>".into(),
            max_deliver: 5,
            max_ack_pending: 100,
            ..pull::Config::default()
        };
        stream.create_consumer(again).await.unwrap();
        assert!(consumer.backlog().await.unwrap().is_empty());
    }
    let lines = lines.lock().unwrap().clone();
    for difference in ["max_ack_pending", "max_deliver"] {
        assert_eq!(lines.iter().filter(|line| line.contains(difference)).count(), 1, "{lines:#?}");
    }
}
