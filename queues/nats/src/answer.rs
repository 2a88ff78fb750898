//! What the server's answer to a publish means.

use async_nats::Message;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, ErrorCode};
use sluiced_queue::EnqueueError;

/// An answer, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// In the stream, or there already under this id.
    Stored {
        duplicate: bool,
    },
    /// A copy with this id is on its way in; the same publish again will tell.
    Again,
    Refused(EnqueueError),
}

/// Reads an answer. Only the acknowledgement of the stream that was meant is one.
pub(crate) fn read(message: &Message, stream: &str, bytes: usize) -> Answer {
    match serde_json::from_slice::<Response<PublishAck>>(&message.payload) {
        Ok(Response::Ok(ack)) if ack.stream == stream && ack.sequence > 0 => {
            Answer::Stored { duplicate: ack.duplicate }
        }
        Ok(Response::Ok(ack)) => Answer::Refused(EnqueueError::Misconfigured(format!(
            "stream {} took a message that was meant for {stream}",
            ack.stream
        ))),
        Ok(Response::Err { error }) => refusal(&error, stream, bytes),
        Err(_) => Answer::Refused(EnqueueError::Misconfigured(
            "something that isn't JetStream answers on the subject".into(),
        )),
    }
}

/// By the server's error code, not by its words.
fn refusal(error: &jetstream::Error, stream: &str, bytes: usize) -> Answer {
    let text = || error.to_string();
    Answer::Refused(match error.error_code() {
        ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT => return Answer::Again,
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => EnqueueError::Full(text()),
        // The limit isn't in the answer, but it is below this.
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            EnqueueError::TooLarge { bytes, bytes_max: bytes.saturating_sub(1) }
        }
        ErrorCode::STREAM_NOT_MATCH | ErrorCode::STREAM_MISMATCH => {
            EnqueueError::Misconfigured(format!("another stream than {stream} takes the subject"))
        }
        ErrorCode::STREAM_NOT_FOUND => EnqueueError::Unroutable(text()),
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT | ErrorCode::NO_ACCOUNT | ErrorCode::STREAM_SEALED => {
            EnqueueError::Misconfigured(text())
        }
        // No leader, no quorum, shutting down, too busy.
        _ if matches!(error.code(), 500 | 503 | 429) => EnqueueError::Unavailable(text()),
        _ => EnqueueError::Rejected(text()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(payload: &str) -> Answer {
        let message = Message {
            subject: "_INBOX.x".into(),
            reply: None,
            payload: payload.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: payload.len(),
        };
        read(&message, "WEBHOOKS", 2000)
    }

    #[test]
    fn only_the_meant_streams_acknowledgement_is_one() {
        assert_eq!(answer(r#"{"stream":"WEBHOOKS","seq":7}"#), Answer::Stored { duplicate: false });
        assert_eq!(
            answer(r#"{"stream":"WEBHOOKS","seq":7,"duplicate":true}"#),
            Answer::Stored { duplicate: true }
        );
        for wrong in [r#"{"stream":"OTHER","seq":7}"#, r#"{"stream":"WEBHOOKS","seq":0}"#, "+OK", "", "{}"] {
            assert!(matches!(answer(wrong), Answer::Refused(EnqueueError::Misconfigured(_))), "{wrong}");
        }
    }

    #[test]
    fn errors_are_told_apart_by_their_code() {
        let error = |code: u32, err_code: u32| {
            answer(&format!(
                r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"x"}},"stream":"WEBHOOKS","seq":0}}"#
            ))
        };
        assert!(matches!(error(503, 10077), Answer::Refused(EnqueueError::Full(_))));
        assert!(matches!(error(503, 10023), Answer::Refused(EnqueueError::Full(_))));
        assert!(matches!(error(400, 10054), Answer::Refused(EnqueueError::TooLarge { bytes: 2000, .. })));
        assert!(matches!(error(400, 10060), Answer::Refused(EnqueueError::Misconfigured(_))));
        assert!(matches!(error(503, 10008), Answer::Refused(EnqueueError::Unavailable(_))));
        assert!(matches!(error(400, 10071), Answer::Refused(EnqueueError::Rejected(_))));
        assert_eq!(error(409, 10158), Answer::Again);
    }
}
