//! Signatures over a message: MAC, plain hash and public key differ only in how a candidate is checked.

use std::borrow::Cow;
use std::time::Duration;

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::admission::Refusal;
use super::compare;
use super::encoding::Encoding;
use super::error::CompileError;
use super::grammar::{Grammar, Malformed};
use super::key::{Derivation, Problem};
use super::key_place::KeyPlace;
use super::public_key;
use super::secret::Secret;
use super::settings::Scope;
use super::sink::Sink;
use super::source::{Gap, Source};
use super::template::{Context, Template};
use super::timestamp::{Clock, Place};
use super::variable::Variable;
use super::verdict::Stop;
use super::view::View;
use crate::catalog::{self, VerifyBy};
use crate::reason::Reason;

/// Candidates that are checked against a public key: each costs as much as a hundred MACs.
const PUBLIC_KEY_CANDIDATES_MAX: usize = 8;

/// A compiled scheme.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) sources: Vec<Source>,
    pub(super) grammar: Grammar,
    pub(super) encoding: Encoding,
    pub(super) messages: Vec<Template>,
    pub(super) clock: Option<Clock>,
    pub(super) keys: Keys,
}

/// What candidates are checked with, prepared once.
pub(super) enum Keys {
    Mac(Vec<MacKey>),
    Hash(&'static digest::Algorithm, Vec<Zeroizing<Vec<u8>>>),
    Public(Vec<ParsedPublicKey>),
    /// Found anew for each delivery.
    Published(KeyPlace, &'static dyn VerificationAlgorithm),
}

/// A MAC's key, and its bytes for messages that name the secret too.
pub(super) struct MacKey {
    key: hmac::Key,
    secret: Zeroizing<Vec<u8>>,
}

impl Signed {
    /// Compiles a row's scheme with the receiver's secrets.
    pub(super) fn compile(
        scheme: &catalog::Scheme,
        scope: &Scope<'_>,
        secrets: &[Secret],
        tolerance: Option<Duration>,
    ) -> Result<Result<Self, Problem>, CompileError> {
        let sources = scope.expand_all(&scheme.signature.from)?;
        let clock =
            scheme.timestamp.as_ref().map(|rule| Clock::compile(rule, scope, tolerance)).transpose()?;
        let keys = match Keys::compile(scheme, scope, secrets)? {
            Ok(keys) => keys,
            Err(problem) => return Ok(Err(problem)),
        };
        let signed = Self {
            sources: sources.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?,
            grammar: Grammar::compile(&scheme.signature, scope)?,
            encoding: Encoding::named(&scope.expand(&scheme.signature.encoding)?)?,
            messages: scheme
                .message
                .iter()
                .map(|text| Template::parse_message(text, scope))
                .collect::<Result<_, _>>()?,
            clock: clock.flatten(),
            keys,
        };
        signed.check_parts()?;
        signed.check_clock()?;
        Ok(Ok(signed))
    }

    /// A message that says nothing of the request has one signature for all; a plain hash without the secret
    /// is one that anybody can make.
    fn check_parts(&self) -> Result<(), CompileError> {
        let incomplete = |problem| Err(CompileError::Incomplete { problem });
        let covers_request = |variable: &Variable| !matches!(variable, Variable::Secret);
        if self.sources.is_empty() {
            return incomplete("signature.from says nowhere to look");
        }
        if self.messages.is_empty() || self.messages.iter().any(|message| !message.has(&covers_request)) {
            return incomplete("the message says nothing of the request");
        }
        let is_secret = |variable: &Variable| matches!(variable, Variable::Secret);
        let is_plain = matches!(self.keys, Keys::Hash(..));
        if is_plain && self.messages.iter().any(|message| !message.has(&is_secret)) {
            return incomplete("a plain hash needs {secret} in the message");
        }
        Ok(())
    }

    /// A time that isn't signed proves nothing: who sends a request again just writes another.
    fn check_clock(&self) -> Result<(), CompileError> {
        let Some(clock) = &self.clock else { return Ok(()) };
        let is_signed = |variable: &Variable| match (variable, &clock.place) {
            (Variable::Timestamp, _) => true,
            (Variable::SignedHeaders(_), Place::Source(Source::Header(_))) => true,
            (Variable::Body, Place::Source(source)) => source.is_form() || matches!(source, Source::Json(_)),
            (Variable::Source(signed), Place::Source(source)) => signed.eq(source),
            _ => false,
        };
        let unsigned = self.messages.iter().any(|message| !message.has(&is_signed));
        match unsigned {
            true => Err(CompileError::TimestampNotSigned),
            false => Ok(()),
        }
    }

    /// Whether the request's signature is of its message, then whether its time is near.
    pub(super) fn verify(&self, view: &View<'_>, now: Timestamp) -> Result<(), Stop> {
        let values = self.values(view)?;
        let candidates = self.candidates(&values)?;
        let timestamp = self.timestamp(view, &values)?;
        let context = Context { timestamp: timestamp.as_deref(), ..Context::of(view) };
        if let Keys::Published(place, algorithm) = &self.keys {
            let found = place.keys(view, *algorithm, now)?;
            let keys = Keys::Public(found.keys.clone());
            self.check(&keys, &context, &candidates).map_err(|refusal| found.none_does(refusal))?;
        } else {
            self.check(&self.keys, &context, &candidates)?;
        }
        match (&self.clock, &timestamp) {
            (Some(clock), Some(raw)) => Ok(clock.judge(raw, now)?),
            _ => Ok(()),
        }
    }

    fn values<'a>(&self, view: &View<'a>) -> Result<Vec<Cow<'a, [u8]>>, Refusal> {
        let mut values = Vec::new();
        for source in &self.sources {
            match source.candidates(view) {
                Ok(found) => values.extend(found),
                Err(Gap::Absent) => {}
                Err(gap) => return Err(refuse(gap)),
            }
        }
        if values.is_empty() { Err(refuse(Gap::Absent)) } else { Ok(values) }
    }

