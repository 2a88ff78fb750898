//! What every backend must do, done over JetStream.

#![allow(clippy::unwrap_used, reason = "a rig is part of a test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sluiced_nats::{NatsConsumer, NatsDeadLetters, NatsQueue, Options};
use sluiced_queue::conformance::{Credentials, Destination, Facts, Fault, Rig, Setup};
use sluiced_queue::{
    ConsumeError, DeadLetterStore, Durable, Format, WebHookQueueConsumer, WebHookQueueHandler,
};
use sluiced_test_brokers::{Direction, Nats, Proxy, nats, until};

/// Small, so that the longest message is soon made.
const MAX_PAYLOAD: usize = 200_000;

/// What handlers and consumers log in with; the other user becomes known when faults are mended.
const USER: &str = "{ user: sluiced, password: made-up }";
const LATE_USER: &str = "{ user: late, password: made-up }";

struct NatsRig {
    broker: Nats,
    /// The handlers' way, and the consumers'.
    proxies: [Proxy; 2],
    /// The way of consumers that never come back.
    cut_off: Option<Proxy>,
    frozen: bool,
    absent: bool,
    late_user: bool,
    usual: Option<NatsQueue>,
    missing: bool,
}

impl NatsRig {
    async fn start() -> Self {
        let options = nats::Options {
            max_payload: Some(MAX_PAYLOAD),
            config: format!("authorization {{ users: [ {USER} ] }}\n"),
            ..nats::Options::default()
        };
        let broker = Nats::with(options).await;
        let proxies = [Proxy::to(broker.address()).await, Proxy::to(broker.address()).await];
        Self {
            broker,
            proxies,
            cut_off: None,
            frozen: false,
            absent: false,
            late_user: false,
            usual: None,
            missing: false,
        }
    }

    /// For good: their clients would connect again by themselves. Those to come have another way.
    async fn cut_consumers(&mut self) {
        let new = Proxy::to(self.broker.address()).await;
        let old = std::mem::replace(&mut self.proxies[1], new);
        old.refuse();
        self.cut_off = Some(old);
    }

    fn options(&self, proxy: usize) -> Options {
        Options {
            url: vec![self.broker.url_at(self.proxies[proxy].port())],
            user: Some("sluiced".into()),
            password: Some("made-up".into()),
            publish_deadline: self.facts().publish_deadline,
            ..Options::default()
        }
    }
}

#[async_trait(?Send)]
impl Rig for NatsRig {
    fn facts(&self) -> Facts {
        Facts {
            backend: "nats",
            formats: &[Format::Context, Format::CloudEvents, Format::Raw],
            durable: Durable::Broker,
            publish_deadline: Duration::from_secs(3),
            limit_reserve: 1 << 10,
        }
    }

    async fn renew(&mut self) {
        *self = Self::start().await;
    }

    async fn handler(&mut self, setup: Setup) -> Arc<dyn WebHookQueueHandler> {
        let mut options = Options { format: setup.format, ..self.options(0) };
        if setup.credentials == Credentials::Wrong {
            self.late_user = true;
            options.user = Some("late".into());
        }
        match setup.destination {
            Destination::Usual => {}
            // Another subject of the same stream, where one message id would be a duplicate.
            Destination::Other => {
                let subject = Some("webhooks.audit.{receiver}.{action}".into());
                let destination = sluiced_nats::Destination { subject, ..Default::default() };
                return Arc::new(self.usual.as_ref().unwrap().to(destination, "audit").unwrap());
            }
            Destination::Missing => {
                self.missing = true;
                options.declare = false;
            }
        }
        let queue = NatsQueue::start(options).unwrap();
        self.usual = Some(queue.clone());
        Arc::new(queue)
    }

    async fn consumer(&mut self, _: Destination) -> Arc<dyn WebHookQueueConsumer> {
        let mut connected = None;
        until("a consumer connects", async || {
            match NatsConsumer::connect(self.options(1)).await {
                Ok(consumer) => connected = Some(consumer),
                Err(ConsumeError::Unavailable(_)) => {}
                Err(other) => panic!("{other}"),
            }
            connected.is_some()
        })
        .await;
        Arc::new(connected.unwrap())
    }

    async fn dead_letters(&mut self) -> Arc<dyn DeadLetterStore> {
        Arc::new(NatsDeadLetters::connect(self.options(1)).await.unwrap())
    }

    async fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.broker.kill().await,
            Fault::Absent => self.broker.stop().await,
            Fault::Frozen => self.broker.freeze(),
            Fault::Stalled => self.proxies[0].stall(),
            Fault::CutUp(bytes) => self.proxies[0].cut_after(Direction::Up, bytes),
            Fault::CutDown(bytes) => self.proxies[0].cut_after(Direction::Down, bytes),
            Fault::ConsumersCut => self.cut_consumers().await,
        }
        self.frozen |= fault == Fault::Frozen;
        self.absent |= matches!(fault, Fault::Killed | Fault::Absent);
    }

    async fn mend(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.broker.thaw();
        }
        self.proxies.iter().for_each(Proxy::pass);
        if std::mem::take(&mut self.late_user) {
            self.broker.options_mut().config =
                format!("authorization {{ users: [ {USER}, {LATE_USER} ] }}\n");
            self.absent = true;
        }
        if std::mem::take(&mut self.absent) {
            self.broker.restart().await;
        }
        if std::mem::take(&mut self.missing) {
            let creator = NatsQueue::start(self.options(1)).unwrap();
            until("the stream is created", async || creator.health() == sluiced_queue::Health::Ready).await;
            creator.close().await;
        }
    }
}

sluiced_queue::conformance! {
    rig: NatsRig::start,
    tests: {
        publishing: [round_trip, many_at_once, too_large, missing_destination, refused_credentials, fan_out, closing],
        killed_broker: [killed_broker],
        absent_broker: [absent_broker],
        frozen_broker: [frozen_broker],
        stalled_connection: [stalled_connection],
        cuts: [cut_publish, cut_confirmation],
        work: [waiting_for_work, shared_work, acknowledged_work],
        leases: [lease_end, dead_worker, extended_lease],
        releases: [release_at_once, release_unfailed, delayed_retry],
        backlog_counts: [backlog_counts],
        dead_letters: [dead_letter_life, dead_letter_pages],
    },
    excused: {},
}
