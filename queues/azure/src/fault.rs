//! What can go wrong in a call to Azure, in closed kinds, and in one short line: Azure's own errors carry whole
//! XML documents, and the client's carry URLs with signatures in them.

#[cfg(test)]
mod tests;

use std::error::Error as _;
use std::time::Duration;

use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::HeaderName;
use sluiced_queue::{ConsumeError, EnqueueError};

use crate::bounds;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// For people: one line, without credentials.
    pub(crate) text: String,
    /// How long Azure asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No connection, or no token: nothing was sent.
    Unreachable,
    /// The connection broke under the request, which may have arrived.
    Broken,
    /// No answer in time to a request that may have arrived.
    Late,
    /// Too many requests for the queue or the account.
    Throttled,
    /// Azure failed; it may have done what was asked.
    ServerError,
    /// Who we are isn't believed.
    Refused,
    /// We are believed, and may not do this.
    NotPermitted,
    /// There is no such queue.
    NoQueue,
    /// The queue is going away, which takes Azure half a minute; it can't be created meanwhile.
    BeingDeleted,
    /// The queue that was to be created is there.
    QueueExists,
    /// The message is longer than Azure takes.
    TooLarge,
    /// The message isn't there any more, or somebody else has it.
    LeaseLost,
    /// Azure says no to the request itself.
    Rejected,
}

/// A lease that has ended and one that somebody else has now.
const LEASE_LOST: [&str; 3] = ["MessageNotFound", "PopReceiptMismatch", "InvalidPopReceipt"];

/// 403 with these codes, and the credentials are right.
const NOT_PERMITTED: [&str; 4] = [
    "AuthorizationPermissionMismatch",
    "AuthorizationResourceTypeMismatch",
    "AuthorizationServiceMismatch",
    "InsufficientAccountPermissions",
];

impl Fault {
    pub(crate) fn late(after: Duration) -> Self {
        Self::new(Kind::Late, format!("no answer within {} ms", after.as_millis()))
    }

    pub(crate) fn new(kind: Kind, text: String) -> Self {
        Self { kind, text, retry_after: None }
    }

    /// Entra ID or the metadata service gave no token.
    pub(crate) fn no_token(error: &Error) -> Self {
        no_token(error)
    }

    /// Whether Azure may have done what was asked all the same.
    pub(crate) fn is_uncertain(&self) -> bool {
        matches!(self.kind, Kind::Broken | Kind::Late | Kind::ServerError)
    }

    /// What a worker is told.
    pub(crate) fn consume_error(self) -> ConsumeError {
        match self.kind {
            Kind::LeaseLost => ConsumeError::LeaseLost,
            Kind::TooLarge | Kind::QueueExists | Kind::Rejected => ConsumeError::Failed(self.text),
            // Also credentials: they may be mended while the worker waits.
            _ => ConsumeError::Unavailable(self.text),
        }
    }

    /// What the daemon is told of a message of `bytes`.
    pub(crate) fn enqueue_error(self, bytes: usize, deadline: Duration) -> EnqueueError {
        match self.kind {
            Kind::Late => EnqueueError::TimedOut {
                deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            },
            Kind::Unreachable | Kind::Broken | Kind::Throttled | Kind::ServerError => {
                EnqueueError::Unavailable(self.text)
            }
            Kind::Refused | Kind::NotPermitted => EnqueueError::Misconfigured(self.text),
            Kind::NoQueue | Kind::BeingDeleted => EnqueueError::Unroutable(self.text),
            Kind::TooLarge => EnqueueError::TooLarge { bytes, bytes_max: bounds::MESSAGE_BYTES_MAX },
            Kind::LeaseLost | Kind::QueueExists | Kind::Rejected => EnqueueError::Rejected(self.text),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse { status, raw_response, .. } => {
                answered(u16::from(*status), raw_response.as_deref())
            }
            ErrorKind::Connection => Self::new(Kind::Unreachable, format!("no connection: {}", root(&error))),
            ErrorKind::Io => Self::new(Kind::Broken, format!("the connection broke: {}", root(&error))),
            ErrorKind::Credential => of_token(&error),
            // An answer that can't be read: somebody else may be speaking there.
            ErrorKind::DataConversion => {
                Self::new(Kind::ServerError, "the answer isn't that of a queue service".into())
            }
            _ => Self::new(Kind::Rejected, short(&error.to_string())),
        }
    }
}

