//! A message and its confirmation.

use std::sync::Arc;

use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation};
use tokio::time::{Instant, timeout_at};

use crate::fault::Fault;
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
    payload: &[u8],
    deadline: Instant,
) -> Result<(), Fault> {
    let published = async {
        let held = Held::acquire(session).await?;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let Route { exchange, routing_key } = route.clone();
        let lost = |error: lapin::Error| Fault::of(&error);
        let confirm = held.channel().basic_publish(exchange, routing_key, options, payload, properties);
        let confirmation = confirm.await.map_err(lost)?.await.map_err(lost)?;
        let verdict = verdict(confirmation)?;
        held.put_back();
        verdict
    };
    timeout_at(deadline, published).await.unwrap_or(Err(Fault::Late))
}

/// The outer error is for a channel that must not be used again.
fn verdict(confirmation: Confirmation) -> Result<Result<(), Fault>, Fault> {
    match confirmation {
        Confirmation::Ack(None) => Ok(Ok(())),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            let key = returned.routing_key.as_str();
            Ok(Err(Fault::Missing(format!("{} for routing key `{key}`", returned.reply_text))))
        }
        // A channel that a full quorum queue has refused once may be refused for ever, even when the queue's bound
        // has been raised; another one isn't.
        Confirmation::Nack(None) => Err(Fault::Nacked),
        Confirmation::NotRequested => Err(Fault::Lost("the channel doesn't confirm".into())),
    }
}
