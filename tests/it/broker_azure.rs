//! The daemon in front of Azure Storage Queue: of Azurite, its emulator, which is never killed, because it would lose
//! what the service itself would not.

use std::process::Command;

use sluiced_test_brokers::Azurite;
use tokio::runtime::Runtime;

use crate::broker_common::{Broker, frozen_for, javascript, outlasts, python, wait, waits_for};
use crate::broker_foreign::read_by_others;

/// An emulator whose calls wait.
struct Storage {
    runtime: Runtime,
    /// What reads it.
    reader: fn(&str, &[&str]) -> Command,
    script: &'static str,
    broker: Azurite,
}

impl Storage {
    fn new(running: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let broker = match running {
            true => runtime.block_on(Azurite::start()),
            false => Azurite::absent(),
        };
        Self { runtime, reader: javascript, script: "read-azure.mjs", broker }
    }

    /// Stopped in order before that, if it is running.
    fn restart(&mut self) {
        self.runtime.block_on(self.broker.restart());
    }

    fn frozen(&mut self) {
        self.broker.freeze();
        wait(frozen_for());
        self.broker.thaw();
    }
}

impl Broker for Storage {
    fn arguments(&self) -> Vec<String> {
        vec!["--queue=azure".into(), format!("--queue-url={}", self.broker.connection_string())]
    }

    fn reader(&self, queue: &str) -> Command {
        (self.reader)(self.script, &[&self.broker.connection_string(), queue, "2"])
    }

    /// Azurite takes a few hundred a second and has no time for more.
    fn rate(&self) -> u32 {
        100
    }

    fn ordeals(&self) -> Vec<fn(&mut Self)> {
        vec![Self::frozen, Self::restart]
    }
}

#[test]
fn it_is_stopped_and_frozen_and_no_sender_notices() {
    outlasts(&mut Storage::new(true));
}

#[test]
fn it_is_absent_at_first() {
    waits_for(&mut Storage::new(false), Storage::restart);
}

#[test]
fn its_messages_are_read_by_azures_own_clients_in_python_and_javascript() {
    let mut storage = Storage::new(true);
    read_by_others(&storage, "cloudevents");
    (storage.reader, storage.script) = (python, "read_azure.py");
    read_by_others(&storage, "context");
}
