//! CloudEvents 1.0 in binary mode: the payload is the bare body, and the attributes are message headers.

use std::fmt::Write;

use bytes::Bytes;

use super::{CONTEXT_HEADER, Encoded, Format};
use crate::context::WebHookQueueContext;
use crate::json::rfc3339_micros;

/// The prefix of the NATS binding. Like that of HTTP it percent-encodes values and has a header for
/// `datacontenttype` too; the AMQP binding (`cloudEvents:`) does neither.
pub const NATS_PREFIX: &str = "ce-";

impl WebHookQueueContext {
    /// The message in a form, for a backend whose messages have headers: CloudEvents are in binary mode
    /// there, with `prefix` before each attribute's name, the other forms are as ever. No header's value
    /// contains a control character, whatever the sender sent, and each is UTF-8.
    pub fn encode_for_headers(&self, format: Format, prefix: &str) -> Encoded {
        if format != Format::CloudEvents {
            return self.encode_as(format);
        }
        Encoded {
            payload: Bytes::copy_from_slice(self.data.bytes()),
            headers: self.event_headers(prefix),
            content_type: self.content_type.clone(),
        }
    }

    fn event_headers(&self, prefix: &str) -> Vec<(String, String)> {
        let like_http = prefix == NATS_PREFIX;
        let mut headers = Vec::with_capacity(12);
        let mut add = |name: &str, value: &str| {
            // An attribute that is there must not be empty.
            if !value.trim().is_empty() {
                let value = if like_http { percent_encoded(value) } else { printable(value) };
                headers.push((format!("{prefix}{name}"), value));
            }
        };
        add("specversion", "1.0");
        add("id", &self.message_id.to_string());
        add("source", &self.event_source());
        add("type", &self.event_type());
        add("subject", &self.id);
        add("time", &rfc3339_micros(self.received_at));
        if like_http {
            add("datacontenttype", self.content_type.as_deref().unwrap_or_default());
        }
        add("traceparent", self.traceparent.as_deref().unwrap_or_default());
        add("sluicedreceiver", &self.receiver);
        add("sluiceddeliveryid", self.delivery_id.as_deref().unwrap_or_default());
        headers.push((CONTEXT_HEADER.to_owned(), self.context_header()));
        headers
    }

    /// The context without its body, for [`CONTEXT_HEADER`]. JSON lets DEL and the C1 controls stand in a
    /// string as they are, a header doesn't.
    pub(super) fn context_header(&self) -> String {
        let json = self.envelope();
        if !json.contains(char::is_control) {
            return json;
        }
        let mut out = String::with_capacity(json.len() + 16);
        for c in json.chars() {
            if c.is_control() {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            } else {
                out.push(c);
            }
        }
        out
    }
}

/// The text without what would end a header, or start another.
pub(super) fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// As the HTTP and NATS bindings (3.1.3.2) have it: space, `"`, `%` and what isn't printable ASCII.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