    /// The decoded candidates that can be signatures at all; of another length than the algorithm's counts
    /// as undecodable.
    fn candidates(&self, values: &[Cow<'_, [u8]>]) -> Result<Vec<Vec<u8>>, Refusal> {
        let mut texts = Vec::new();
        for value in values {
            self.grammar.candidates(value, &mut texts).map_err(malformed)?;
        }
        let decoded = texts.iter().filter_map(|text| self.encoding.decode(text));
        let candidates: Vec<Vec<u8>> = decoded.filter(|bytes| self.keys.takes(bytes.len())).collect();
        if candidates.is_empty() {
            return Err(malformed(Malformed("no signature of the scheme's encoding and length is there")));
        }
        Ok(candidates)
    }

    fn timestamp<'a>(
        &self,
        view: &View<'a>,
        values: &[Cow<'a, [u8]>],
    ) -> Result<Option<Cow<'a, [u8]>>, Refusal> {
        let Some(clock) = &self.clock else { return Ok(None) };
        let raw = match &clock.place {
            Place::Source(source) => match source.one(view) {
                Err(Gap::Absent) => None,
                found => Some(found.map_err(refuse)?),
            },
            Place::Signature(key) => {
                let within = values.first().map(|value| self.grammar.timestamp(value, key));
                let raw = within.transpose().map_err(malformed)?.flatten();
                raw.map(|raw| Cow::Owned(raw.to_vec()))
            }
        };
        raw.map(Some).ok_or(Refusal::new(Reason::TimestampMissing, "the scheme's timestamp isn't there"))
    }

    fn check(&self, keys: &Keys, context: &Context<'_, '_>, candidates: &[Vec<u8>]) -> Result<(), Refusal> {
        let mut refusal = None;
        for message in &self.messages {
            match keys.match_any(message, context, candidates) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    refusal = Some(Refusal::new(Reason::SignatureMismatch, "no secret gives this signature"));
                }
                Err(gap) => refusal = refusal.or(Some(refuse(gap))),
            }
        }
        Err(refusal.unwrap_or_else(|| refuse(Gap::Absent)))
    }
}

impl Keys {
    fn compile(
        scheme: &catalog::Scheme,
        scope: &Scope<'_>,
        secrets: &[Secret],
    ) -> Result<Result<Self, Problem>, CompileError> {
        let algorithm = scope.expand(&scheme.algorithm)?;
        let derivation = Derivation::compile(&scheme.key, scope)?;
        let derived = || secrets.iter().map(|secret| derivation.key(secret)).collect::<Result<Vec<_>, _>>();
        Ok(match scheme.verify {
            VerifyBy::Mac => {
                let algorithm = mac_algorithm(&algorithm)?;
                let key =
                    |secret: Zeroizing<Vec<u8>>| MacKey { key: hmac::Key::new(algorithm, &secret), secret };
                derived().map(|secrets| Self::Mac(secrets.into_iter().map(key).collect()))
            }
            VerifyBy::Hash => {
                let algorithm = hash_algorithm(&algorithm)?;
                derived().map(|keys| Self::Hash(algorithm, keys))
            }
            _ => {
                let algorithm = public_key::algorithm(&algorithm)?;
                if secrets.is_empty()
                    && let Some(place) = KeyPlace::of(scheme, scope)?
                {
                    return Ok(Ok(Self::Published(place, algorithm)));
                }
                let prefixes = scope.expand_all(&scheme.key.strip_prefix)?;
                let keys =
                    secrets.iter().map(|secret| public_key::parse(algorithm, secret.bytes(), &prefixes));
                keys.collect::<Result<Vec<_>, _>>()
                    .map(|keys| Self::Public(keys.into_iter().flatten().collect()))
            }
        })
    }

