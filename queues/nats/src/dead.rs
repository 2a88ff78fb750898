//! The dead letters, for an operator's commands.

use std::sync::Arc;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    DeleteMessageErrorKind, LastRawMessageErrorKind, RawMessageError, Stream,
};
use async_trait::async_trait;
use jiff::Timestamp;
use sluiced_queue::{ConsumeError, DeadLetter, DeadLetterError, DeadLetterStore};

use crate::bounds;
use crate::letters::{self, Morgue};
use crate::link::Link;
use crate::options::{Destination, Options};
use crate::post::{self, Pace};
use crate::settings::Settings;
use crate::stream::{self, Found};
use crate::subject;
use crate::supervisor::Connection;
use crate::target::{Target, Targets};

/// The dead letters of one queue, in the stream `WEBHOOKS_DEAD`. A clone shares the connection.
#[derive(Clone, Debug)]
pub struct NatsDeadLetters {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    morgue: Morgue,
    pace: Pace,
}

impl NatsDeadLetters {
    /// Connects. There need not be any dead letters yet, nor a stream for them.
    ///
    /// # Errors
    /// `Unavailable` while there is no server; `Failed` when the options can't be meant so.
    pub async fn connect(options: Options) -> Result<Self, ConsumeError> {
        let wrong = |error: crate::OptionsError| ConsumeError::Failed(error.to_string());
        let settings = Settings::of(&options).map_err(wrong)?;
        let target = Target::of(&options, &Destination::default()).map_err(wrong)?;
        let connection = Connection::start_for_first(settings, Arc::new(Targets::default()));
        let deadline = tokio::time::Instant::now() + bounds::CHECK_DEADLINE;
        connection.first(deadline).await.map_err(|down| ConsumeError::Unavailable(down.why))?;
        let pace = Pace { ack_timeout: options.ack_timeout, deadline: options.publish_deadline };
        let morgue = Morgue::of(&options, &target);
        Ok(Self { shared: Arc::new(Shared { connection, morgue, pace }) })
    }

    /// The stream, or `None` as long as nothing has died.
    async fn stream(&self) -> Result<Option<(Arc<Link>, Stream<()>)>, DeadLetterError> {
        let deadline = tokio::time::Instant::now() + bounds::API_TIMEOUT;
        let link = self.shared.connection.wait(deadline).await;
        let link = link.map_err(|down| DeadLetterError::Unavailable(down.why))?;
        let name = &self.shared.morgue.stream;
        match stream::find(&link, name).await {
            Found::Stream(_) => {}
            Found::Missing => return Ok(None),
            Found::Forbidden(why) | Found::Trouble(why) => {
                return Err(DeadLetterError::Unavailable(format!("stream {name}: {why}")));
            }
        }
        let stream = link.jetstream.get_stream_no_info(name).await;
        let stream = stream.map_err(|error| DeadLetterError::Unavailable(error.to_string()))?;
        Ok(Some((link, stream)))
    }

    /// One of them, as it is stored.
    async fn find(&self, id: &str) -> Result<(Arc<Link>, Stream<()>, StreamMessage), DeadLetterError> {
        let missing = || DeadLetterError::NotFound(id.to_owned());
        let sequence: u64 = id.parse().ok().filter(|sequence| *sequence > 0).ok_or_else(missing)?;
        let (link, stream) = self.stream().await?.ok_or_else(missing)?;
        let message = stream.get_raw_message(sequence).await;
        let message =
            message.map_err(|error| if is_none(&error) { missing() } else { unreadable(&error) })?;
        // The stream may hold another queue's.
        if !subject::covers(&[self.shared.morgue.filter()], &message.subject) {
            return Err(missing());
        }
        Ok((link, stream, message))
    }

