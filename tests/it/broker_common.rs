//! A daemon in front of a real broker: what its tests have in common.
//!
//! The messages are read by another program with the broker's usual client in another language, so that it isn't our
//! own code that judges them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{GITHUB, get};
use crate::daemon::{Daemon, environment, pause};
use crate::flood::{Flood, Tally, body_of};

/// How many senders there are; each has a connection of its own.
const SENDERS: usize = 50;

/// What a sender waits at least before it gives up and sends again.
const SENDER_TIMEOUT: Duration = Duration::from_secs(3);

/// More than one in a hundred may not come twice.
const DOUBLES_PERCENT_MAX: usize = 1;

/// Spooled messages are with the broker by then, once it is back.
const DRAINED: Duration = Duration::from_secs(60);

/// A broker, seen from outside.
pub trait Broker: Sized {
    /// What the daemon is started with.
    fn arguments(&self) -> Vec<String>;

    /// The command that takes everything out of a queue.
    fn reader(&self, queue: &str) -> Command;

    /// How many webhooks all senders together send in a second.
    fn rate(&self) -> u32 {
        500
    }

    /// What happens to it under load, in order; each returns when it is over.
    fn ordeals(&self) -> Vec<fn(&mut Self)>;
}

/// A message as another program read it.
#[derive(Deserialize)]
pub struct Read {
    /// In base64, as it came.
    body: String,
    /// The broker's message id.
    pub id: Option<String>,
    /// Whether the broker keeps it on disk.
    pub persistent: bool,
    /// As the broker says.
    #[serde(rename = "contentType")]
    pub content_type: Option<String>,
    /// The message's headers.
    pub headers: HashMap<String, Value>,
}

impl Read {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.body).unwrap()
    }
}

/// What of a message is looked at; the body verbatim.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    /// GitHub's.
    delivery_id: String,
    /// As it was sent.
    #[serde(borrow)]
    data: &'a RawValue,
}

/// How long a broker is frozen.
pub fn frozen_for() -> Duration {
    seconds("SLUICED_TEST_BROKER_FROZEN", 3)
}

/// A number of seconds, for longer runs of the same test.
pub fn seconds(variable: &str, by_default: u64) -> Duration {
    Duration::from_secs(environment(variable, by_default))
}

/// Starts a daemon in front of a broker.
pub fn daemon(broker: &impl Broker, dir: &Path, more: &[&str]) -> Daemon {
    let arguments = broker.arguments();
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).chain([GITHUB]).chain(more.iter().copied()).collect();
    Daemon::start(dir, &arguments)
}

