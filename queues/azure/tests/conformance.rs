//! What every backend must do, done over Azurite, the emulator of Azure Storage Queue.

#![allow(clippy::unwrap_used, reason = "a rig is part of a test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sluiced_azure::{AzureConsumer, AzureDeadLetters, AzureQueue, Options};
use sluiced_queue::conformance::{Credentials, Destination, Facts, Fault, Rig, Setup};
use sluiced_queue::{
    ConsumeError, DeadLetterStore, Durable, Format, Health, WebHookQueueConsumer, WebHookQueueHandler,
};
use sluiced_test_brokers::azurite::{ACCOUNT_KEY, LATE_KEY};
use sluiced_test_brokers::{Azurite, Direction, Proxy, until};

/// One emulator for all cases of a test; every case has queues of its own.
struct AzureRig {
    azurite: Azurite,
    /// The handlers' way, and the consumers'.
    proxies: [Proxy; 2],
    case: u32,
    frozen: bool,
    absent: bool,
    late_key: bool,
    missing: bool,
    usual: Option<AzureQueue>,
}

impl AzureRig {
    async fn start() -> Self {
        let azurite = Azurite::start().await;
        let proxies = [Proxy::to(azurite.address()).await, Proxy::to(azurite.address()).await];
        Self {
            azurite,
            proxies,
            case: 0,
            frozen: false,
            absent: false,
            late_key: false,
            missing: false,
            usual: None,
        }
    }

    fn options(&self, proxy: usize) -> Options {
        Options {
            url: self.azurite.connection_string_at(self.proxies[proxy].port()),
            queue_name: format!("case{}", self.case),
            publish_deadline: self.facts().publish_deadline,
            ..Options::default()
        }
    }

    fn other(&self) -> String {
        format!("case{}-other", self.case)
    }
}

#[async_trait(?Send)]
impl Rig for AzureRig {
    fn facts(&self) -> Facts {
        Facts {
            backend: "azure",
            formats: &[Format::Context, Format::CloudEvents],
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
        self.proxies = [Proxy::to(self.azurite.address()).await, Proxy::to(self.azurite.address()).await];
    }

    async fn handler(&mut self, setup: Setup) -> Arc<dyn WebHookQueueHandler> {
        if setup.destination == Destination::Other {
            let destination = sluiced_azure::Destination { queue_name: Some(self.other()) };
            return Arc::new(self.usual.as_ref().unwrap().to(destination, "audit").unwrap());
        }
        let mut options = Options { format: setup.format, ..self.options(0) };
        if setup.credentials == Credentials::Wrong {
            self.late_key = true;
            options.url = options.url.replace(ACCOUNT_KEY, LATE_KEY);
        }
        if setup.destination == Destination::Missing {
            self.missing = true;
            options.declare = false;
        }
        let queue = AzureQueue::start(options).unwrap();
        self.usual = Some(queue.clone());
        Arc::new(queue)
    }

    async fn consumer(&mut self, destination: Destination) -> Arc<dyn WebHookQueueConsumer> {
        let mut options = self.options(1);
        if destination == Destination::Other {
            options.queue_name = self.other();
        }
        let mut connected = None;
        until("a consumer connects", async || {
            match AzureConsumer::connect(options.clone()).await {
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
        Arc::new(AzureDeadLetters::connect(self.options(1)).await.unwrap())
    }

    async fn inflict(&mut self, fault: Fault) {
        match fault {
            // Killing it would test Azurite, which keeps its messages in memory. For whoever is outside it is the
            // same: connections reset, and no new ones.
            Fault::Killed => self.proxies[0].refuse(),
            Fault::Absent => self.azurite.stop().await,
            Fault::Frozen => self.azurite.freeze(),
            Fault::Stalled => self.proxies[0].stall(),
            Fault::CutUp(bytes) => self.proxies[0].cut_after(Direction::Up, bytes),
            Fault::CutDown(bytes) => self.proxies[0].cut_after(Direction::Down, bytes),
            Fault::ConsumersCut => self.proxies[1].cut(),
        }
        self.frozen |= fault == Fault::Frozen;
        self.absent |= fault == Fault::Absent;
    }

    async fn mend(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.azurite.thaw();
        }
        self.proxies.iter().for_each(Proxy::pass);
        if std::mem::take(&mut self.late_key) {
            self.azurite.accept_late_key();
            self.azurite.restart().await;
        }
        if std::mem::take(&mut self.absent) {
            self.azurite.restart().await;
        }
        if std::mem::take(&mut self.missing) {
            let creator = AzureQueue::start(self.options(1)).unwrap();
            until("the queue is created", async || creator.health() == Health::Ready).await;
            creator.close().await;
        }
    }
}

sluiced_queue::conformance! {
    rig: AzureRig::start,
    tests: {
        publishing: [
            round_trip, many_at_once, too_large, missing_destination, refused_credentials, fan_out, closing,
        ],
        outages: [killed_broker, absent_broker],
        silences: [frozen_broker, stalled_connection],
        cuts: [cut_publish, cut_confirmation],
        work: [waiting_for_work, shared_work, acknowledged_work, lease_end, dead_worker, extended_lease],
        giving_back: [release_at_once, release_unfailed, delayed_retry, backlog_counts],
        dead_letters: [dead_letter_life, dead_letter_pages],
    },
    excused: {},
}
