//! What every backend must do, done over RabbitMQ.

#![allow(clippy::unwrap_used, reason = "a rig is part of a test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sluiced_queue::conformance::{Credentials, Destination, Facts, Fault, Rig, Setup};
use sluiced_queue::{
    ConsumeError, DeadLetterStore, Durable, Format, WebHookQueueConsumer, WebHookQueueHandler,
};
use sluiced_rabbitmq::{Options, RabbitMqConsumer, RabbitMqDeadLetters, RabbitMqQueue};
use sluiced_test_brokers::{Direction, Proxy, RabbitMq, until};

/// Small, so that the longest message is soon made.
const MESSAGE_BYTES_MAX: usize = 300_000;

/// One broker for all cases of a test, because it starts slowly; every case has queues of its own.
struct RabbitRig {
    broker: RabbitMq,
    /// The handlers' way, and the consumers'.
    proxies: [Proxy; 2],
    /// The way of consumers that never come back.
    cut_off: Option<Proxy>,
    case: u32,
    frozen: bool,
    absent: bool,
    late_user: bool,
    usual: Option<RabbitMqQueue>,
    missing: bool,
}

impl RabbitRig {
    async fn start() -> Self {
        let broker = RabbitMq::start().await;
        let proxies = [Proxy::to(broker.address()).await, Proxy::to(broker.address()).await];
        Self {
            broker,
            proxies,
            cut_off: None,
            case: 0,
            frozen: false,
            absent: false,
            late_user: false,
            usual: None,
            missing: false,
        }
    }

    fn name(&self, destination: Destination) -> String {
        match destination {
            Destination::Usual | Destination::Missing => format!("case{}", self.case),
            Destination::Other => format!("case{}-other", self.case),
        }
    }

    /// For good: their clients would connect again by themselves. Those to come have another way.
    async fn cut_consumers(&mut self) {
        let new = Proxy::to(self.broker.address()).await;
        let old = std::mem::replace(&mut self.proxies[1], new);
        old.refuse();
        self.cut_off = Some(old);
    }

    fn options(&self, proxy: usize, destination: Destination) -> Options {
        Options {
            url: vec![self.broker.url_at(self.proxies[proxy].port())],
            queue_name: self.name(destination),
            message_bytes_max: Some(MESSAGE_BYTES_MAX),
            publish_deadline: self.facts().publish_deadline,
            ..Options::default()
        }
    }
}

#[async_trait(?Send)]
impl Rig for RabbitRig {
    fn facts(&self) -> Facts {
        Facts {
            backend: "rabbitmq",
            formats: &[Format::Context, Format::CloudEvents, Format::Raw],
            durable: Durable::Broker,
            publish_deadline: Duration::from_secs(3),
            limit_reserve: 0,
        }
    }

    async fn renew(&mut self) {
        self.case += 1;
        if let Some(usual) = self.usual.take() {
            usual.close().await;
        }
        self.proxies = [Proxy::to(self.broker.address()).await, Proxy::to(self.broker.address()).await];
    }

    async fn handler(&mut self, setup: Setup) -> Arc<dyn WebHookQueueHandler> {
        if setup.destination == Destination::Other {
            let name = Some(self.name(Destination::Other));
            let destination = sluiced_rabbitmq::Destination { name, ..Default::default() };
            return Arc::new(self.usual.as_ref().unwrap().to(destination, "audit").unwrap());
        }
        let mut options = Options { format: setup.format, ..self.options(0, setup.destination) };
        if setup.credentials == Credentials::Wrong {
            self.late_user = true;
            options.url = vec![options.url[0].replace("guest:guest", "late:made-up")];
        }
        if setup.destination == Destination::Missing {
            self.missing = true;
            options.declare = false;
        }
        let queue = RabbitMqQueue::start(options).unwrap();
        self.usual = Some(queue.clone());
        Arc::new(queue)
    }

    async fn consumer(&mut self, destination: Destination) -> Arc<dyn WebHookQueueConsumer> {
        let mut connected = None;
        until("a consumer connects", async || {
            match RabbitMqConsumer::connect(self.options(1, destination)).await {
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
        Arc::new(RabbitMqDeadLetters::connect(self.options(1, Destination::Usual)).await.unwrap())
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
        if std::mem::take(&mut self.absent) {
            self.broker.restart().await;
        }
        if std::mem::take(&mut self.late_user) {
            self.broker.ctl(&["add_user", "late", "made-up"]).await;
            self.broker.ctl(&["set_permissions", "late", ".*", ".*", ".*"]).await;
        }
        if std::mem::take(&mut self.missing) {
            let creator = RabbitMqQueue::start(self.options(1, Destination::Missing)).unwrap();
            until("the queue is created", async || creator.health() == sluiced_queue::Health::Ready).await;
            creator.close().await;
        }
    }
}

sluiced_queue::conformance! {
    rig: RabbitRig::start,
    tests: {
        publishing: [
            round_trip, many_at_once, too_large, missing_destination, refused_credentials, fan_out, closing,
            cut_publish, cut_confirmation,
        ],
        outages: [killed_broker, absent_broker, frozen_broker, stalled_connection],
        working: [
            waiting_for_work, shared_work, acknowledged_work, dead_worker, extended_lease,
            release_at_once, release_unfailed, delayed_retry, backlog_counts,
            dead_letter_life, dead_letter_pages,
        ],
    },
    excused: {
        lease_end: "a lease is an unacknowledged delivery: it ends with its worker's connection, or after the broker's consumer_timeout",
    },
}
