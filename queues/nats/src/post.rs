//! Publishes one message until the server has acknowledged it, or it is too late.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Request, RequestErrorKind};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
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

/// What a connection has to say to a letter.
enum Said {
    /// To the first copy, or to a further one.
    Answer(Answer, bool),
    /// It may have arrived or not, and no answer can come over this connection any more.
    Nothing,
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
    let late =
        EnqueueError::TimedOut { deadline_ms: u64::try_from(pace.deadline.as_millis()).unwrap_or(u64::MAX) };
    let deadline = Instant::now() + pace.deadline;
    let sending = send_and_send(connection, letter, pace.ack_timeout, deadline);
    match tokio::time::timeout_at(deadline, sending).await {
        Ok(Some(sent)) => sent,
        Ok(None) | Err(_) => Err(late),
    }
}

/// `None` when it became too late.
async fn send_and_send(
    connection: &Connection,
    letter: &Letter,
    ack_timeout: Duration,
    deadline: Instant,
) -> Option<Result<Stored, EnqueueError>> {
    // The first copy goes now or not at all; a further one may wait for the connection to come back.
    let mut link = match connection.link() {
        Ok(link) => link,
        Err(down) => return Some(Err(no_link(down))),
    };
    let (mut sent, mut alone) = (0, 0);
    loop {
        match over(&link, letter, ack_timeout, &mut sent).await {
            Said::Answer(Answer::Stored { duplicate }, first) => {
                link.granted(&letter.subject);
                return Some(Ok(Stored { duplicate: duplicate && first }));
            }
            Said::Answer(Answer::Refused(error), _) | Said::Impossible(error) => return Some(Err(error)),
            Said::Answer(Answer::Again, _) => tokio::time::sleep(bounds::CONFLICT_PAUSE).await,
            Said::NobodyThere if alone < bounds::NOBODY_TRIES => {
                alone += 1;
                tokio::time::sleep(bounds::NOBODY_PAUSE).await;
            }
            Said::NobodyThere => {
                let why = format!("no stream takes {}", letter.subject);
                return Some(Err(EnqueueError::Unroutable(why)));
            }
            Said::Nothing => {}
        }
        link = match connection.wait(deadline).await {
            Ok(link) => link,
            Err(_) if Instant::now() >= deadline => return None,
            // Closed: nobody reconnects any more.
            Err(down) => return Some(Err(no_link(down))),
        };
    }
}

/// Sends copies over one connection, each a while after the last, until one of them is answered: an answer
/// that takes longer than a copy's time is one all the same.
async fn over(link: &Link, letter: &Letter, ack_timeout: Duration, sent: &mut usize) -> Said {
    let mut copies = FuturesUnordered::new();
    let mut pause = ack_timeout;
    loop {
        copies.push(copy(link, letter, *sent == 0));
        *sent += 1;
        let next = Instant::now() + pause;
        // A server that is slow under load isn't helped by many copies.
        pause *= 2;
        while Instant::now() < next {
            tokio::select! {
                said = copies.next() => match said {
                    Some(Some(said)) => return said,
                    Some(None) if copies.is_empty() => return Said::Nothing,
                    Some(None) => {}
                    None => return Said::Nothing,
                },
                () = link.lost.cancelled() => return Said::Nothing,
                () = tokio::time::sleep_until(next) => {}
            }
        }
        if let Some(text) = link.denied(&letter.subject) {
            return Said::Impossible(EnqueueError::Misconfigured(text));
        }
    }
}

/// One copy; `None` when the connection gave up on it.
async fn copy(link: &Link, letter: &Letter, first: bool) -> Option<Said> {
    let request =
        Request::new().payload(letter.payload.clone()).headers(letter.headers.clone()).timeout(None);
    let awaited = link.awaited();
    let answer = link.client.send_request(letter.subject.clone(), request).await;
    awaited.answered();
    match answer {
        Ok(message) => Some(Said::Answer(answer::read(&message, &letter.stream, letter.bytes()), first)),
        Err(error) => match error.kind() {
            RequestErrorKind::NoResponders => Some(Said::NobodyThere),
            RequestErrorKind::MaxPayloadExceeded => Some(Said::Impossible(EnqueueError::TooLarge {
                bytes: letter.bytes(),
                bytes_max: link.max_payload(),
            })),
            RequestErrorKind::InvalidSubject => {
                let why = format!("`{}` is no subject", letter.subject);
                Some(Said::Impossible(EnqueueError::Misconfigured(why)))
            }
            RequestErrorKind::TimedOut | RequestErrorKind::Other => None,
        },
    }
}

/// Why nothing was sent at all.
pub(crate) fn no_link(down: Down) -> EnqueueError {
    if down.refused { EnqueueError::Misconfigured(down.why) } else { EnqueueError::Unavailable(down.why) }
}
