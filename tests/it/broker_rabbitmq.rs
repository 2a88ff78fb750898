//! The daemon in front of RabbitMQ.

use std::process::Command;

use sluiced_test_brokers::RabbitMq;
use tokio::runtime::Runtime;

use crate::broker_common::{Broker, frozen_for, outlasts, python, seconds, wait, waits_for};
use crate::broker_foreign::read_by_others;
use crate::daemon::environment;

/// A broker whose calls wait.
struct Rabbit {
    runtime: Runtime,
    broker: RabbitMq,
}

impl Rabbit {
    fn new(running: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let broker = match running {
            true => runtime.block_on(RabbitMq::start()),
            false => RabbitMq::absent(""),
        };
        Self { runtime, broker }
    }

    fn restart(&mut self) {
        self.runtime.block_on(self.broker.restart());
    }

    fn killed(&mut self) {
        self.runtime.block_on(self.broker.kill());
        self.restart();
    }

    fn frozen(&mut self) {
        self.broker.freeze();
        wait(frozen_for());
        self.broker.thaw();
    }

    fn alarmed(&mut self) {
        self.runtime.block_on(self.broker.memory_alarm(true));
        wait(seconds("SLUICED_TEST_BROKER_ALARM", 2));
        self.runtime.block_on(self.broker.memory_alarm(false));
    }
}

impl Broker for Rabbit {
    fn arguments(&self) -> Vec<String> {
        vec!["--queue=rabbitmq".into(), format!("--queue-url={}", self.broker.url())]
    }

    fn reader(&self, queue: &str) -> Command {
        python("read_rabbitmq.py", &[&self.broker.url(), queue, "2"])
    }

    fn ordeals(&self) -> Vec<fn(&mut Self)> {
        let kills = environment("SLUICED_TEST_BROKER_KILLS", 1);
        let mut ordeals = vec![Self::frozen as fn(&mut Self), Self::alarmed];
        ordeals.extend((0..kills).map(|_| Self::killed as fn(&mut Self)));
        ordeals
    }
}

#[test]
fn it_is_killed_frozen_and_blocked_and_no_sender_notices() {
    outlasts(&mut Rabbit::new(true));
}

#[test]
fn it_is_absent_at_first() {
    waits_for(&mut Rabbit::new(false), Rabbit::restart);
}

#[test]
fn its_messages_are_read_by_pika() {
    let rabbit = Rabbit::new(true);
    for format in ["context", "cloudevents", "raw"] {
        read_by_others(&rabbit, format);
    }
}
