//! Measures the store on this machine: appends that wait for durability, with and without workers.
//!
//!     cargo run --release -p sluiced-embedded --example measure -- DIR [APPENDERS] [SECONDS] [WORKERS] [BYTES] [RATE] [DEDUPE]
//!
//! RATE is appends a second in all; 0: as many as go. DEDUPE 1: each claims its id. Workers run in this
//! process, each on a connection of its own, as they would in theirs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sluiced_embedded::{EmbeddedConsumer, EmbeddedQueue, NewMessage, OpenError, Options};
use sluiced_queue::WebHookQueueConsumer;
use tokio::task::JoinSet;
use uuid::Uuid;

struct Plan {
    dir: PathBuf,
    appenders: usize,
    span: Duration,
    workers: usize,
    bytes: usize,
    rate: usize,
    dedupe: bool,
}

#[tokio::main]
async fn main() -> Result<(), OpenError> {
    let plan = plan();
    let queue = EmbeddedQueue::open(&plan.dir, Options::default())?;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..plan.workers {
        let consumer = EmbeddedConsumer::open(&plan.dir, "webhooks")?;
        workers.spawn(work(consumer, stop.clone(), acknowledged.clone()));
    }
    let began = Instant::now();
    let mut appenders = JoinSet::new();
    let pace = (plan.rate > 0).then(|| Duration::from_secs_f64(plan.appenders as f64 / plan.rate as f64));
    for n in 0..plan.appenders {
        // Not all at once.
        let pace = pace.map(|pace| (began + pace.mul_f64(n as f64 / plan.appenders as f64), pace));
        let message = NewMessage {
            dedupe_for: plan.dedupe.then_some(Duration::from_secs(24 * 3600)),
            ..NewMessage::new(vec![b'x'; plan.bytes], Uuid::nil())
        };
        appenders.spawn(append(queue.clone(), message, began + plan.span, pace));
    }
    let mut waits: Vec<u64> = appenders.join_all().await.into_iter().flatten().collect();
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds();
    stop.store(true, Relaxed);
    workers.join_all().await;
    waits.sort_unstable();
    report(&queue, &waits, seconds, cpu, acknowledged.load(Relaxed));
    queue.close().await;
    Ok(())
}

fn plan() -> Plan {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "measure-data".into()).into();
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    Plan {
        dir,
        appenders: number(256),
        span: Duration::from_secs(number(5) as u64),
        workers: number(0),
        bytes: number(1024),
        rate: number(0),
        dedupe: number(0) > 0,
    }
}

/// How long each append took, in µs.
async fn append(
    queue: EmbeddedQueue,
    message: NewMessage,
    until: Instant,
    pace: Option<(Instant, Duration)>,
) -> Vec<u64> {
    let mut waits = Vec::new();
    let mut ticks = pace.map(|(first, pace)| tokio::time::interval_at(first.into(), pace));
    while Instant::now() < until {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let began = Instant::now();
        // In no order, as hashes are: the last bytes come first.
        let message_id = Uuid::from_u128(Uuid::now_v7().as_u128().reverse_bits());
        match queue.add(NewMessage { message_id, ..message.clone() }).await {
            Ok(_) => waits.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            Err(error) => eprintln!("{error}"),
        }
    }
    waits
}

async fn work(consumer: EmbeddedConsumer, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) {
    while !stop.load(Relaxed) {
        let wait = Duration::from_millis(200);
        let messages = match consumer.receive(64, Duration::from_secs(60), wait).await {
            Ok(messages) => messages,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        let mut settled = JoinSet::new();
        for message in messages {
            let consumer = consumer.clone();
            settled.spawn(async move { consumer.acknowledge(&message).await.is_ok() });
        }
        let done = settled.join_all().await.into_iter().filter(|done| *done).count();
        acknowledged.fetch_add(done as u64, Relaxed);
    }
}

fn report(queue: &EmbeddedQueue, waits: &[u64], seconds: f64, cpu: f64, acknowledged: u64) {
    let counts = queue.counts();
    let at = |share: f64| waits.get((waits.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!("appends       {:9.0}/s ({} in {seconds:.1} s)", waits.len() as f64 / seconds, waits.len());
    println!("acknowledged  {:9.0}/s", acknowledged as f64 / seconds);
    println!(
        "commits       {:9.0}/s, {:.1} messages each",
        counts.commits as f64 / seconds,
        waits.len() as f64 / counts.commits as f64
    );
    println!("checkpoints   {:9.1}/s", counts.checkpoints as f64 / seconds);
    println!("append, µs    p50 {}, p99 {}, p99.9 {}, max {}", at(0.5), at(0.99), at(0.999), at(1.0 - 1e-9));
    println!("CPU           {:9.1} µs for each append, all threads", cpu * 1e6 / waits.len() as f64);
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 =
        after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
