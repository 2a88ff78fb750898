//! How fast webhooks are confirmed, and what CPU each costs, beside the client library alone.
//!
//!     cargo run --release -p sluiced-nats --example measure -- nats://127.0.0.1:4222 100000

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluiced_nats::{NatsQueue, Options};
use sluiced_queue::{Data, Health, RequestFacts, WebHookQueueContext, WebHookQueueHandler};
use tokio::task::JoinSet;

const IN_FLIGHT: usize = 256;
const BODY_BYTES: usize = 1024;

fn webhook() -> WebHookQueueContext {
    let mut body = vec![b'1'; BODY_BYTES];
    (body[0], body[BODY_BYTES - 1]) = (b'"', b'"');
    WebHookQueueContext {
        receiver: "github".into(),
        id: "acme".into(),
        actions: vec!["push".into()],
        data: Data::classify(Some("application/json"), false, Bytes::from(body)),
        raw_body: false,
        message_id: uuid::Uuid::now_v7(),
        delivery_id: None,
        received_at: jiff::Timestamp::now(),
        content_type: Some("application/json".into()),
        traceparent: None,
        masked: vec![],
        request: RequestFacts { method: "POST".into(), ..RequestFacts::default() },
        dedupe_for: None,
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

async fn run<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    count: usize,
    once: impl Fn() -> F + Clone + Send + 'static,
) {
    let left = Arc::new(AtomicUsize::new(count));
    let (began, cpu_before) = (Instant::now(), cpu());
    let mut tasks: JoinSet<Vec<Duration>> = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (left, once) = (left.clone(), once.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                let began = Instant::now();
                once().await;
                took.push(began.elapsed());
            }
            took
        });
    }
    let mut took: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    took.sort_unstable();
    let (elapsed, used) = (began.elapsed(), cpu() - cpu_before);
    println!(
        "{what}: {:.0}/s, {:.1} us of CPU each, p50 {:?}, p99 {:?}",
        count as f64 / elapsed.as_secs_f64(),
        used.as_secs_f64() * 1e6 / count as f64,
        took[took.len() / 2],
        took[took.len() * 99 / 100],
    );
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "nats://127.0.0.1:4222".into());
    let count = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let queue = NatsQueue::start(Options { url: vec![url.clone()], ..Options::default() })?;
    while queue.health() != Health::Ready {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let jetstream = async_nats::jetstream::new(async_nats::connect(url).await?);
    for _ in 0..2 {
        let queue = queue.clone();
        let through = move || {
            let queue = queue.clone();
            async move { queue.enqueue(&webhook()).await.map(drop).expect("the server confirms") }
        };
        run("sluiced-nats", count, through).await;
        let jetstream = jetstream.clone();
        let alone = move || {
            let jetstream = jetstream.clone();
            async move {
                let webhook = webhook();
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Msg-Id", webhook.message_id.to_string());
                let sent = jetstream.publish_with_headers("webhooks.a", headers, webhook.encode()).await;
                sent.expect("it is sent").await.map(drop).expect("the server confirms");
            }
        };
        run("the client alone", count, alone).await;
    }
    queue.close().await;
    Ok(())
}
