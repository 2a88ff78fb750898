//! The message: a verified webhook as a worker gets it.

use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::data::Data;
use crate::request_headers::RequestHeaders;

/// What stands in a message in place of a credential.
pub const MASK: &str = "***";

/// One verified webhook, on its way to a worker.
///
/// `receiver`, `id`, `actions` and `data` are those of ASP.NET WebHooks' class of this name; the
/// rest is what it left behind at the door: the request's headers, its exact bytes, its ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebHookQueueContext {
    /// The receiver's name as configured, in lower case: `github`.
    pub receiver: String,
    /// The id in the URL, percent-decoded and in the sender's spelling; empty without one.
    pub id: String,
    /// The event's names, in the order in which the provider gives them; often exactly one.
    pub actions: Vec<String>,
    /// The body.
    pub data: Data,
    /// `raw_body` of the receiver: the exact bytes are added in base64 whatever the body is.
    pub raw_body: bool,
    /// Names this message. A sender's retry of one event carries the same id, so a worker that
    /// remembers ids does each event's work once.
    pub message_id: Uuid,
    /// The provider's own id of the event, where it gives one.
    pub delivery_id: Option<String>,
    /// When the request's body was complete.
    pub received_at: Timestamp,
    /// The request's `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// W3C trace context, as sent; `None` when it was absent or malformed.
    pub traceparent: Option<String>,
    /// Where a credential was replaced by [`MASK`]: `header:authorization`, `query:code`, `form:token`, …
    pub masked: Vec<String>,
    /// The rest of the HTTP request.
    pub request: RequestFacts,
    /// For how long a further message with this id is to count as a duplicate; `None` for never. Speaks to
    /// the queue handler and isn't part of the message.
    pub dedupe_for: Option<Duration>,
}

/// What a worker may want to know of the HTTP request besides its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The method, `POST` nearly always.
    pub method: String,
    /// The path as received, still percent-encoded.
    pub path: String,
    /// The query as received, without the `?`; empty without one.
    pub query: String,
    /// The client's address.
    pub remote_addr: String,
    /// Every header and every value in the order of arrival; names in lower case. A value that
    /// isn't UTF-8 is read as Latin-1.
    pub headers: RequestHeaders,
}

impl RequestFacts {
    /// The first value of a header, asked for in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_all(name).next()
    }
}

impl WebHookQueueContext {
    /// The body read as JSON into a type of the caller's; `None` when it isn't JSON or doesn't fit.
    pub fn data_as<T: DeserializeOwned>(&self) -> Option<T> {
        self.data.parse()
    }
}
