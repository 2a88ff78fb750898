//! Signatures over a message: MAC, plain hash and public key differ only in how a candidate is checked.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use super::admission::Refusal;
use super::encoding::Encoding;
use super::error::CompileError;
use super::grammar::{Grammar, Malformed};
use super::key::Problem;
use super::secret::Secret;
use super::settings::Scope;
use super::signing_keys::Keys;
use super::source::{Gap, Source};
use super::template::{Context, Template};
use super::timestamp::{Clock, Place};
use super::variable::Variable;
use super::verdict::Stop;
use super::view::View;
use crate::catalog;
use crate::reason::Reason;

/// A compiled scheme.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) sources: Vec<Source>,
    pub(super) grammar: Grammar,
    pub(super) encoding: Encoding,
    pub(super) messages: Vec<Template>,
    /// A message has optional values only: in a request without any it is a constant.
    may_be_constant: bool,
    pub(super) clock: Option<Clock>,
    pub(super) keys: Keys,
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
        let messages: Vec<Template> = scheme
            .message
            .iter()
            .map(|text| Template::parse_message(text, scope))
            .collect::<Result<_, _>>()?;
        let needs_request = |message: &Template| {
            message.needed().into_iter().any(|variable| !matches!(variable, Variable::Secret))
        };
        let signed = Self {
            may_be_constant: !messages.iter().all(needs_request),
            sources: sources.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?,
            grammar: Grammar::compile(&scheme.signature, scope)?,
            encoding: Encoding::named(&scope.expand(&scheme.signature.encoding)?)?,
            messages,
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

    /// The secret that the request's plain hash was made with.
    pub(super) fn secret_of(&self, view: &View<'_>) -> Option<&[u8]> {
        let values = self.values(view).ok()?;
        let candidates = self.candidates(&values).ok()?;
        let timestamp = self.timestamp(view, &values).ok()?;
        let context = Context { timestamp: timestamp.as_deref(), ..Context::of(view) };
        let secret = |message| self.keys.secret_of(message, &context, &candidates).ok().flatten();
        self.messages.iter().find_map(secret)
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
                // The signature of a constant is no proof of anything, and everybody has seen it.
                Ok(true) if self.may_be_constant && !message.has_any(context) => {
                    refusal = refusal.or(Some(refuse(Gap::Absent)));
                }
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
