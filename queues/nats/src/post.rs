//! Publishes one message until the server has acknowledged it, or it is too late.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestErrorKind};
use bytes::Bytes;
use sluiced_queue::EnqueueError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::bounds;
use crate::headers;
use crate::link::{Down, Link};
use crate::supervisor::Connection;

/// A message as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// The stream that is to take it.
    pub(crate) stream: String,
    pub(crate) subject: String,
    /// With a `Nats-Msg-Id`: a letter may be sent more than once.
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Letter {
    /// What the server counts: payload and headers.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.len() + headers::wire_len(&self.headers)
    }
}

/// An acknowledged letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The first copy that was sent found one with its id there: it is of an earlier publish.
    pub(crate) duplicate: bool,
}

/// When to send again, and when to give up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) ack_timeout: Duration,
    pub(crate) deadline: Duration,
}

/// Bounds what waits for its acknowledgement.
#[derive(Debug)]
pub(crate) struct InFlight {
    messages: Arc<Semaphore>,
    units: Arc<Semaphore>,
}

const UNITS: usize = bounds::IN_FLIGHT_BYTES / bounds::IN_FLIGHT_UNIT;

impl InFlight {
    pub(crate) fn new() -> Self {
        Self {
            messages: Arc::new(Semaphore::new(bounds::IN_FLIGHT_MAX)),
            units: Arc::new(Semaphore::new(UNITS)),
        }
    }

    /// Room for one message, or an error at once: whoever would wait has a spool.
    pub(crate) fn enter(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], EnqueueError> {
        let full = |_| EnqueueError::Unavailable("too many messages wait for their acknowledgement".into());
        let units = bytes.div_ceil(bounds::IN_FLIGHT_UNIT).clamp(1, UNITS);
        let units = u32::try_from(units).expect("UNITS is far below 2^32");
        let message = self.messages.clone().try_acquire_owned().map_err(full)?;
        Ok([message, self.units.clone().try_acquire_many_owned(units).map_err(full)?])
    }

    /// Returns when nothing is in flight.
    pub(crate) async fn empty(&self) {
        let all = u32::try_from(bounds::IN_FLIGHT_MAX).expect("it is far below 2^32");
        let _ = self.messages.acquire_many(all).await;
    }
}

/// One sending of a letter.
enum Sent {
    Answered(Answer),
    /// It may have arrived or not: no answer in time, or the connection is gone.
    Unsure,
    NobodyThere,
    Impossible(EnqueueError),
}

/// Sends a letter until it is acknowledged. A copy that may have been stored already is sent again under the
/// same id, which the stream stores once as long as its duplicate window lasts.
pub(crate) async fn send(
    connection: &Connection,
    letter: &Letter,
    pace: Pace,
) -> Result<Stored, EnqueueError> {
    let deadline = Instant::now() + pace.deadline;
    let timed_out = || EnqueueError::TimedOut {
        deadline_ms: u64::try_from(pace.deadline.as_millis()).unwrap_or(u64::MAX),
    };
    // The first copy goes now or not at all; a further one may wait for the connection to come back.
    let mut link = connection.link().map_err(no_link)?;
    let mut first = true;
    loop {
        let until = deadline.min(Instant::now() + pace.ack_timeout);
        match send_once(&link, letter, until).await {
            Sent::Answered(Answer::Stored { duplicate }) => {
                link.granted(&letter.subject);
                return Ok(Stored { duplicate: duplicate && first });
            }
            Sent::Answered(Answer::Refused(error)) | Sent::Impossible(error) => return Err(error),
            Sent::Answered(Answer::Again) => tokio::time::sleep(bounds::CONFLICT_PAUSE).await,
            Sent::NobodyThere => {
                let why = format!("no stream takes {}", letter.subject);
                return Err(EnqueueError::Unroutable(why));
            }
            Sent::Unsure => {}
        }
        if let Some(text) = link.denied(&letter.subject) {
            return Err(EnqueueError::Misconfigured(text));
        }
        first = false;
        link = connection.wait(deadline).await.map_err(|_| timed_out())?;
        if Instant::now() >= deadline {
            return Err(timed_out());
        }
    }
}

async fn send_once(link: &Arc<Link>, letter: &Letter, until: Instant) -> Sent {
    let request =
        Request::new().payload(letter.payload.clone()).headers(letter.headers.clone()).timeout(None);
    let answered = tokio::select! {
        answered = tokio::time::timeout_at(until, link.client.send_request(letter.subject.clone(), request)) => answered,
        () = link.lost.cancelled() => return Sent::Unsure,
    };
    match answered {
        Ok(Ok(message)) => Sent::Answered(answer::read(&message, &letter.stream, letter.bytes())),
        Ok(Err(error)) => match error.kind() {
            RequestErrorKind::NoResponders => Sent::NobodyThere,
            RequestErrorKind::MaxPayloadExceeded => Sent::Impossible(EnqueueError::TooLarge {
                bytes: letter.bytes(),
                bytes_max: link.max_payload(),
            }),
            RequestErrorKind::InvalidSubject => {
                Sent::Impossible(EnqueueError::Misconfigured(format!("`{}` is no subject", letter.subject)))
            }
            RequestErrorKind::TimedOut | RequestErrorKind::Other => Sent::Unsure,
        },
        Err(_) => Sent::Unsure,
    }
}

/// Why nothing was sent at all.
pub(crate) fn no_link(down: Down) -> EnqueueError {
    if down.refused { EnqueueError::Misconfigured(down.why) } else { EnqueueError::Unavailable(down.why) }
}
