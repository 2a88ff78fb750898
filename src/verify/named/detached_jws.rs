//! JSON Web Signatures whose payload is the request (RFC 7515, appendix F; RFC 7797): `HEADER..SIGNATURE`.
//!
//! The row's `message` is the payload. It is signed as base64url, unless the header says `"b64": false` and
//! that this must be understood.

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::encoding::Encoding;
use crate::verify::error::CompileError;
use crate::verify::jose::{Algorithm, object};
use crate::verify::key_place::KeyPlace;
use crate::verify::source::Source;
use crate::verify::template::{Context, Template};
use crate::verify::timestamp::{Clock, Place};
use crate::verify::verdict::{Stop, Verdict};
use crate::verify::view::View;
use crate::verify::{public_key, signed, token};

#[derive(Debug)]
struct DetachedJws {
    sources: Vec<Source>,
    payload: Template,
    clock: Option<Clock>,
    algorithms: Vec<(&'static str, &'static dyn VerificationAlgorithm)>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Published(KeyPlace),
    /// Of each algorithm those that fit.
    Given(Vec<(&'static str, ParsedPublicKey)>),
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let Parts { scheme, scope, secrets, tolerance } = *parts;
    let mut algorithms = Vec::new();
    for name in &scheme.algorithms {
        match Algorithm::named(name)? {
            Algorithm::Public(name, algorithm) => algorithms.push((name, algorithm)),
            Algorithm::Mac(..) => {
                return Err(CompileError::unknown("public-key algorithm", name, "RS…, ES…, EdDSA"));
            }
        }
    }
    let ([payload], false, false) = (&scheme.message[..], algorithms.is_empty(), scheme.from.is_empty())
    else {
        return Err(CompileError::Incomplete { problem: "it needs from, algorithms, and one message" });
    };
    let place = if secrets.is_empty() { KeyPlace::of(scheme, scope)? } else { None };
    let keys = match place {
        Some(place) => Keys::Published(place),
        None => {
            let mut given = Vec::new();
            for secret in secrets {
                let fits = |(name, algorithm): &(&'static str, &'static dyn VerificationAlgorithm)| {
                    let keys = public_key::parse(*algorithm, secret.bytes(), &[]).ok()?;
                    Some(keys.into_iter().map(|key| (*name, key)).collect::<Vec<_>>())
                };
                let fitting: Vec<_> = algorithms.iter().filter_map(fits).flatten().collect();
                if fitting.is_empty() {
                    return Ok(Err("it is no public key of the scheme's algorithms".to_owned()));
                }
                given.extend(fitting);
            }
            Keys::Given(given)
        }
    };
    let clock = scheme.timestamp.as_ref().map(|rule| Clock::compile(rule, scope, tolerance)).transpose()?;
    let sources = scope.expand_all(&scheme.from)?;
    Ok(Ok(Box::new(DetachedJws {
        sources: sources.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?,
        payload: Template::parse_message(payload, scope)?,
        clock: clock.flatten(),
        algorithms,
        keys,
    })))
}

impl Named for DetachedJws {
    fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        let value = token::first(&self.sources, view).map_err(signed::refuse)?;
        let jws = Detached::parse(&value).ok_or(MALFORMED)?;
        let time = self.time(view, &jws)?;
        let context = Context { timestamp: time.as_deref(), ..Context::of(view) };
        let payload = self.payload.bytes(&context).map_err(signed::refuse)?;
        self.verify_signature(view, &jws, &jws.input(payload), now)?;
        if let (Some(clock), Some(time)) = (&self.clock, &time) {
            clock.judge(time, now)?;
        }
        Ok(None)
    }

    fn needs_secret(&self) -> bool {
        matches!(self.keys, Keys::Given(_))
    }
}

impl DetachedJws {
    /// The time as written, in a header of the request or in the signature's own.
    fn time(&self, view: &View<'_>, jws: &Detached<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(clock) = &self.clock else { return Ok(None) };
        let time = match &clock.place {
            Place::Source(source) => source.one(view).ok().map(|time| time.into_owned()),
            Place::Signature(name) => jws.header.get(name).map(|time| match time {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            }),
        };
        time.map(Some).ok_or(NO_TIME)
    }

