//! What every backend must do, done by the embedded queue.

#![allow(clippy::unwrap_used, reason = "a rig is part of a test")]

mod teeth;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sluiced_embedded::{EmbeddedConsumer, EmbeddedDeadLetters, EmbeddedQueue, Options};
use sluiced_queue::conformance::{Destination, Facts, Rig, Setup};
use sluiced_queue::{DeadLetterStore, Durable, Format, WebHookQueueConsumer, WebHookQueueHandler};
use tempfile::TempDir;

/// Small, so that the longest message is soon made.
const MESSAGE_BYTES_MAX: usize = 300_000;

struct EmbeddedRig {
    dir: TempDir,
    open: Vec<EmbeddedQueue>,
}

impl EmbeddedRig {
    async fn start() -> Self {
        Self { dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), open: Vec::new() }
    }
}

fn name(destination: Destination) -> &'static str {
    match destination {
        Destination::Usual => "webhooks",
        Destination::Other => "audit",
        Destination::Missing => {
            panic!("no destination is ever missing: a queue comes with its first message")
        }
    }
}

#[async_trait(?Send)]
impl Rig for EmbeddedRig {
    fn facts(&self) -> Facts {
        Facts {
            backend: "embedded",
            formats: &[Format::Context, Format::CloudEvents, Format::Raw],
            durable: Durable::Embedded,
            publish_deadline: Duration::from_secs(3),
            limit_reserve: 0,
        }
    }

    async fn renew(&mut self) {
        *self = Self::start().await;
    }

    /// One process has the store at a time, so the second handler is another handle on it.
    async fn handler(&mut self, setup: Setup) -> Arc<dyn WebHookQueueHandler> {
        let name = name(setup.destination);
        if setup.format == Format::Context
            && let Some(open) = self.open.first()
        {
            return Arc::new(open.named(name));
        }
        let options = Options {
            queue_name: name.into(),
            format: setup.format,
            message_bytes_max: MESSAGE_BYTES_MAX,
            append_deadline: self.facts().publish_deadline,
            ..Options::default()
        };
        let queue = EmbeddedQueue::open(self.dir.path(), options).unwrap();
        self.open.push(queue.clone());
        Arc::new(queue)
    }

    async fn consumer(&mut self, destination: Destination) -> Arc<dyn WebHookQueueConsumer> {
        Arc::new(EmbeddedConsumer::open(self.dir.path(), name(destination)).unwrap())
    }

    async fn dead_letters(&mut self) -> Arc<dyn DeadLetterStore> {
        Arc::new(EmbeddedDeadLetters::open(self.dir.path(), name(Destination::Usual)).unwrap())
    }
}

sluiced_queue::conformance! {
    rig: EmbeddedRig::start,
    tests: {
        publishing: [round_trip, many_at_once, too_large, fan_out, closing],
        waiting_for_work: [waiting_for_work],
        shared_work: [shared_work],
        acknowledged_work: [acknowledged_work],
        lease_end: [lease_end],
        extended_lease: [extended_lease],
        releases: [release_at_once, release_unfailed, delayed_retry],
        backlog_counts: [backlog_counts],
        dead_letters: [dead_letter_life, dead_letter_pages],
    },
    excused: {
        missing_destination: "a queue comes into being with its first message",
        refused_credentials: "there are none: the directory's permissions decide",
        killed_broker: "there is no broker: tests/store/killing.rs kills the process itself",
        absent_broker: "there is no broker",
        frozen_broker: "there is no broker",
        stalled_connection: "there is no connection",
        cut_publish: "there is no connection",
        cut_confirmation: "there is no connection",
        dead_worker: "there is no connection: tests/it/work_kill.rs kills workers",
    },
}
