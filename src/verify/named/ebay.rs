//! eBay: ECDSA with SHA-1 over the body, in a header that is JSON in base64 and names the key.
//!
//! The rule (github.com/eBay/event-notification-nodejs-sdk): `X-EBAY-SIGNATURE` holds `kid` and `signature`, which
//! is DER in base64. What the header says of algorithms isn't asked: the row says which.

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::encoding::Encoding;
use crate::verify::error::CompileError;
use crate::verify::key_place::KeyPlace;
use crate::verify::source::Source;
use crate::verify::verdict::{Stop, Verdict};
use crate::verify::view::View;
use crate::verify::{public_key, signed, token};

#[derive(Debug)]
struct Ebay {
    sources: Vec<Source>,
    algorithm: &'static dyn VerificationAlgorithm,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Published(KeyPlace),
    Given(Vec<ParsedPublicKey>),
}

/// What the header holds.
#[derive(Deserialize)]
struct Header {
    kid: String,
    signature: String,
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let Parts { scheme, scope, secrets, .. } = *parts;
    let algorithm = public_key::algorithm(&scheme.algorithm)?;
    let place = if secrets.is_empty() { KeyPlace::of(scheme, scope)? } else { None };
    let keys = match place {
        Some(place) => Keys::Published(place),
        None => match public_key::parse_all(algorithm, secrets, &[]) {
            Ok(keys) => Keys::Given(keys),
            Err(problem) => return Ok(Err(problem)),
        },
    };
    let sources: Vec<Source> =
        scope.expand_all(&scheme.from)?.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?;
    if sources.is_empty() {
        return Err(CompileError::Incomplete { problem: "from says nowhere to look" });
    }
    Ok(Ok(Box::new(Ebay { sources, algorithm, keys })))
}

impl Named for Ebay {
    fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        let value = token::first(&self.sources, view).map_err(signed::refuse)?;
        let json = Encoding::Base64Any.decode(&value).ok_or(MALFORMED)?;
        let header: Header = serde_json::from_slice(&json).map_err(|_| MALFORMED)?;
        let signature = Encoding::Base64Any.decode(header.signature.as_bytes()).ok_or(MALFORMED)?;
        let is_signed = |keys: &[ParsedPublicKey]| {
            keys.iter().any(|key| key.verify_sig(&view.delivery.body, &signature).is_ok())
        };
        match &self.keys {
            Keys::Given(keys) => is_signed(keys).then_some(None).ok_or(Stop::from(MISMATCH)),
            Keys::Published(place) => {
                let found = place.keys_of(view, self.algorithm, Some(&header.kid), now)?;
                is_signed(&found.keys).then_some(None).ok_or_else(|| found.none_does(MISMATCH))
            }
        }
    }

    fn needs_secret(&self) -> bool {
        matches!(self.keys, Keys::Given(_))
    }
}

const MALFORMED: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the header is not JSON in base64 with kid and signature");
const MISMATCH: Refusal = Refusal::new(Reason::SignatureMismatch, "no key gives this signature");
