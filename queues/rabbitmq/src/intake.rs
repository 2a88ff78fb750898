//! Taking messages out of a queue, as many as were asked for and not one more.
//!
//! A consumer that stays would get the next message with every acknowledgement, whether its worker wants it or
//! not, and nobody else could work on it. So each call has a consumer of its own, on a channel of its own: the
//! prefetch is what was asked for, and when something has come the consumer is cancelled. Whatever the broker
//! had sent by then is taken along. If the call is given up half-way the channel is closed, and the broker puts
//! back what was on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use uuid::Uuid;

use crate::bounds;
use crate::fault::Fault;
use crate::message::short;
use crate::session::answered;

/// Up to `max` messages of a queue, unacknowledged on this channel. Waits so long for the first.
pub(crate) async fn take(
    channel: &Channel,
    queue: &str,
    max: usize,
    wait: Duration,
) -> Result<Vec<Delivery>, Fault> {
    let prefetch = u16::try_from(max.clamp(1, bounds::PREFETCH_MAX)).unwrap_or(u16::MAX);
    answered(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let tag = short(&format!("sluiced-{}", Uuid::now_v7()));
    let consume = channel.basic_consume(
        short(queue),
        tag.clone(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut consumer = answered(consume).await?;
    let mut taken = Vec::new();
    if !wait.is_zero()
        && let Ok(first) = timeout(wait, next(&mut consumer)).await
    {
        let gone = || Fault::Missing(format!("the queue {queue} has been deleted"));
        taken.push(first.ok_or_else(gone)??);
    }
    answered(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
    // The end of the deliveries comes with the cancellation, so this waits for nobody.
    while let Ok(Some(delivery)) = timeout(bounds::CALL_DEADLINE, next(&mut consumer)).await {
        taken.push(delivery?);
    }
    Ok(taken)
}

async fn next(consumer: &mut Consumer) -> Option<Result<Delivery, Fault>> {
    let delivery = poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await?;
    Some(delivery.map_err(|error| Fault::of(&error)))
}