    /// Whether a signature may have that length in bytes.
    fn takes(&self, length: usize) -> bool {
        match self {
            Self::Mac(keys) => keys.first().is_none_or(|mac| mac.key.algorithm().tag_len() == length),
            Self::Hash(algorithm, _) => algorithm.output_len() == length,
            Self::Public(_) | Self::Published(..) => length > 0,
        }
    }

    fn match_any(
        &self,
        message: &Template,
        context: &Context<'_, '_>,
        candidates: &[Vec<u8>],
    ) -> Result<bool, Gap> {
        let is_candidate = |expected: &[u8]| candidates.iter().any(|given| compare::same(given, expected));
        match self {
            Self::Mac(keys) => {
                for key in keys {
                    if is_candidate(mac(key, message, context)?.as_ref()) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Hash(algorithm, secrets) => {
                for secret in secrets {
                    if is_candidate(hash(algorithm, secret, message, context)?.as_ref()) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            // Their keys are found first, and are public ones then.
            Self::Published(..) => Ok(false),
            Self::Public(keys) => {
                let message = message.bytes(context)?;
                let mut pairs = candidates
                    .iter()
                    .take(PUBLIC_KEY_CANDIDATES_MAX)
                    .flat_map(|given| keys.iter().map(move |key| (key, given)));
                Ok(pairs.any(|(key, given)| key.verify_sig(&message, given).is_ok()))
            }
        }
    }

    /// The signature under the first key; `None` for public keys, which can't sign.
    pub(super) fn sign(&self, message: &Template, context: &Context<'_, '_>) -> Result<Option<Vec<u8>>, Gap> {
        Ok(match self {
            Self::Mac(keys) => match keys.first() {
                Some(key) => Some(mac(key, message, context)?.as_ref().to_vec()),
                None => None,
            },
            Self::Hash(algorithm, secrets) => match secrets.first() {
                Some(secret) => Some(hash(algorithm, secret, message, context)?.as_ref().to_vec()),
                None => None,
            },
            Self::Public(_) | Self::Published(..) => None,
        })
    }

    /// The first MAC key, for answers that prove we know it.
    pub(super) fn mac_key(&self) -> Option<&hmac::Key> {
        match self {
            Self::Mac(keys) => keys.first().map(|mac| &mac.key),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, count) = match self {
            Self::Mac(keys) => ("mac", keys.len()),
            Self::Hash(_, keys) => ("hash", keys.len()),
            Self::Public(keys) => ("public", keys.len()),
            Self::Published(..) => ("published", 0),
        };
        write!(f, "{count} {kind} keys")
    }
}

fn mac(with: &MacKey, message: &Template, context: &Context<'_, '_>) -> Result<hmac::Tag, Gap> {
    let mut mac = hmac::Context::with_key(&with.key);
    let context = Context { key: Some(&with.key), secret: Some(&with.secret), ..*context };
    message.feed(&context, &mut Sink::Mac(&mut mac))?;
    Ok(mac.sign())
}

fn hash(
    algorithm: &'static digest::Algorithm,
    secret: &[u8],
    message: &Template,
    context: &Context<'_, '_>,
) -> Result<digest::Digest, Gap> {
    let mut hash = digest::Context::new(algorithm);
    message.feed(&Context { secret: Some(secret), ..*context }, &mut Sink::Digest(&mut hash))?;
    Ok(hash.finish())
}

fn mac_algorithm(name: &str) -> Result<hmac::Algorithm, CompileError> {
    Ok(match name {
        "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "hmac-sha256" => hmac::HMAC_SHA256,
        "hmac-sha384" => hmac::HMAC_SHA384,
        "hmac-sha512" => hmac::HMAC_SHA512,
        _ => {
            let known = "hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512";
            return Err(CompileError::unknown("MAC algorithm", name, known));
        }
    })
}

fn hash_algorithm(name: &str) -> Result<&'static digest::Algorithm, CompileError> {
    Ok(match name {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &digest::SHA256,
        "sha512" => &digest::SHA512,
        _ => return Err(CompileError::unknown("hash algorithm", name, "sha1, sha256, sha512")),
    })
}

/// What a scheme says when a value that it needs isn't there, or isn't one.
pub(super) fn refuse(gap: Gap) -> Refusal {
    match gap {
        Gap::Absent => {
            Refusal::new(Reason::SignatureMissing, "the signature, or a value that it covers, isn't there")
        }
        Gap::Repeated => {
            Refusal::new(Reason::SignatureMalformed, "the signature, or a value that it covers, is repeated")
        }
        Gap::Body => {
            Refusal::new(Reason::BodyMalformed, "the signature is in the body, which can't be parsed")
        }
    }
}

fn malformed(Malformed(detail): Malformed) -> Refusal {
    Refusal::new(Reason::SignatureMalformed, detail)
}
