//! The daemon in front of NATS JetStream.

use std::process::Command;
use std::time::Duration;

use sluiced_test_brokers::{Nats, nats};
use tokio::runtime::Runtime;

use crate::broker_common::{Broker, frozen_for, outlasts, python, wait, waits_for};
use crate::broker_foreign::read_by_others;
use crate::daemon::environment;

/// A server whose calls wait. It syncs always, so that what it confirmed survives its death even as a machine's.
struct Jet {
    runtime: Runtime,
    broker: Nats,
}

impl Jet {
    fn new(running: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let options = nats::Options { sync_interval: Some("always".into()), ..nats::Options::default() };
        let broker = match running {
            true => runtime.block_on(Nats::with(options)),
            false => Nats::absent(options),
        };
        Self { runtime, broker }
    }

    fn restart(&mut self) {
        self.runtime.block_on(self.broker.restart());
    }

    fn killed(&mut self) {
        self.runtime.block_on(self.broker.kill());
        wait(Duration::from_millis(700));
        self.restart();
    }

    fn frozen(&mut self) {
        self.broker.freeze();
        wait(frozen_for());
        self.broker.thaw();
    }
}

impl Broker for Jet {
    fn arguments(&self) -> Vec<String> {
        vec!["--queue=nats".into(), format!("--queue-url={}", self.broker.url())]
    }

    fn reader(&self, queue: &str) -> Command {
        python("read_nats.py", &[&self.broker.url(), &queue.to_uppercase(), "2"])
    }

    fn ordeals(&self) -> Vec<fn(&mut Self)> {
        let kills = environment("SLUICED_TEST_BROKER_KILLS", 3);
        let mut ordeals = vec![Self::frozen as fn(&mut Self)];
        ordeals.extend((0..kills).map(|_| Self::killed as fn(&mut Self)));
        ordeals
    }
}

#[test]
fn it_is_killed_and_frozen_and_no_sender_notices() {
    outlasts(&mut Jet::new(true));
}

#[test]
fn it_is_absent_at_first() {
    waits_for(&mut Jet::new(false), Jet::restart);
}

#[test]
fn its_messages_are_read_by_nats_py() {
    let jet = Jet::new(true);
    for format in ["context", "cloudevents", "raw"] {
        read_by_others(&jet, format);
    }
}
