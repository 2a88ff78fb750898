//! The forms in which a message can go into a queue: the context as JSON, CloudEvents 1.0, or the bare body.
//!
//! Whatever the form, a worker gets the whole context back: [`WebHookQueueContext::decode_message`].

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::binary::printable;
use crate::context::WebHookQueueContext;
use crate::data::Data;
use crate::json::{DecodeError, Envelope, Writer, rfc3339_micros, value_with_space};

pub use self::binary::NATS_PREFIX;

/// `queue.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The context as JSON: [`crate::json`].
    #[default]
    Context,
    /// CloudEvents 1.0: structured JSON, or binary mode where messages have headers.
    CloudEvents,
    /// The bare body, with the rest in message headers.
    Raw,
}

impl Format {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::CloudEvents => "cloudevents",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message as it goes into a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// What the queue carries.
    pub payload: Bytes,
    /// Message headers, of [`Format::Raw`] and of CloudEvents in binary mode. No value has a control character.
    pub headers: Vec<(String, String)>,
    /// The payload's content type; of a bare body the sender's, which may be any text, or `None`.
    pub content_type: Option<String>,
}

/// Holds the context without its body, as JSON, where the payload is the bare body.
pub const CONTEXT_HEADER: &str = "sluiced-context";

impl WebHookQueueContext {
    /// The message in a form, for a backend whose messages need not have headers: CloudEvents are
    /// structured. See [`WebHookQueueContext::encode_for_headers`].
    pub fn encode_as(&self, format: Format) -> Encoded {
        match format {
            Format::Context => Encoded {
                payload: self.encode(),
                headers: Vec::new(),
                content_type: Some("application/json".into()),
            },
            Format::CloudEvents => Encoded {
                payload: self.cloud_event(),
                headers: Vec::new(),
                content_type: Some("application/cloudevents+json; charset=utf-8".into()),
            },
            Format::Raw => Encoded {
                payload: Bytes::copy_from_slice(self.data.bytes()),
                headers: self.raw_headers(),
                content_type: self.content_type.clone(),
            },
        }
    }

    /// Reads a message of any form.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn decode_message(payload: &[u8], headers: &[(String, String)]) -> Result<Self, DecodeError> {
        if let Some((_, envelope)) = headers.iter().find(|(name, _)| name == CONTEXT_HEADER) {
            return Envelope::read(envelope.as_bytes())?.open(Bytes::copy_from_slice(payload));
        }
        match serde_json::from_slice::<CloudEvent<'_>>(payload) {
            Ok(event) => event.open(payload),
            Err(_) => Self::decode(payload),
        }
    }

    /// What routers and people look at first, and then everything. A control character that the sender
    /// put into a name must not end a header.
    fn raw_headers(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            ("sluiced-receiver".to_owned(), printable(&self.receiver)),
            ("sluiced-id".to_owned(), printable(&self.id)),
            ("sluiced-actions".to_owned(), printable(&self.actions.join(","))),
            ("sluiced-message-id".to_owned(), self.message_id.to_string()),
        ];
        if let Some(id) = &self.delivery_id {
            headers.push(("sluiced-delivery-id".to_owned(), printable(id)));
        }
        headers.push((CONTEXT_HEADER.to_owned(), self.context_header()));
        headers
    }

    /// CloudEvents 1.0 in structured JSON. `data` is the body verbatim when it is JSON, a string when it
    /// is text or a form, and `data_base64` otherwise. The extension `sluicedcontext` holds the rest of the
    /// context, as JSON in a string, since an extension can't be an object.
    fn cloud_event(&self) -> Bytes {
        let mut out = Writer::with_capacity(self.encoded_bytes_estimate());
        out.raw("{\"specversion\":\"1.0\",\"id\":").string(&self.message_id.to_string());
        out.raw(",\"source\":").string(&self.event_source());
        out.raw(",\"type\":").string(&self.event_type());
        if !self.id.is_empty() {
            out.raw(",\"subject\":").string(&self.id);
        }
        out.raw(",\"time\":").string(&rfc3339_micros(self.received_at));
        if let Some(content_type) = self.content_type.as_deref().filter(|text| !text.trim().is_empty()) {
            out.raw(",\"datacontenttype\":").string(content_type);
        }
        if let Some(traceparent) = &self.traceparent {
            out.raw(",\"traceparent\":").string(traceparent);
        }
        out.raw(",\"sluicedreceiver\":").string(&self.receiver);
        if let Some(id) = &self.delivery_id {
            out.raw(",\"sluiceddeliveryid\":").string(id);
        }
        out.raw(",\"sluicedcontext\":").string(&self.envelope());
        match &self.data {
            Data::Json(_) => out.raw(",\"data\":").data(&self.data),
            Data::Form { raw, .. } => out.raw(",\"data\":").string(raw),
            Data::Text(text) => out.raw(",\"data\":").string(text),
            Data::Bytes(bytes) if bytes.is_empty() => &mut out,
            Data::Bytes(bytes) => out.raw(",\"data_base64\":\"").base64(bytes).raw("\""),
        };
        out.raw("}");
        out.finish()
    }

    /// A URI reference that tells receivers apart.
    fn event_source(&self) -> String {
        match self.id.as_str() {
            "" => format!("/sluiced/{}", self.receiver),
            id => {
                let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
                format!("/sluiced/{}/{id}", self.receiver)
            }
        }
    }

    /// `receiver.action`, or the receiver alone.
    fn event_type(&self) -> String {
        match self.actions.first().filter(|action| !action.is_empty()) {
            Some(action) => format!("{}.{action}", self.receiver),
            None => self.receiver.clone(),
        }
    }
}

/// One line of `work --print`. CR and LF between the tokens of the body become spaces, so one line is one
/// message, whatever the body is. A CloudEvent stays one; of the other forms the line is the context, with
/// the body's exact bytes in `bodyBase64`.
///
/// # Errors
/// When the message can't be read.
pub fn print_line(payload: &[u8], headers: &[(String, String)]) -> Result<Vec<u8>, DecodeError> {
    let context = WebHookQueueContext::decode_message(payload, headers)?;
    if headers.is_empty() && serde_json::from_slice::<CloudEvent<'_>>(payload).is_ok() {
        return Ok(on_one_line(payload));
    }
    let with_bytes = WebHookQueueContext { raw_body: true, ..context };
    Ok(on_one_line(&with_bytes.encode()))
}

/// Inside a JSON string neither byte can stand raw, so whatever is found lies between tokens.
fn on_one_line(json: &[u8]) -> Vec<u8> {
    json.iter().map(|&b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }).collect()
}

/// What of a CloudEvent takes us back to the context.
#[derive(Deserialize)]
struct CloudEvent<'a> {
    #[allow(dead_code)]
    specversion: String,
    sluicedcontext: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

impl CloudEvent<'_> {
    fn open(self, payload: &[u8]) -> Result<WebHookQueueContext, DecodeError> {
        use base64::Engine;
        let envelope = Envelope::read(self.sluicedcontext.as_bytes())?;
        if let Some(text) = self.data_base64 {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            return envelope.open(bytes.map_err(|_| DecodeError::Field("data_base64"))?.into());
        }
        let Some(data) = self.data else { return envelope.open(Bytes::new()) };
        if envelope.holds_json() {
            return envelope.open(Bytes::copy_from_slice(value_with_space(payload, data)));
        }
        let text: String = serde_json::from_str(data.get()).map_err(|_| DecodeError::Field("data"))?;
        envelope.open(text.into())
    }
}

mod binary;

#[cfg(test)]
mod tests;
