//! Why a delivery wasn't accepted: a closed list, and the one table that maps it to HTTP.

use http::StatusCode;

/// The `reason` of logs, metrics and problem bodies. `docs/reasons.md` tells what each means to the
/// sender, the operator and the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request isn't HTTP as RFC 9112 or RFC 9113 has it. Anybody can cause it.
    RequestMalformed,
    /// No receiver of that name and id. Anybody can cause it.
    UnknownReceiver,
    /// A receiver that isn't there for this address. The sender is told what it would be told if there were
    /// none.
    AddressNotAllowed,
    /// A method that the provider never sends.
    MethodNotAllowed,
    /// The signature, token or credential isn't there.
    SignatureMissing,
    /// The signature can't be decoded, or its header is repeated.
    SignatureMalformed,
    /// The signature is of another body, URL, timestamp or secret.
    SignatureMismatch,
    /// The scheme's timestamp isn't there.
    TimestampMissing,
    /// The timestamp isn't of the form that the scheme says.
    TimestampMalformed,
    /// The signature is right and too old, or too far ahead: a replay, or a clock that is off.
    TimestampOutOfTolerance,
    /// The static token or password is another.
    TokenMismatch,
    /// The certificate doesn't lead to a root that the scheme trusts.
    CertificateUntrusted,
    /// The scheme or a handshake must parse the body and can't.
    BodyMalformed,
    /// A handshake lacks what its answer needs, or a request that can only be a handshake is none.
    HandshakeMalformed,
    /// The sender hands over a secret, and the receiver has one already. Anybody can cause it.
    CaptureRefused,
    /// A strict row: no event name.
    EventMissing,
    /// A strict row: another content type.
    ContentType,
    /// More headers, or longer ones, than the bound.
    HeadersTooLarge,
    /// A body over the receiver's limit.
    BodyTooLarge,
    /// A message over the backend's limit.
    MessageTooLarge,
    /// Headers or body came too slowly.
    TooSlow,
    /// The body ended before its declared length. The sender hung up.
    BodyIncomplete,
    /// Over the rate limit.
    RateLimited,
    /// The connection doesn't begin with the PROXY header that a trusted proxy writes. Anybody can cause it.
    ProxyHeader,
    /// The TLS handshake failed. Anybody can cause it.
    TlsHandshake,
    /// A bound of ours is reached: connections, webhooks in flight, bytes of bodies.
    Overloaded,
    /// A key can't be fetched now.
    KeyUnavailable,
    /// A handler failed, or none took the webhook.
    HandlerFailed,
    /// The message can't be made durable now.
    NotDurable,
    /// The daemon is stopping.
    Draining,
}

impl Reason {
    /// Every reason, for tests and for tables.
    pub const ALL: [Self; 30] = [
        Self::RequestMalformed,
        Self::UnknownReceiver,
        Self::AddressNotAllowed,
        Self::MethodNotAllowed,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
        Self::TimestampMissing,
        Self::TimestampMalformed,
        Self::TimestampOutOfTolerance,
        Self::TokenMismatch,
        Self::CertificateUntrusted,
        Self::BodyMalformed,
        Self::HandshakeMalformed,
        Self::CaptureRefused,
        Self::EventMissing,
        Self::ContentType,
        Self::HeadersTooLarge,
        Self::BodyTooLarge,
        Self::MessageTooLarge,
        Self::TooSlow,
        Self::BodyIncomplete,
        Self::RateLimited,
        Self::ProxyHeader,
        Self::TlsHandshake,
        Self::Overloaded,
        Self::KeyUnavailable,
        Self::HandlerFailed,
        Self::NotDurable,
        Self::Draining,
    ];

    /// As it stands in logs, metrics and problem bodies.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The status that the sender sees, unless a provider's row says otherwise.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// The problem's title: what the sender may know.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// Whether it is our doing, not the sender's: logged as failed instead of refused.
    pub fn is_failure(self) -> bool {
        self.status().is_server_error()
    }

    /// What the sender is told: another reason, where this one would tell what it must not know.
    pub fn as_told(self) -> Self {
        match self {
            Self::AddressNotAllowed => Self::UnknownReceiver,
            told => told,
        }
    }

