//! What AMQP's errors mean to us.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};
use sluiced_queue::{ConsumeError, EnqueueError};

/// Why something with the broker failed. The texts are short, and without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection or the channel has gone, or couldn't be had.
    Lost(String),
    /// User, password, virtual host or permission.
    Refused(String),
    /// There is no such queue or exchange, or nothing is bound to it.
    Missing(String),
    /// It is there, and isn't as asked for.
    Differs(String),
    /// The broker takes no message as long as this; its limit if it said so.
    TooLarge(Option<usize>),
    /// The queue is at its limit, or couldn't store the message.
    Nacked,
    /// No answer in time.
    Late,
    /// More publishes than may be under way.
    Busy,
}

impl Fault {
    /// Reads the library's error.
    pub(crate) fn of(error: &Error) -> Self {
        let ErrorKind::ProtocolError(amqp) = error.kind() else { return Self::Lost(text(error)) };
        let said = amqp.get_message().as_str().to_owned();
        match amqp.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Self::Missing(said),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Self::Refused(said),
            AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) => Self::TooLarge(None),
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) if said.contains("message size") => {
                Self::TooLarge(last_number(&said))
            }
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED) => {
                Self::Differs(said)
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH) => {
                Self::Refused(said)
            }
            _ => Self::Lost(said),
        }
    }

    /// In a sentence.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Lost(why) | Self::Refused(why) | Self::Missing(why) | Self::Differs(why) => why.clone(),
            Self::TooLarge(_) => "the broker takes no message as long as this".into(),
            Self::Nacked => NACKED.into(),
            Self::Late => "no answer in time".into(),
            Self::Busy => BUSY.into(),
        }
    }

    /// As the end of a publish of so many bytes that might have taken so long.
    pub(crate) fn into_enqueue_error(self, bytes: usize, bytes_max: usize, deadline_ms: u64) -> EnqueueError {
        match self {
            Self::Lost(why) => EnqueueError::Unavailable(why),
            Self::Refused(why) | Self::Differs(why) => EnqueueError::Misconfigured(why),
            Self::Missing(why) => EnqueueError::Unroutable(why),
            Self::TooLarge(limit) => EnqueueError::TooLarge { bytes, bytes_max: limit.unwrap_or(bytes_max) },
            Self::Nacked => EnqueueError::Full(NACKED.into()),
            Self::Late => EnqueueError::TimedOut { deadline_ms },
            Self::Busy => EnqueueError::Unavailable(BUSY.into()),
        }
    }

    /// As the end of a worker's call. All of these may pass by themselves.
    pub(crate) fn into_consume_error(self) -> ConsumeError {
        ConsumeError::Unavailable(self.text())
    }
}

const NACKED: &str = "the queue is at its limit, or could not store the message";
const BUSY: &str = "too many publishes are under way";

fn text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(io) => io.to_string(),
        ErrorKind::MissingHeartbeatError => "no heartbeat from the broker".into(),
        _ => error.to_string(),
    }
}

/// Of `message size 200 is larger than configured max size 100`.
fn last_number(text: &str) -> Option<usize> {
    text.rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_out_of_the_refusal() {
        assert_eq!(last_number("message size 200 is larger than configured max size 100"), Some(100));
        assert_eq!(last_number("no number"), None);
    }

    #[test]
    fn kinds_are_told_apart() {
        let of = |fault: Fault| fault.into_enqueue_error(9, 8, 7);
        assert!(matches!(of(Fault::Lost("x".into())), EnqueueError::Unavailable(_)));
        assert!(matches!(of(Fault::Refused("x".into())), EnqueueError::Misconfigured(_)));
        assert!(matches!(of(Fault::Missing("x".into())), EnqueueError::Unroutable(_)));
        assert!(matches!(of(Fault::Nacked), EnqueueError::Full(_)));
        assert_eq!(of(Fault::Late), EnqueueError::TimedOut { deadline_ms: 7 });
        assert_eq!(of(Fault::TooLarge(None)), EnqueueError::TooLarge { bytes: 9, bytes_max: 8 });
        assert_eq!(of(Fault::TooLarge(Some(5))), EnqueueError::TooLarge { bytes: 9, bytes_max: 5 });
    }
}
