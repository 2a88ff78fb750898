//! One HTTP request to a receiver, complete and not yet verified.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;

/// A delivery: the request as received, its body whole. Nothing here has been verified.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The method.
    pub method: Method,
    /// The request target as received, percent-encoding kept.
    pub uri: Uri,
    /// The headers as received.
    pub headers: HeaderMap,
    /// The body's raw bytes.
    pub body: Bytes,
    /// The client's address.
    pub client: IpAddr,
    /// The id in the URL, percent-decoded, in the sender's spelling; empty without one.
    pub id: String,
    /// When the body was complete.
    pub received_at: Timestamp,
}

impl Delivery {
    /// The query as received, without the question mark; empty without one.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The content type as sent; `None` when it is absent or isn't text.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()
    }
}
