//! Processes of their own: this test binary once more, told by the environment what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use sluiced_embedded::{EmbeddedConsumer, EmbeddedQueue, Options};
use sluiced_queue::WebHookQueueConsumer;
use uuid::Uuid;

use crate::common::{LEASE, NOW, NUMBERED, claiming, message_of, numbered, small_partitions};

const JOB: &str = "STORE_TEST_JOB";
const DIR: &str = "STORE_TEST_DIR";

/// A child and its two ends. Killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The command that runs `job` on the store in `dir`, to be adorned: environment, a wrapper's arguments.
pub(crate) fn command(job: &str, dir: &Path) -> Command {
    wrapped(&[], job, dir)
}

/// The same, run by another program.
pub(crate) fn wrapped(wrapper: &[&str], job: &str, dir: &Path) -> Command {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let words: Vec<&str> = [wrapper, &[own, "child::run", "--exact", "--ignored", "--nocapture"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(JOB, job).env(DIR, dir);
    command
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next line of the child's own; `None` at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test runner in the child talks too.
            if let Some(own) = line.strip_prefix("> ").and_then(|line| line.strip_suffix('\n')) {
                return Some(own.to_owned());
            }
        }
    }

    /// Asks a child that does `obey`, and returns its answer.
    pub(crate) fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.line().unwrap()
    }

    /// Doesn't wait for the answer.
    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.input.as_mut().unwrap(), "{order}").unwrap();
    }

    /// All that it still says, once it has ended.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.input = None;
        std::iter::from_fn(|| self.line()).collect()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "other tests run it in a process of its own"]
fn run() {
    let (Ok(job), Ok(dir)) = (std::env::var(JOB), std::env::var(DIR)) else { return };
    let dir = Path::new(&dir);
    // The test runner has begun a line.
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match job.as_str() {
            "append" => append_for_ever(dir).await,
            "claim" => claim_all(dir).await,
            "fill" => crate::backlog::fill(dir, &say).await,
            "power" => crate::power::use_until_the_power_goes(dir, &say).await,
            "work" => work(dir).await,
            "obey" => obey(dir).await,
            "obey-as-worker" => obey_as_worker(dir).await,
            "read" => read_for_ever(dir),
            "visit" => visit(dir).await,
            "open" => say(&format!("{:?}", EmbeddedQueue::open(dir, Options::default()).map(|_| ()))),
            "consume" => say(&format!("{:?}", EmbeddedConsumer::open(dir, "webhooks").map(|_| ()))),
            other => panic!("no job {other}"),
        }
    });
}

/// One line, at once, in one write.
fn say(line: &str) {
    println!("> {line}");
}

/// Sixteen tasks; each names every message that was acknowledged to it.
async fn append_for_ever(dir: &Path) {
    let queue = EmbeddedQueue::open(dir, small_partitions()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let queue = queue.clone();
        tasks.spawn(async move {
            loop {
                let id = Uuid::now_v7();
                let _durable = queue.append(message_of(id), id).await.unwrap();
                say(&id.to_string());
            }
        });
    }
    tasks.join_all().await;
}

/// Sixteen tasks share the numbered ids out among them, and claim each; no answer is looked at.
async fn claim_all(dir: &Path) {
    let queue = EmbeddedQueue::open(dir, small_partitions()).unwrap();
    say("open");
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..16 {
        let queue = queue.clone();
        tasks.spawn(async move {
            for n in (first..NUMBERED).step_by(16) {
                let _durable = queue.add(claiming(numbered(n))).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// Names each message, then acknowledges it; ends when its input does.
async fn work(dir: &Path) {
    let consumer = EmbeddedConsumer::open(dir, "webhooks").unwrap();
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    while !ended.is_finished() {
        for message in consumer.receive(5, LEASE, Duration::from_millis(20)).await.unwrap() {
            say(&crate::common::id_in(&message.message).to_string());
            consumer.acknowledge(&message).await.unwrap();
        }
    }
}

/// Inside a transaction that only reads, as a worker is while it gets its messages.
fn read_for_ever(dir: &Path) {
    let mut connection = rusqlite::Connection::open(dir.join("queue.db")).unwrap();
    let tx = connection.transaction().unwrap();
    let _: i64 = tx.query_row("SELECT count(*) FROM queues", [], |row| row.get(0)).unwrap();
    say("reading");
    std::io::stdin().lines().count();
}

/// Opens the store, has a message, and leaves again; until its input ends.
async fn visit(dir: &Path) {
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    while !ended.is_finished() {
        let consumer = EmbeddedConsumer::open(dir, "webhooks").unwrap();
        for message in consumer.receive(1, LEASE, NOW).await.unwrap() {
            consumer.acknowledge(&message).await.unwrap();
            say(&crate::common::id_in(&message.message).to_string());
        }
    }
}

/// A worker that does what its input says, line by line.
async fn obey_as_worker(dir: &Path) {
    let consumer = EmbeddedConsumer::open(dir, "webhooks").unwrap();
    let mut leased = Vec::new();
    for order in std::io::stdin().lines() {
        let answer = match order.unwrap().as_str() {
            "receive" => match consumer.receive(1, LEASE, NOW).await {
                Ok(messages) => {
                    leased.extend(messages);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            "acknowledge" => consumer.acknowledge(leased.last().unwrap()).await,
            order => panic!("no order {order}"),
        };
        say(&format!("{answer:?} {}", leased.len()));
    }
}

/// Does what its input says, line by line.
async fn obey(dir: &Path) {
    let deadline = std::env::var("STORE_TEST_DEADLINE_MS").ok().and_then(|ms| ms.parse().ok());
    let mut options = Options::default();
    if let Some(ms) = deadline {
        options.append_deadline = Duration::from_millis(ms);
    }
    let queue = EmbeddedQueue::open(dir, options).unwrap();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("append", text) => {
                let answer = queue.append(Bytes::from(text.to_owned()), Uuid::now_v7()).await;
                say(&format!("{:?}", answer.map(|_| ())));
            }
            ("claim", text) => {
                let answer = queue.add(claiming(text.parse().unwrap())).await;
                say(&format!("{:?}", answer.map(|receipt| receipt.is_duplicate())));
            }
            ("health", _) => say(&format!("{:?}", queue.health())),
            ("commits", _) => say(&queue.counts().commits.to_string()),
            ("failed", _) => {
                let failed = tokio::time::timeout(Duration::from_secs(5), queue.failed());
                say(&failed.await.unwrap_or_else(|_| "it hasn't".into()));
            }
            ("close", _) => {
                queue.close().await;
                say("closed");
            }
            (order, _) => panic!("no order {order}"),
        }
    }
}
