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
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use uuid::Uuid;

use crate::bounds;
use crate::fault::Fault;
use crate::message::short;
use crate::session::answered;

/// Messages on their way onto a channel.
pub(crate) struct Intake<'a> {
    channel: &'a Channel,
    queue: &'a str,
    tag: ShortString,
    consumer: Consumer,
    taken: Vec<Delivery>,
}

impl<'a> Intake<'a> {
    /// Asks for up to `max` messages of a queue.
    pub(crate) async fn begin(channel: &'a Channel, queue: &'a str, max: usize) -> Result<Self, Fault> {
        let prefetch = u16::try_from(max.clamp(1, bounds::PREFETCH_MAX)).unwrap_or(u16::MAX);
        answered(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let tag = short(&format!("sluiced-{}", Uuid::now_v7()));
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(short(queue), tag.clone(), options, FieldTable::default());
        let consumer = answered(consume).await?;
        Ok(Self { channel, queue, tag, consumer, taken: Vec::new() })
    }

    /// Whether one has come, within so long.
    pub(crate) async fn has_come(&mut self, wait: Duration) -> Result<bool, Fault> {
        let Ok(first) = timeout(wait, next(&mut self.consumer)).await else { return Ok(false) };
        let gone = || Fault::Missing(format!("the queue {} has been deleted", self.queue));
        self.taken.push(first.ok_or_else(gone)??);
        Ok(true)
    }

    /// What the broker has sent by now; it sends no more.
    pub(crate) async fn end(mut self) -> Result<Vec<Delivery>, Fault> {
        answered(self.channel.basic_cancel(self.tag.clone(), BasicCancelOptions::default())).await?;
        // The end of the deliveries comes with the cancellation, so this waits for nobody.
        while let Ok(Some(delivery)) = timeout(bounds::CALL_DEADLINE, next(&mut self.consumer)).await {
            self.taken.push(delivery?);
        }
        Ok(self.taken)
    }
}

/// What is there now, up to `max`.
pub(crate) async fn take_ready(channel: &Channel, queue: &str, max: usize) -> Result<Vec<Delivery>, Fault> {
    Intake::begin(channel, queue, max).await?.end().await
}

async fn next(consumer: &mut Consumer) -> Option<Result<Delivery, Fault>> {
    let delivery = poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await?;
    Some(delivery.map_err(|error| Fault::of(&error)))
}
