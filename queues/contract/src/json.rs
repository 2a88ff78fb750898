//! The message as JSON: `schema/webhook-queue-context.v1.schema.json` says what consumers may rely on.
//!
//! A JSON body stands in `data` byte for byte, white space round it included; nothing else in a
//! message puts white space between tokens, so that a reader can tell the body's own apart.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::context::{RequestFacts, WebHookQueueContext};
use crate::data::{Data, form_fields, is_encoding, is_form_type, is_json_space, is_json_type};
use crate::request_headers::RequestHeaders;

/// The format's version. It rises only when a consumer would break.
pub const VERSION: u32 = 1;

impl WebHookQueueContext {
    /// The message as it goes into the queue.
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(self.encoded_bytes_estimate());
        out.raw("{\"receiver\":").string(&self.receiver);
        out.raw(",\"id\":").string(&self.id);
        out.raw(",\"actions\":").strings(&self.actions);
        out.raw(",\"data\":").data(&self.data);
        out.raw(",\"version\":1,\"messageId\":\"");
        out.raw(self.message_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        out.raw("\",\"deliveryId\":").optional(self.delivery_id.as_deref());
        out.raw(",\"receivedAt\":\"").raw(&rfc3339_micros(self.received_at));
        out.raw("\",\"contentType\":").optional(self.content_type.as_deref());
        out.raw(",\"traceparent\":").optional(self.traceparent.as_deref());
        out.raw(",\"masked\":").strings(&self.masked);
        out.raw(",\"request\":").request(&self.request);
        if let Data::Form { raw, .. } = &self.data {
            out.raw(",\"body\":").string(raw);
        }
        if self.raw_body || matches!(&self.data, Data::Bytes(bytes) if !bytes.is_empty()) {
            out.raw(",\"bodyBase64\":\"").base64(self.data.bytes()).raw("\"");
        }
        out.raw("}");
        out.finish()
    }

    /// The context without its body, for forms that carry the body by itself. `encoded` tells a body
    /// that is carried as bytes although its type promises more.
    pub(crate) fn envelope(&self) -> String {
        let mut out = Writer::with_capacity(1 << 10);
        out.raw("{\"receiver\":").string(&self.receiver);
        out.raw(",\"id\":").string(&self.id);
        out.raw(",\"actions\":").strings(&self.actions);
        out.raw(",\"data\":null,\"version\":1,\"messageId\":").string(&self.message_id.to_string());
        out.raw(",\"deliveryId\":").optional(self.delivery_id.as_deref());
        out.raw(",\"receivedAt\":").string(&rfc3339_micros(self.received_at));
        out.raw(",\"contentType\":").optional(self.content_type.as_deref());
        out.raw(",\"traceparent\":").optional(self.traceparent.as_deref());
        out.raw(",\"masked\":").strings(&self.masked);
        out.raw(",\"request\":").request(&self.request);
        out.raw("}");
        String::from_utf8(out.0).expect("every part was a str")
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it isn't JSON, lacks a key, or is of a version that this reader doesn't know.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let wire: Wire<'_> =
            serde_json::from_slice(message).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        if wire.version != VERSION {
            return Err(DecodeError::Version(wire.version));
        }
        let data = wire.data(message)?;
        wire.into_context(data)
    }

    /// About the encoded length in bytes, rather more than less.
    pub fn encoded_bytes_estimate(&self) -> usize {
        let headers = self.request.headers.bytes() + 6 * self.request.headers.parts();
        let body = match &self.data {
            Data::Json(bytes) => bytes.len(),
            Data::Form { raw, .. } => 2 * raw.len() + raw.len() / 4,
            Data::Text(text) => text.len() + text.len() / 8,
            Data::Bytes(bytes) => bytes.len() / 3 * 4 + 8,
        };
        let raw = if self.raw_body { self.data.bytes().len() / 3 * 4 + 8 } else { 0 };
        512 + headers + body + raw + self.request.path.len() + self.request.query.len()
    }
}

/// Why a message can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not of the schema's shape.
    #[error("not a message: {0}")]
    Malformed(String),
    /// Written by a newer sluiced.
    #[error("the message has version {0}, this reader knows {VERSION}")]
    Version(u32),
    /// A key whose value can't be read.
    #[error("the message's {0} can't be read")]
    Field(&'static str),
}

/// RFC 3339 in UTC with exactly six decimals.
pub fn rfc3339_micros(at: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
    PRINTER.timestamp_to_string(&at)
}

/// Writes JSON without white space.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }

    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        // Nearly no name and no value has anything to escape, and whole texts are looked through and copied
        // many bytes at a time.
        let odd = |odd, &b: &u8| odd | (b < b' ') | (b == b'"') | (b == b'\\');
        if !text.as_bytes().iter().fold(false, odd) {
            return self.raw("\"").raw(text).raw("\"");
        }
        serde_json::to_writer(&mut self.0, text).expect("a Vec takes every byte and a str is JSON");
        self
    }

    fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.raw("null"),
        }
    }

    fn strings(&mut self, list: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        self.raw("[");
        for (at, text) in list.into_iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            self.string(text.as_ref());
        }
        self.raw("]")
    }

    pub(crate) fn data(&mut self, data: &Data) -> &mut Self {
        match data {
            Data::Json(bytes) => {
                self.0.extend_from_slice(bytes);
                self
            }
            Data::Form { fields, .. } => self.form(fields),
            Data::Text(text) => self.string(text),
            Data::Bytes(_) => self.raw("null"),
        }
    }

    fn form(&mut self, fields: &[(String, Vec<String>)]) -> &mut Self {
        self.raw("{");
        for (at, (name, values)) in fields.iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            self.string(name).raw(":");
            match values.as_slice() {
                [one] => self.string(one),
                many => self.strings(many),
            };
        }
        self.raw("}")
    }

    fn request(&mut self, request: &RequestFacts) -> &mut Self {
        self.raw("{\"method\":").string(&request.method);
        self.raw(",\"path\":").string(&request.path);
        self.raw(",\"query\":").string(&request.query);
        self.raw(",\"remoteAddr\":").string(&request.remote_addr);
        self.raw(",\"headers\":{");
        for (at, (name, values)) in request.headers.iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            self.string(name).raw(":").strings(values);
        }
        self.raw("}}")
    }

    pub(crate) fn base64(&mut self, bytes: &[u8]) -> &mut Self {
        let start = self.0.len();
        let length = base64::encoded_len(bytes.len(), true).expect("a body is far below usize::MAX / 4");
        self.0.resize(start + length, 0);
        BASE64.encode_slice(bytes, &mut self.0[start..]).expect("the slice has the encoded length");
        self
    }
}

