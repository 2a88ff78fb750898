//! What the spool's tests share: a NATS server of their own, and a daemon in front of it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use sluiced_test_brokers::{Nats, nats};
use tokio::runtime::Runtime;

use crate::client::{GITHUB, get, github_request, send_raw};
use crate::daemon::{Daemon, sluiced};

/// A NATS server, started, killed and frozen from where nothing is awaited.
pub struct Broker {
    runtime: Runtime,
    nats: Nats,
    url: String,
}

impl Broker {
    /// A running one.
    pub fn start() -> Self {
        let mut broker = Self::absent();
        broker.restart();
        broker
    }

    /// One that isn't running yet.
    pub fn absent() -> Self {
        Self::with(nats::Options::default())
    }

    /// One with settings that isn't running yet.
    pub fn with(options: nats::Options) -> Self {
        let runtime = Runtime::new().unwrap();
        let nats = {
            let _entered = runtime.enter();
            Nats::absent(options)
        };
        let url = nats.url();
        Self { runtime, nats, url }
    }

    pub fn restart(&mut self) {
        self.runtime.block_on(self.nats.restart());
    }

    pub fn kill(&mut self) {
        self.runtime.block_on(self.nats.kill());
    }

    pub fn freeze(&self) {
        self.nats.freeze();
    }

    pub fn thaw(&self) {
        self.nats.thaw();
    }

    /// The flags for it.
    pub fn flags(&self) -> [String; 2] {
        ["--queue=nats".to_owned(), format!("--queue-url={}", self.url)]
    }

    /// A daemon in front of it.
    pub fn serve(&self, dir: &Path, args: &[&str]) -> Daemon {
        self.try_serve(dir, args).unwrap_or_else(|log| panic!("the daemon didn't start:\n{log}"))
    }

    /// The same; the log when it ended instead of listening.
    pub fn try_serve(&self, dir: &Path, args: &[&str]) -> Result<Daemon, String> {
        let flags = self.flags();
        let flags = [&[flags[0].as_str(), flags[1].as_str(), GITHUB], args].concat();
        Daemon::try_start(dir, &flags)
    }

    /// `sluiced drain`.
    pub fn drain(&self, dir: &Path, args: &[&str]) -> Output {
        let mut command = sluiced();
        command.args(["drain", "--data-dir"]).arg(dir).args(self.flags()).args(args).output().unwrap()
    }

    /// A worker's command line.
    pub fn work(&self, args: &[&str]) -> Command {
        let mut command = sluiced();
        command.arg("work").args(self.flags()).args(args);
        command
    }

    /// The messages in the queue, taken out of it.
    pub fn messages(&self) -> Vec<Value> {
        let output = self.work(&["--print", "--exit-when-empty"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Their delivery ids, without duplicates.
    pub fn deliveries(&self) -> HashSet<String> {
        let id = |message: Value| message["deliveryId"].as_str().unwrap().to_owned();
        self.messages().into_iter().map(id).collect()
    }
}

thread_local! {
    /// How many this test has sent, and the last one's delivery id.
    static SENT: RefCell<(usize, String)> = RefCell::default();
}

/// Sends webhooks that must be acknowledged, each with a delivery id of its own that begins with the prefix.
pub fn send(daemon: &Daemon, prefix: &str, count: usize) -> HashSet<String> {
    let mut ids = HashSet::new();
    for _ in 0..count {
        let id = SENT.with_borrow_mut(|(sent, last)| {
            *sent += 1;
            *last = format!("{prefix}-{sent}");
            last.clone()
        });
        let answer = send_raw(daemon.address, &github_request(&id, b"{\"a\":1}")).unwrap();
        assert_eq!(answer.status, 200, "{id}\n{}", daemon.text());
        ids.insert(id);
    }
    ids
}

/// Where the last webhook of [`send`] was made durable.
pub fn last_durable(daemon: &Daemon) -> String {
    let id = SENT.with_borrow(|(_, last)| last.clone());
    durable_of(daemon, &id)
}

/// Where a webhook was made durable.
pub fn durable_of(daemon: &Daemon, delivery: &str) -> String {
    let line = daemon.wait_for_delivery(|line| line["delivery_id"] == delivery && line["status"] == 200);
    line["durable"].as_str().unwrap_or_default().to_owned()
}

/// A figure of `/metrics`: the first whose line begins so, of the default destination.
pub fn metric(daemon: &Daemon, name: &str) -> Option<u64> {
    let text = String::from_utf8(get(daemon.ops, "/metrics").body).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// How many lines of the log have this message.
pub fn lines(daemon: &Daemon, msg: &str) -> usize {
    daemon.log().iter().filter(|line| line["msg"] == msg).count()
}
