//! What a scheme says of a delivery.

use bytes::Bytes;

use super::admission::Refusal;
use super::fetched::{KeyDocument, KeyRequest};

/// Authentic, with what is inside; or why not.
pub(super) type Verdict = Result<Inside, Stop>;

/// What an authentic body turned out to hold, where that isn't the body itself: a token's claims, a
/// decrypted text. Names and ids are read there; the message carries the body as received.
pub(super) type Inside = Option<Bytes>;

/// Why a scheme went no further.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// Not authentic.
    Refused(Refusal),
    /// It takes a document that isn't there.
    NeedsKey(KeyRequest),
}

impl Stop {
    /// Asks for a newer version of a document that didn't do; refuses when there can't be one.
    pub(super) fn outdated(request: &KeyRequest, document: &KeyDocument, refusal: Refusal) -> Self {
        match document.is_current {
            true => Self::Refused(refusal),
            false => Self::NeedsKey(KeyRequest { beyond: Some(document.version), ..request.clone() }),
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