    /// Whether anybody can cause it without holding anything: its lines are thinned out in the log.
    pub fn is_noise(self) -> bool {
        let anybody = [
            Self::RequestMalformed,
            Self::MethodNotAllowed,
            Self::HeadersTooLarge,
            Self::TooSlow,
            Self::BodyIncomplete,
            Self::ProxyHeader,
            Self::TlsHandshake,
            Self::Overloaded,
        ];
        matches!(self.status().as_u16(), 401 | 404 | 429) || anybody.contains(&self)
    }

    /// The table.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::RequestMalformed => {
                ("request_malformed", S::BAD_REQUEST, "The request is not well-formed HTTP")
            }
            Self::UnknownReceiver => ("unknown_receiver", S::NOT_FOUND, "Not found"),
            Self::AddressNotAllowed => ("address_not_allowed", S::NOT_FOUND, "Not found"),
            Self::MethodNotAllowed => ("method_not_allowed", S::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::SignatureMissing => ("signature_missing", S::UNAUTHORIZED, "The signature is missing"),
            Self::SignatureMalformed => {
                ("signature_malformed", S::BAD_REQUEST, "The signature can't be decoded")
            }
            Self::SignatureMismatch => {
                ("signature_mismatch", S::UNAUTHORIZED, "The signature does not match")
            }
            Self::TimestampMissing => ("timestamp_missing", S::UNAUTHORIZED, "The timestamp is missing"),
            Self::TimestampMalformed => {
                ("timestamp_malformed", S::BAD_REQUEST, "The timestamp can't be read")
            }
            Self::TimestampOutOfTolerance => {
                ("timestamp_out_of_tolerance", S::UNAUTHORIZED, "The timestamp is outside the tolerance")
            }
            Self::TokenMismatch => ("token_mismatch", S::UNAUTHORIZED, "The token does not match"),
            Self::CertificateUntrusted => {
                ("certificate_untrusted", S::UNAUTHORIZED, "The certificate is not trusted")
            }
            Self::BodyMalformed => ("body_malformed", S::BAD_REQUEST, "The body can't be parsed"),
            Self::HandshakeMalformed => {
                ("handshake_malformed", S::BAD_REQUEST, "The request is no handshake of the provider")
            }
            Self::CaptureRefused => ("capture_refused", S::FORBIDDEN, "The receiver has its secret already"),
            Self::EventMissing => ("event_missing", S::BAD_REQUEST, "The event's name is missing"),
            Self::ContentType => {
                ("content_type", S::UNSUPPORTED_MEDIA_TYPE, "The content type is not supported")
            }
            Self::HeadersTooLarge => {
                ("headers_too_large", S::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large")
            }
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::MessageTooLarge => ("message_too_large", S::PAYLOAD_TOO_LARGE, "The message is too large"),
            Self::TooSlow => ("too_slow", S::REQUEST_TIMEOUT, "The request came too slowly"),
            Self::BodyIncomplete => ("body_incomplete", S::BAD_REQUEST, "The body is incomplete"),
            Self::RateLimited => ("rate_limited", S::TOO_MANY_REQUESTS, "Too many requests"),
            Self::ProxyHeader => ("proxy_header", S::BAD_REQUEST, "The PROXY header is missing or malformed"),
            Self::TlsHandshake => ("tls_handshake", S::BAD_REQUEST, "The TLS handshake failed"),
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "Overloaded"),
            Self::KeyUnavailable => ("key_unavailable", S::SERVICE_UNAVAILABLE, "Can't verify at the moment"),
            Self::HandlerFailed => {
                ("handler_failed", S::SERVICE_UNAVAILABLE, "Can't be handled at the moment")
            }
            Self::NotDurable => ("not_durable", S::SERVICE_UNAVAILABLE, "Can't be stored at the moment"),
            Self::Draining => ("draining", S::SERVICE_UNAVAILABLE, "Stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
    }

    #[test]
    fn our_own_outage_is_never_the_senders_fault() {
        for reason in [Reason::NotDurable, Reason::HandlerFailed, Reason::KeyUnavailable, Reason::Overloaded]
        {
            assert_eq!(reason.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
