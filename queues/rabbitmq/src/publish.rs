//! A message and its confirmation.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use crate::fault::Fault;
use crate::frame;
use crate::pool::Held;
use crate::session::Session;

/// Where a message goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
}

impl Route {
    /// To one queue, through the default exchange.
    pub(crate) fn queue(name: &str) -> Self {
        Self { exchange: ShortString::from(""), routing_key: crate::message::short(name) }
    }
}

/// Publishes, mandatory, and waits for the confirmation until `deadline`. `Ok` means: the broker confirmed the
/// message and did not return it. After `Late` it may still be stored.
pub(crate) async fn publish(
    session: &Arc<Session>,
    route: &Route,
    properties: BasicProperties,
    payload: Bytes,
    deadline: Instant,
) -> Result<(), Fault> {
    let frame_bytes = session.frame_bytes();
    if frame_bytes != 0 && frame::header_frame_bytes(&properties) > frame_bytes as usize {
        return Err(Fault::Lost("the message's headers are longer than the broker's frames".into()));
    }
    let published = async {
        let held = Held::acquire(session).await?;
        let lost = |error: lapin::Error| Fault::of(&error);
        let mut writing = Writing::begin(held, route.clone(), properties, payload);
        let confirmation = writing.written().await.map_err(lost)?.await.map_err(lost)?;
        let verdict = verdict(confirmation)?;
        if matches!(verdict, Err(Fault::Nacked)) {
            session.pool.refused();
        }
        writing.put_back();
        verdict
    };
    timeout_at(deadline, published).await.unwrap_or(Err(Fault::Late))
}

/// Ends when the connection has taken the message; then its confirmation can be waited for.
type Written = Pin<Box<dyn Future<Output = lapin::Result<PublisherConfirm>> + Send>>;

/// A message on its channel. The library sends what closes a channel before messages that still wait to be
/// written, and the broker ends the connection over a message on a closed channel: so what is given up meanwhile
/// is written first, and its channel closed then.
struct Writing {
    held: Option<Held>,
    written: Option<Written>,
}

impl Writing {
    fn begin(held: Held, route: Route, properties: BasicProperties, payload: Bytes) -> Self {
        let channel = held.channel().clone();
        let Route { exchange, routing_key } = route;
        let written = async move {
            let options = BasicPublishOptions { mandatory: true, immediate: false };
            channel.basic_publish(exchange, routing_key, options, &payload, properties).await
        };
        Self { held: Some(held), written: Some(Box::pin(written)) }
    }

    /// To be awaited once; given up meanwhile, it goes on.
    async fn written(&mut self) -> lapin::Result<PublisherConfirm> {
        let writing = self.written.as_mut().expect("only awaiting it takes it away");
        let written = writing.await;
        self.written = None;
        written
    }

    /// The answer has come: the next message may have the channel.
    fn put_back(mut self) {
        if let Some(held) = self.held.take() {
            held.put_back();
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let (Some(held), Some(written)) = (self.held.take(), self.written.take()) {
            held.close_after(written);
        }
    }
}

/// The outer error is for a channel that must not be used again.
fn verdict(confirmation: Confirmation) -> Result<Result<(), Fault>, Fault> {
    match confirmation {
        Confirmation::Ack(None) => Ok(Ok(())),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            let key = returned.routing_key.as_str();
            Ok(Err(Fault::Missing(format!("{} for routing key `{key}`", returned.reply_text))))
        }
        Confirmation::Nack(None) => Ok(Err(Fault::Nacked)),
        Confirmation::NotRequested => Err(Fault::Lost("the channel doesn't confirm".into())),
    }
}