/// The message as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    receiver: String,
    id: String,
    actions: Vec<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    version: u32,
    message_id: String,
    delivery_id: Option<String>,
    received_at: String,
    content_type: Option<String>,
    traceparent: Option<String>,
    masked: Vec<String>,
    request: WireRequest,
    body: Option<String>,
    body_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest {
    method: String,
    path: String,
    query: String,
    remote_addr: String,
    headers: Headers,
}

/// Headers in the order in which they stand in the message, which a map type would lose.
struct Headers(RequestHeaders);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Headers;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of header name to values")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = RequestHeaders::default();
                while let Some(entry) = map.next_entry::<String, Vec<String>>()? {
                    headers.extend([entry]);
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl From<WireRequest> for RequestFacts {
    fn from(wire: WireRequest) -> Self {
        Self {
            method: wire.method,
            path: wire.path,
            query: wire.query,
            remote_addr: wire.remote_addr,
            headers: wire.headers.0,
        }
    }
}

/// A context whose body is carried by itself.
pub(crate) struct Envelope<'a>(Wire<'a>);

impl<'a> Envelope<'a> {
    /// Reads what [`WebHookQueueContext::envelope`] wrote.
    pub(crate) fn read(envelope: &'a [u8]) -> Result<Self, DecodeError> {
        Wire::read(envelope).map(Self)
    }

    /// Whether the body's type promises JSON.
    pub(crate) fn holds_json(&self) -> bool {
        self.0.content_type.as_deref().is_none_or(|t| t.trim().is_empty() || is_json_type(t))
    }

    /// Puts the body in.
    pub(crate) fn open(self, body: Bytes) -> Result<WebHookQueueContext, DecodeError> {
        let data = Data::classify(self.0.content_type.as_deref(), self.0.is_encoded(), body);
        self.0.into_context(data)
    }
}

impl<'a> Wire<'a> {
    fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let wire: Wire<'a> =
            serde_json::from_slice(message).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        if wire.version == VERSION { Ok(wire) } else { Err(DecodeError::Version(wire.version)) }
    }

    fn into_context(self, data: Data) -> Result<WebHookQueueContext, DecodeError> {
        Ok(WebHookQueueContext {
            receiver: self.receiver,
            id: self.id,
            actions: self.actions,
            raw_body: self.body_base64.is_some() && !matches!(data, Data::Bytes(_)),
            data,
            message_id: self.message_id.parse().map_err(|_| DecodeError::Field("messageId"))?,
            delivery_id: self.delivery_id,
            received_at: self.received_at.parse().map_err(|_| DecodeError::Field("receivedAt"))?,
            content_type: self.content_type,
            traceparent: self.traceparent,
            masked: self.masked,
            request: self.request.into(),
            dedupe_for: None,
        })
    }

    /// Whether the request declared a `Content-Encoding`, so that its body was never looked into.
    fn is_encoded(&self) -> bool {
        self.request.headers.0.get_all("content-encoding").any(|value| is_encoding(value.as_bytes()))
    }

    /// The body, told from the keys that the writer sets for each kind.
    fn data(&self, message: &[u8]) -> Result<Data, DecodeError> {
        let content_type = self.content_type.as_deref();
        if let Some(raw) = &self.body {
            return Ok(Data::Form { raw: raw.clone(), fields: form_fields(raw) });
        }
        if self.data.get() == "null" {
            let bytes = match &self.body_base64 {
                Some(text) => BASE64.decode(text).map_err(|_| DecodeError::Field("bodyBase64"))?,
                None => Vec::new(),
            };
            return Ok(Data::Bytes(bytes.into()));
        }
        if content_type.is_none_or(|t| t.trim().is_empty() || is_json_type(t)) {
            return Ok(Data::Json(Bytes::copy_from_slice(value_with_space(message, self.data))));
        }
        if content_type.is_some_and(is_form_type) {
            return Err(DecodeError::Field("body"));
        }
        let text = serde_json::from_str(self.data.get()).map_err(|_| DecodeError::Field("data"))?;
        Ok(Data::Text(text))
    }
}

/// A value that is a part of `message`, together with the white space on both sides of it.
pub(crate) fn value_with_space<'m>(message: &'m [u8], value: &RawValue) -> &'m [u8] {
    let inner = value.get();
    let start = inner.as_ptr() as usize - message.as_ptr() as usize;
    let end = start + inner.len();
    let before = message[..start].iter().rev().take_while(|b| is_json_space(**b)).count();
    let after = message[end..].iter().take_while(|b| is_json_space(**b)).count();
    &message[start - before..end + after]
}

#[cfg(test)]
pub(crate) mod tests;