    async fn delete(&self, stream: &Stream<()>, sequence: u64) -> Result<(), DeadLetterError> {
        let missing = || DeadLetterError::NotFound(sequence.to_string());
        match stream.delete_message(sequence).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(missing()),
            Err(error) => Err(match error.kind() {
                DeleteMessageErrorKind::JetStream(error)
                    if matches!(
                        error.error_code(),
                        ErrorCode::NO_MESSAGE_FOUND
                            | ErrorCode::STREAM_MESSAGE_DELETE_FAILED
                            | ErrorCode::SEQUENCE_NOT_FOUND
                    ) && error.code() != 503 =>
                {
                    // Or it may not be deleted (`deny_delete`), which has the same code.
                    if stream.get_raw_message(sequence).await.is_ok() {
                        return Err(DeadLetterError::Unavailable(error.to_string()));
                    }
                    missing()
                }
                _ => DeadLetterError::Unavailable(stream::cause(&error)),
            }),
        }
    }

    /// A stream that acknowledges what it doesn't keep would make `retry` a purge.
    async fn takes(&self, link: &Link, name: &str, subject: &str) -> Result<(), DeadLetterError> {
        let why = match stream::find(link, name).await {
            Found::Stream(seen) => match stream::unfit(&seen, subject) {
                None => return Ok(()),
                Some(unfit) => unfit.why,
            },
            Found::Forbidden(_) => return Ok(()),
            Found::Missing => format!("stream {name} doesn't exist"),
            Found::Trouble(why) => why,
        };
        Err(DeadLetterError::Unavailable(why))
    }
}

#[async_trait]
impl DeadLetterStore for NatsDeadLetters {
    async fn list(&self, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let after: u64 = match after {
            None => 0,
            Some(id) => id.parse().map_err(|_| DeadLetterError::NotFound(id.to_owned()))?,
        };
        let Some((_, stream)) = self.stream().await? else { return Ok(Vec::new()) };
        let (mut page, mut bytes, mut next) = (Vec::new(), 0, after.saturating_add(1));
        while page.len() < max && bytes < bounds::DEAD_PAGE_BYTES {
            match stream.get_first_raw_message_by_subject(self.shared.morgue.filter(), next).await {
                Ok(message) => {
                    bytes += message.payload.len();
                    next = message.sequence.saturating_add(1);
                    page.push(dead_letter(&message));
                }
                Err(error) if is_none(&error) => break,
                Err(error) => return Err(unreadable(&error)),
            }
        }
        Ok(page)
    }

    async fn show(&self, id: &str) -> Result<DeadLetter, DeadLetterError> {
        self.find(id).await.map(|(_, _, message)| dead_letter(&message))
    }

    async fn retry(&self, id: &str) -> Result<(), DeadLetterError> {
        let (link, stream, message) = self.find(id).await?;
        let letter = letters::revived(&message.headers, message.payload, message.sequence)
            .ok_or_else(|| DeadLetterError::Damaged(id.to_owned()))?;
        self.takes(&link, &letter.stream, &letter.subject).await?;
        let sent = post::send(&self.shared.connection, &letter, self.shared.pace).await;
        sent.map_err(|error| DeadLetterError::Unavailable(error.to_string()))?;
        match self.delete(&stream, message.sequence).await {
            // Somebody else retried it at the same time, under the same id.
            Err(DeadLetterError::NotFound(_)) => Ok(()),
            deleted => deleted,
        }
    }

    async fn purge(&self, id: &str) -> Result<(), DeadLetterError> {
        let (_, stream, message) = self.find(id).await?;
        self.delete(&stream, message.sequence).await
    }
}

fn dead_letter(message: &StreamMessage) -> DeadLetter {
    let epitaph = letters::epitaph(&message.headers);
    let stored = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    DeadLetter {
        id: message.sequence.to_string(),
        message_id: epitaph.message_id,
        message: message.payload.clone(),
        headers: letters::of_form(&message.headers),
        attempts: epitaph.attempts,
        reason: epitaph.reason,
        died_at: epitaph.died_at.unwrap_or_else(|| Timestamp::from_millisecond(stored).unwrap_or_default()),
    }
}

fn is_none(error: &RawMessageError) -> bool {
    match error.kind() {
        LastRawMessageErrorKind::NoMessageFound => true,
        LastRawMessageErrorKind::JetStream(error) => error.error_code() == ErrorCode::NO_MESSAGE_FOUND,
        _ => false,
    }
}

fn unreadable(error: &RawMessageError) -> DeadLetterError {
    DeadLetterError::Unavailable(stream::cause(error))
}
