//! Properties and headers of a message: what AMQP can carry, and within which limits.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use sluiced_queue::{Encoded, Format, WebHookQueueContext};

use crate::bounds;

/// AMQP's number for "written to disk".
pub(crate) const PERSISTENT: u8 = 2;

/// Of CloudEvents' attributes, by their AMQP binding.
const EVENT_PREFIX: &str = "cloudEvents:";

/// A message as it is published.
pub(crate) struct Message {
    pub(crate) encoded: Encoded,
    pub(crate) properties: BasicProperties,
}

impl Message {
    /// Encodes the message. A header frame can't be cut in pieces as bodies are, and one that is longer than a
    /// frame ends the connection: a message whose headers come near that carries everything in its body, in the
    /// form that needs no headers.
    pub(crate) fn encode(context: &WebHookQueueContext, format: Format, frame_bytes: u32) -> Self {
        let mut encoded = context.encode_for_headers(format, EVENT_PREFIX);
        let room = match frame_bytes {
            0 => usize::MAX,
            bytes => (bytes as usize).saturating_sub(bounds::HEADER_FRAME_RESERVE),
        };
        if header_bytes(&encoded.headers) > room {
            let whole = if format == Format::Raw { Format::Context } else { format };
            encoded = context.encode_as(whole);
        }
        let properties = properties(context, &encoded);
        Self { encoded, properties }
    }

    /// Body and headers, as the bound on a message's length counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.encoded.payload.len() + header_bytes(&self.encoded.headers)
    }
}

fn properties(context: &WebHookQueueContext, encoded: &Encoded) -> BasicProperties {
    let received = context.received_at.as_second();
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short(&context.message_id.to_string()))
        .with_app_id("sluiced".into())
        .with_timestamp(u64::try_from(received).unwrap_or_default())
        .with_headers(table(&encoded.headers));
    // The sender's text may be longer than AMQP takes, and stands whole in the context.
    let content_type = encoded.content_type.as_deref().and_then(|text| ShortString::try_new(text).ok());
    if let Some(content_type) = content_type {
        properties = properties.with_content_type(content_type);
    }
    properties
}

fn table(headers: &[(String, String)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(short(name), text(value));
    }
    table
}

/// A header's value; AMQP's long strings hold any bytes.
pub(crate) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

/// What they take in a header frame: each name with a length byte, each value with a type and four bytes.
fn header_bytes(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum()
}

/// A short string, cut at a character's end where the text is longer than AMQP takes.
pub(crate) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(bounds::SHORT_STRING_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::from(&text[..end])
}

#[cfg(test)]
pub(crate) use tests::sample;

#[cfg(test)]
mod tests;