    fn verify_signature(
        &self,
        view: &View<'_>,
        jws: &Detached<'_>,
        input: &[u8],
        now: Timestamp,
    ) -> Result<(), Stop> {
        let mut known = self.algorithms.iter().filter(|(name, _)| jws.algorithm.eq(name));
        let (name, algorithm) = *known.next().ok_or(NOT_ACCEPTED)?;
        match &self.keys {
            Keys::Given(keys) => {
                let mut fitting = keys.iter().filter(|(of, _)| name.eq(*of));
                let is_signed = fitting.any(|(_, key)| key.verify_sig(input, &jws.signature).is_ok());
                is_signed.then_some(()).ok_or(MISMATCH.into())
            }
            Keys::Published(place) => {
                let found = place.keys_of(view, algorithm, jws.key_id(), now)?;
                let is_signed = found.keys.iter().any(|key| key.verify_sig(input, &jws.signature).is_ok());
                is_signed.then_some(()).ok_or_else(|| found.none_does(MISMATCH))
            }
        }
    }
}

const MALFORMED: Refusal = Refusal::new(Reason::SignatureMalformed, "it is no detached JSON Web Signature");
const NOT_ACCEPTED: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the signature names an algorithm that the row doesn't accept");
const NO_TIME: Refusal = Refusal::new(Reason::TimestampMissing, "the scheme's timestamp isn't there");
const MISMATCH: Refusal = Refusal::new(Reason::SignatureMismatch, "no key gives this signature");

/// A signature taken apart.
struct Detached<'t> {
    protected: &'t [u8],
    header: Map<String, Value>,
    algorithm: String,
    is_plain: bool,
    signature: Vec<u8>,
}

impl<'t> Detached<'t> {
    fn parse(value: &'t [u8]) -> Option<Self> {
        let mut parts = value.splitn(3, |byte| *byte == b'.');
        let (protected, b"", signature) = (parts.next()?, parts.next()?, parts.next()?) else { return None };
        let header = object(protected)?;
        let algorithm = header.get("alg")?.as_str()?.to_owned();
        let is_plain = match (header.get("crit"), header.get("b64")) {
            (None, None | Some(Value::Bool(true))) => false,
            (Some(Value::Array(names)), Some(Value::Bool(encoded))) if *names == ["b64"] => !*encoded,
            _ => return None,
        };
        let signature = Encoding::Base64UrlUnpadded.decode(signature)?;
        Some(Self { protected, header, algorithm, is_plain, signature })
    }

    fn key_id(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    fn input(&self, payload: Vec<u8>) -> Vec<u8> {
        let payload = match self.is_plain {
            true => payload,
            false => Encoding::Base64UrlUnpadded.encode(&payload).into_bytes(),
        };
        [self.protected, &payload].join(&b'.')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_must_be_understood_is_or_the_signature_is_refused() {
        let parse = |header: &str| {
            let protected = Encoding::Base64UrlUnpadded.encode(header.as_bytes());
            Detached::parse(format!("{protected}..AAAA").as_bytes()).map(|jws| jws.is_plain)
        };
        assert_eq!(parse(r#"{"alg":"RS256"}"#), Some(false));
        assert_eq!(parse(r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#), Some(true));
        assert_eq!(parse(r#"{"alg":"RS256","b64":false}"#), None);
        assert_eq!(parse(r#"{"alg":"RS256","crit":["exp"]}"#), None);
        assert_eq!(parse(r#"{"alg":"RS256","b64":false,"crit":["b64","x"]}"#), None);
        assert!(Detached::parse(b"e30.e30.AAAA").is_none());
    }

    proptest! {
        #[test]
        fn never_panics(value in "[a-zA-Z0-9_.=-]{0,60}") {
            let _ = Detached::parse(value.as_bytes());
        }
    }
}