/// An answer that says no.
fn answered(status: u16, response: Option<&RawResponse>) -> Fault {
    let code = response.and_then(code).unwrap_or_default();
    let kind = kind(status, &code);
    let retry_after = response.and_then(retry_after);
    let said = if code.is_empty() { format!("{status}") } else { format!("{status} {code}") };
    let text = match kind {
        Kind::Throttled => format!("throttled by Azure ({said})"),
        Kind::Refused => format!(
            "Azure refused the credentials ({said}): check the key, the SAS and its end, the firewall, and this \
             machine's clock"
        ),
        Kind::NotPermitted => format!(
            "not permitted ({said}): a SAS needs sp=raup; Entra ID the role Storage Queue Data Contributor"
        ),
        _ if code.is_empty() && status < 500 => format!("{said} was answered, and not as Azure does it"),
        _ => format!("Azure answered {said}"),
    };
    Fault { kind, text, retry_after }
}

fn kind(status: u16, code: &str) -> Kind {
    match (status, code) {
        (_, "QueueNotFound") => Kind::NoQueue,
        (_, "QueueBeingDeleted") => Kind::BeingDeleted,
        (_, "QueueAlreadyExists") => Kind::QueueExists,
        (413, _) | (_, "RequestBodyTooLarge" | "MessageTooLarge") => Kind::TooLarge,
        (_, code) if LEASE_LOST.contains(&code) => Kind::LeaseLost,
        (429, _) | (_, "ServerBusy") => Kind::Throttled,
        (403, code) if NOT_PERMITTED.contains(&code) => Kind::NotPermitted,
        (401 | 403 | 407, _) | (_, "InvalidAuthenticationInfo") => Kind::Refused,
        (408 | 500..=599, _) => Kind::ServerError,
        // All that Azure refuses has a code. Without one somebody else speaks: a proxy, a captive portal.
        (_, "") => Kind::ServerError,
        _ => Kind::Rejected,
    }
}

/// Azure's code is in a header; a body has it too, for whom the header got lost.
fn code(response: &RawResponse) -> Option<String> {
    const HEADER: HeaderName = HeaderName::from_static("x-ms-error-code");
    let of_body = || {
        let text = std::str::from_utf8(response.body()).ok()?;
        let (_, rest) = text.split_once("<Code>")?;
        Some(rest.split_once("</Code>")?.0)
    };
    let code = response.headers().get_optional_str(&HEADER).or_else(of_body)?;
    let fits = code.len() <= 64 && !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| code.to_owned())
}

fn retry_after(response: &RawResponse) -> Option<Duration> {
    let value = |name: &'static str| -> Option<u64> {
        response.headers().get_optional_str(&HeaderName::from_static(name))?.trim().parse().ok()
    };
    let asked = value("x-ms-retry-after-ms")
        .or_else(|| value("retry-after-ms"))
        .map(Duration::from_millis)
        .or_else(|| value("retry-after").map(Duration::from_secs))?;
    Some(asked.min(bounds::RETRY_AFTER_MAX))
}

/// What was found out when the token didn't come.
fn of_token(error: &Error) -> Fault {
    match error.source().and_then(|source| source.downcast_ref::<Fault>()) {
        Some(fault) => fault.clone(),
        None => no_token(error),
    }
}

fn no_token(error: &Error) -> Fault {
    if let ErrorKind::HttpResponse { status, .. } = error.kind() {
        return token_refused(u16::from(*status), &error.to_string());
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(ErrorKind::HttpResponse { status, .. }) = cause.downcast_ref::<Error>().map(Error::kind) {
            return token_refused(u16::from(*status), &error.to_string());
        }
        source = cause.source();
    }
    let why =
        if error.kind() == &ErrorKind::DataConversion { "it can't be read".into() } else { root(error) };
    Fault::new(Kind::Unreachable, format!("no token from Entra ID: {why}"))
}

fn token_refused(status: u16, text: &str) -> Fault {
    let said = aadsts(text).map_or_else(String::new, |code| format!(" {code}"));
    if matches!(status, 400..=499) && !matches!(status, 404 | 408 | 410 | 429) {
        Fault::new(Kind::Refused, format!("Entra ID refused the credentials ({status}{said})"))
    } else {
        Fault::new(Kind::Unreachable, format!("no token from Entra ID ({status}{said})"))
    }
}

/// Entra ID's own code, which is what one searches for: `AADSTS7000215`.
fn aadsts(text: &str) -> Option<String> {
    const PREFIX: &str = "AADSTS";
    let (_, rest) = text.split_once(PREFIX)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(12).collect();
    (!digits.is_empty()).then(|| format!("{PREFIX}{digits}"))
}

/// The innermost cause: `Connection refused`, not the wrappings, some of which show the URL.
fn root(error: &Error) -> String {
    let mut cause = error.source();
    let mut text = None;
    while let Some(inner) = cause {
        if !inner.is::<reqwest::Error>() {
            text = Some(inner.to_string());
        }
        cause = inner.source();
    }
    short(text.as_deref().unwrap_or("no more is known"))
}

fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(bounds::ERROR_TEXT_MAX).collect()
}