/// Everything that is in the queue, taken out of it by another program.
pub fn read(broker: &impl Broker, queue: &str) -> Vec<Read> {
    let output = broker.reader(queue).output().expect("the reader's language is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A reader in Python, with its libraries.
pub fn python(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(clients().join(".venv/bin/python"));
    command.arg(clients().join(script)).args(arguments);
    command
}

/// A reader in JavaScript, with its libraries.
pub fn javascript(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(clients().join(script)).args(arguments);
    command
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Webhooks come in all the time while bad things happen to the broker: every one of them is acknowledged, soon; all
/// of them arrive, hardly any twice; and the log tells it in a few lines.
pub fn outlasts(broker: &mut impl Broker) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(broker, dir.path(), &[]);
    let flood = Flood::paced(broker.rate(), daemon.address, SENDERS, "flood");
    let begun = Instant::now();
    let calm = Duration::from_millis(1500);
    wait(calm);
    let ordeals = broker.ordeals();
    let count = ordeals.len();
    for ordeal in ordeals {
        ordeal(broker);
        wait(calm);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let tally = flood.stop();
    assert_eq!(tally.broken, [], "connections of senders broke");
    assert_eq!(tally.refused, [] as [u16; 0], "answers other than 200");
    let sent = tally.acknowledged.len();
    assert!(
        sent as f64 > f64::from(broker.rate()) * seconds * 0.9,
        "{sent} in {seconds:.0} s: senders had to wait"
    );
    let [p50, p99, p999, max] = latencies(&tally);
    until_drained(&daemon);
    let told = told(&daemon);
    println!(
        "{sent} webhooks in {seconds:.0} s, {count} ordeals: p50 {p50:?}, p99 {p99:?}, p99.9 {p999:?}, max {max:?}; log:\n{}",
        told.join("\n")
    );
    daemon.stop();
    assert!(max < SENDER_TIMEOUT, "a sender would have given up after {max:?}");
    assert!(told.len() <= 6 * count + 10, "the log is full of it");
    arrived(broker, &tally);
}

/// The broker isn't there when the daemon starts: webhooks are taken all the same, and are with the broker when it
/// has come. `appear` makes it come.
pub fn waits_for<B: Broker>(broker: &mut B, appear: impl FnOnce(&mut B)) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(broker, dir.path(), &[]);
    assert_eq!(get(daemon.ops, "/readyz").status, 200, "the spool is there");
    let flood = Flood::paced(broker.rate(), daemon.address, SENDERS, "early");
    wait(Duration::from_secs(2));
    appear(broker);
    wait(Duration::from_secs(1));
    let tally = flood.stop();
    assert_eq!((&tally.broken[..], &tally.refused[..]), (&[][..], &[][..]));
    until_drained(&daemon);
    daemon.stop();
    arrived(broker, &tally);
}

/// All that was acknowledged is there, byte for byte, and hardly any of it twice.
fn arrived(broker: &impl Broker, tally: &Tally) {
    let mut times: HashMap<String, usize> = tally.acknowledged.iter().map(|id| (id.clone(), 0)).collect();
    for message in read(broker, "webhooks") {
        let bytes = message.bytes();
        let context: Context = serde_json::from_slice(&bytes).unwrap();
        let delivery = &context.delivery_id;
        assert_eq!(context.data.get().as_bytes(), body_of(delivery), "{delivery}");
        assert!(message.persistent);
        *times.entry(delivery.clone()).or_default() += 1;
    }
    let missing: Vec<&String> = times.iter().filter(|(_, times)| **times == 0).map(|(id, _)| id).collect();
    assert!(missing.is_empty(), "LOST: {} acknowledged and not there: {missing:?}", missing.len());
    let doubles = times.values().filter(|times| **times > 1).count();
    println!("{} arrived, {doubles} more than once", times.len());
    assert!(doubles * 100 <= times.len() * DOUBLES_PERCENT_MAX, "{doubles} of {} came twice", times.len());
}

/// Waits until nothing is left in the spool.
pub fn until_drained(daemon: &Daemon) {
    let begun = Instant::now();
    loop {
        let metrics = String::from_utf8(get(daemon.ops, "/metrics").body).unwrap();
        let left: Vec<&str> =
            metrics.lines().filter(|line| line.starts_with("sluiced_spool_messages")).collect();
        assert!(!left.is_empty(), "the daemon has a spool");
        if left.iter().all(|line| line.ends_with(" 0")) {
            return;
        }
        assert!(
            begun.elapsed() < DRAINED,
            "still in the spool after {DRAINED:?}: {left:?}\n{}",
            daemon.text()
        );
        pause();
    }
}

/// What the log says besides deliveries and summaries, without the lines of the start.
fn told(daemon: &Daemon) -> Vec<String> {
    let lines = daemon.log();
    let listening = lines.iter().position(|line| line["msg"] == "listening").unwrap_or_default();
    let told = lines[listening..].iter().filter(|line| line["msg"] != "delivery" && line["msg"] != "summary");
    told.map(Value::to_string).collect()
}

/// The median, the 99th and 99.9th percentile, and the slowest.
fn latencies(tally: &Tally) -> [Duration; 4] {
    let mut latencies = tally.latencies_us.clone();
    latencies.sort_unstable();
    [0.5, 0.99, 0.999, 1.0]
        .map(|q: f64| Duration::from_micros(latencies[((latencies.len() - 1) as f64 * q) as usize]))
}

/// Lets time pass: what is waited for is that load goes on for a while.
#[allow(clippy::disallowed_methods)]
pub fn wait(time: Duration) {
    std::thread::sleep(time);
}
