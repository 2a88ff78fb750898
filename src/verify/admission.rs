//! What becomes of a delivery: an event, an answer, or a refusal.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::fetched::KeyRequest;
use super::secret::Secret;
use super::verified::Verified;
use crate::delivery::Delivery;
use crate::reason::Reason;

/// The verdict.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives for each delivery, and not for long")]
pub enum Admission {
    /// Authentic, to be handled.
    Event(Verified),
    /// A handshake, answered and done with.
    Answered {
        /// What to send.
        reply: Reply,
        /// Its name in the row.
        handshake: String,
        /// A secret that the sender handed over, to be the receiver's from now on.
        captured: Option<Secret>,
        /// An address to call, outside of the request, to confirm; of a host that the row allows.
        visit: Option<String>,
    },
    /// Not authentic, or not what a strict row takes.
    Refused(Refusal),
    /// Nobody can tell without a document that isn't there yet: fetch it and ask again.
    NeedsKey {
        /// What to fetch.
        request: KeyRequest,
        /// The delivery, handed back.
        delivery: Box<Delivery>,
    },
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For log, metric and problem body.
    pub reason: Reason,
    /// For the log at debug level; never holds anything of the request or a secret.
    pub detail: &'static str,
    /// The status that the provider wants instead of the reason's.
    pub status: Option<StatusCode>,
    /// Whether the scheme's own conditions said that it isn't meant.
    is_applicable: bool,
}

impl Refusal {
    /// A refusal for that reason.
    pub const fn new(reason: Reason, detail: &'static str) -> Self {
        Self { reason, detail, status: None, is_applicable: true }
    }

    /// The answer while a key can't be had: not a word on authenticity.
    pub const fn key_unavailable(detail: &'static str) -> Self {
        Self::new(Reason::KeyUnavailable, detail)
    }

    /// The same with the status that the provider wants, unless one is set already.
    pub(super) fn with_status(self, status: Option<StatusCode>) -> Self {
        Self { status: self.status.or(status), ..self }
    }

    /// Says that the scheme isn't meant; any other refusal says more.
    pub(super) const fn not_applicable(self) -> Self {
        Self { is_applicable: false, ..self }
    }

    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.reason.status())
    }

    /// How far verification came: of several schemes' refusals the furthest says most.
    pub(super) fn progress(&self) -> u8 {
        match self.reason {
            _ if !self.is_applicable => 0,
            Reason::SignatureMissing => 1,
            Reason::BodyMalformed => 2,
            Reason::TimestampMissing => 3,
            Reason::SignatureMalformed => 4,
            Reason::TokenMismatch | Reason::SignatureMismatch => 5,
            Reason::TimestampMalformed => 6,
            Reason::TimestampOutOfTolerance => 7,
            _ => 8,
        }
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The content type.
    pub content_type: Option<HeaderValue>,
    /// Headers besides.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A plain text answer; a status that HTTP doesn't have counts as 200.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or_default(),
            content_type: Some(HeaderValue::from_static("text/plain; charset=utf-8")),
            headers: Vec::new(),
            body: Bytes::from(body.into()),
        }
    }
}
