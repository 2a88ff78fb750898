//! Tells the server what has become of a message, until it says that it knows.

use std::time::Instant;

use async_nats::jetstream::AckKind;
use sluiced_queue::ConsumeError;

use crate::bounds;
use crate::lease::Held;
use crate::supervisor::Connection;

/// Sends a verdict, again if need be: the server takes one twice without harm, as long as the lease stands.
pub(crate) async fn send(connection: &Connection, held: &Held, verdict: AckKind) -> Result<(), ConsumeError> {
    let deadline = Instant::now() + bounds::SETTLE_DEADLINE;
    let mut why = "no answer".to_owned();
    loop {
        if Instant::now() >= held.until {
            return Err(ConsumeError::LeaseLost);
        }
        if Instant::now() >= deadline {
            return Err(ConsumeError::Unavailable(why));
        }
        let link =
            connection.wait(deadline.into()).await.map_err(|down| ConsumeError::Unavailable(down.why))?;
        let until = (Instant::now() + bounds::ACK_TIMEOUT).min(deadline);
        let awaited = link.awaited();
        let asked = link.client.request(held.verdict.clone(), verdict.into());
        let answered = tokio::select! {
            answered = tokio::time::timeout_at(until.into(), asked) => answered,
            () = link.lost.cancelled() => continue,
            text = link.api_denied("\"$JS.ACK.") => return Err(ConsumeError::Unavailable(text)),
        };
        if answered.is_ok() {
            awaited.answered();
        }
        match answered {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => {
                why = error.to_string();
                tokio::time::sleep(bounds::SETTLE_PAUSE).await;
            }
            Err(_) => {}
        }
    }
}
