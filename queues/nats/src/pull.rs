//! Asks the server for messages.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Batch;
use futures_util::StreamExt;

use crate::bounds;
use crate::stream::cause;

/// A message, and when it was handed out at the latest.
pub(crate) struct Taken {
    pub(crate) message: jetstream::Message,
    pub(crate) at: Instant,
}

/// What is there, up to `max`; when nothing is, waits for the first one.
///
/// No request is left open at the server: what it sent then would be leased to nobody.
pub(crate) async fn messages(
    consumer: &PullConsumer,
    max: usize,
    wait: Duration,
) -> Result<Vec<Taken>, String> {
    let until = Instant::now() + wait.min(bounds::LEASE_MAX);
    let mut messages = present(consumer, max).await?;
    while messages.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        messages = first(consumer, left.min(bounds::PULL_WAIT)).await?;
        if !messages.is_empty() && max > 1 {
            // The first one is leased: whatever happens to the others, it is handed on.
            messages.extend(present(consumer, max - 1).await.unwrap_or_default());
        }
    }
    Ok(messages)
}

/// What is there now.
async fn present(consumer: &PullConsumer, max: usize) -> Result<Vec<Taken>, String> {
    let asked = consumer.fetch().max_messages(max.min(bounds::PULL_MESSAGES)).messages().await;
    collect(asked.map_err(|error| cause(&error))?, bounds::API_TIMEOUT).await
}

/// The next one, if it comes in time.
async fn first(consumer: &PullConsumer, wait: Duration) -> Result<Vec<Taken>, String> {
    let wait = wait.max(Duration::from_millis(1));
    let asked = consumer.batch().max_messages(1).expires(wait).messages().await;
    collect(asked.map_err(|error| cause(&error))?, wait + bounds::API_TIMEOUT).await
}

async fn collect(mut batch: Batch, deadline: Duration) -> Result<Vec<Taken>, String> {
    let mut taken = Vec::new();
    let deadline = tokio::time::Instant::now() + deadline;
    loop {
        match tokio::time::timeout_at(deadline, batch.next()).await {
            Ok(Some(Ok(message))) => taken.push(Taken { message, at: Instant::now() }),
            Ok(None) => return Ok(taken),
            // What has come is leased, and is handed on.
            _ if !taken.is_empty() => return Ok(taken),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Err(_) => return Err("JetStream doesn't answer".into()),
        }
    }
}
