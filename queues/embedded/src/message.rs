//! A message on its way into the store and out of it, and the checksum that tells whether it is the same.

use std::time::Duration;

use bytes::Bytes;
use sluiced_queue::{Encoded, Format, WebHookQueueContext};
use uuid::Uuid;

/// A message to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// What workers get.
    pub payload: Bytes,
    /// Message headers that go with it; mostly none.
    pub headers: Vec<(String, String)>,
    /// Its id.
    pub message_id: Uuid,
    /// The message is left out if one of this id and queue was appended with a window that hasn't ended;
    /// otherwise the id is claimed for so long. `None`: neither looks nor claims.
    pub dedupe_for: Option<Duration>,
}

impl NewMessage {
    /// A message without headers, which is never left out.
    pub fn new(payload: impl Into<Bytes>, message_id: Uuid) -> Self {
        Self { payload: payload.into(), headers: Vec::new(), message_id, dedupe_for: None }
    }

    /// A webhook in a form.
    pub fn of(context: &WebHookQueueContext, format: Format) -> Self {
        // Nothing keeps the content type: the form tells it, and in a raw message the headers do.
        let Encoded { payload, headers, content_type: _ } = context.encode_as(format);
        Self { payload, headers, message_id: context.message_id, dedupe_for: context.dedupe_for }
    }
}

/// A message as it lies in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) payload: Bytes,
    /// As JSON; `None` where there are none.
    pub(crate) headers: Option<String>,
    pub(crate) message_id: Uuid,
}

impl Stored {
    /// What it counts as against every bound in bytes; [`BYTES`] says the same in SQL.
    pub(crate) fn bytes(&self) -> usize {
        self.payload.len() + self.headers.as_ref().map_or(0, String::len)
    }
}

impl From<NewMessage> for Stored {
    fn from(NewMessage { payload, headers, message_id, dedupe_for: _ }: NewMessage) -> Self {
        // Strings always have a JSON text.
        let headers = (!headers.is_empty()).then(|| serde_json::to_string(&headers).unwrap_or_default());
        Self { payload, headers, message_id }
    }
}

/// [`Stored::bytes`] of a row. SQLite has the lengths in front of the row and doesn't read it.
pub(crate) const BYTES: &str = "(length(message) + coalesce(octet_length(headers), 0))";

/// Covers headers where there are any; without them it is that of the payload alone, as in version 1.
pub(crate) fn crc32(payload: &[u8], headers: Option<&str>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(payload);
    hasher.update(headers.unwrap_or_default().as_bytes());
    hasher.finalize()
}

/// Message headers out of a row; `None` if that isn't what was written.
pub(crate) fn headers(json: Option<&str>) -> Option<Vec<(String, String)>> {
    json.map_or(Some(Vec::new()), |json| serde_json::from_str(json).ok())
}
