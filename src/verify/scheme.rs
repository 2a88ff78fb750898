//! Schemes: the ways to verify, each compiled of its row and the receiver's secrets.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::admission::{Refusal, Reply};
use super::condition::Condition;
use super::decrypt::Decrypt;
use super::error::CompileError;
use super::json::Pointer;
use super::jwt::Jwt;
use super::key::Problem;
use super::named::{self, Named};
use super::secret::Secret;
use super::settings::Scope;
use super::signed::{self, Signed};
use super::signing_keys::Keys;
use super::source::{Gap, Source};
use super::template::{Context, Template};
use super::token::Token;
use super::variable::Variable;
use super::verdict::{Inside, Stop, Verdict};
use super::view::View;
use crate::catalog::{self, Strict, VerifyBy};
use crate::reason::Reason;

/// A compiled scheme.
#[derive(Debug)]
pub(super) struct Scheme {
    pub(super) name: Arc<str>,
    pub(super) strict: Vec<Strict>,
    pub(super) handshakes_only: bool,
    pub(super) require: Vec<Condition>,
    /// The values that are verified one by one, each as if it were the body.
    pub(super) each: Option<Pointer>,
    pub(super) decrypt: Option<Decrypt>,
    pub(super) check: Check,
}

/// How it verifies.
#[derive(Debug)]
pub(super) enum Check {
    Signed(Signed),
    Jwt(Jwt),
    Token(Token),
    Named(Box<dyn Named>),
    Nothing,
}

impl Scheme {
    /// Compiles a row's scheme; the inner error says what is wrong with the secret.
    pub(super) fn compile(
        scheme: &catalog::Scheme,
        scope: &Scope<'_>,
        secrets: &[Secret],
        tolerance: Option<Duration>,
    ) -> Result<Result<Self, Problem>, CompileError> {
        let check = match scheme.verify {
            VerifyBy::Mac | VerifyBy::Hash | VerifyBy::PublicKey => {
                Signed::compile(scheme, scope, secrets, tolerance)?.map(Check::Signed)
            }
            VerifyBy::Jwt => Jwt::compile(scheme, scope, secrets)?.map(Check::Jwt),
            VerifyBy::Token | VerifyBy::Basic => Token::compile(scheme, scope, secrets)?.map(Check::Token),
            VerifyBy::Named => named::compile(scheme, scope, secrets, tolerance)?.map(Check::Named),
            VerifyBy::None => Ok(Check::Nothing),
        };
        let check = match check {
            Ok(check) => check,
            Err(problem) => return Ok(Err(problem)),
        };
        let decrypt =
            scheme.decrypt.as_ref().map(|rule| Decrypt::compile(rule, scope, secrets)).transpose()?;
        let decrypt = match decrypt.transpose() {
            Ok(decrypt) => decrypt,
            Err(problem) => return Ok(Err(problem)),
        };
        if decrypt.as_ref().is_some_and(|rule| rule.seal().is_some()) && scheme.verify != VerifyBy::Hash {
            return Err(CompileError::Incomplete { problem: "answers are sealed by schemes of a hash only" });
        }
        let require = Condition::compile_all(&scheme.require, scope)?;
        let name = Arc::from(scheme.name.as_str());
        let each = scope.expand(&scheme.each)?;
        let each = (!each.is_empty()).then(|| Pointer::parse(&each)).transpose()?;
        let (strict, handshakes_only) = (scheme.strict.clone(), scheme.handshakes_only);
        Ok(Ok(Self { name, strict, handshakes_only, require, each, decrypt, check }))
    }

    /// Whether the request is authentic by this scheme.
    pub(super) fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        let context = Context::of(view);
        for condition in &self.require {
            match condition.holds(&context) {
                Ok(true) => {}
                Ok(false) => {
                    let refusal = Refusal::new(Reason::SignatureMismatch, NOT_THIS_SCHEME);
                    return Err(refusal.not_applicable().into());
                }
                Err(gap) => return Err(signed::refuse(gap).not_applicable().into()),
            }
        }
        match &self.each {
            Some(pointer) => {
                view.each(pointer, |part| self.verify_whole(part, now).map(drop))?;
                Ok(None)
            }
            None => {
                let inside = self.verify_whole(view, now)?;
                match &self.decrypt {
                    Some(decrypt) if inside.is_none() => Ok(decrypt.open(view)?),
                    _ => Ok(inside),
                }
            }
        }
    }

    /// The answer as the provider reads it: sealed, under the secret that the request was signed with, where
    /// the scheme says so.
    pub(super) fn answer(&self, reply: Reply, view: &View<'_>, now: Timestamp) -> Result<Reply, Refusal> {
        let Some(seal) = self.decrypt.as_ref().and_then(Decrypt::seal) else { return Ok(reply) };
        let token = match &self.check {
            Check::Signed(signed) => signed.secret_of(view),
            _ => None,
        };
        let body = token.and_then(|token| seal.seal(&reply.body, token, now));
        let body = body.ok_or(Refusal::key_unavailable("the answer can't be encrypted"))?;
        Ok(Reply { body, ..reply })
    }

    fn verify_whole(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        let context = Context::of(view);
        match &self.check {
            Check::Signed(signed) => signed.verify(view, now).map(|()| None),
            Check::Jwt(jwt) => jwt.verify(&context, now),
            Check::Token(token) => token.verify(view).map(|()| None).map_err(Stop::from),
            Check::Named(named) => named.verify(view, now),
            Check::Nothing => Ok(None),
        }
    }

    /// Where its signature, token or credential is.
    pub(super) fn sources(&self) -> &[Source] {
        match &self.check {
            Check::Signed(signed) => &signed.sources,
            Check::Jwt(jwt) => &jwt.sources,
            Check::Token(token) => &token.sources,
            Check::Named(_) | Check::Nothing => &[],
        }
    }

    /// Whether nothing can be verified without a secret of the receiver's.
    pub(super) fn needs_secret(&self) -> bool {
        match &self.check {
            Check::Signed(signed) => !matches!(signed.keys, Keys::Published(..)),
            Check::Jwt(jwt) => !jwt.is_published(),
            Check::Token(_) => true,
            Check::Named(named) => named.needs_secret(),
            Check::Nothing => false,
        }
    }

    /// Whether it needs the public URL.
    pub(super) fn needs_url(&self) -> bool {
        let has_url = |template: &Template| template.has(&Variable::is_url);
        let in_conditions =
            self.require.iter().filter_map(|condition| condition.equals.as_ref()).any(has_url);
        in_conditions
            || match &self.check {
                Check::Signed(signed) => signed.messages.iter().any(has_url),
                Check::Jwt(jwt) => jwt.has(&Variable::is_url),
                Check::Named(named) => named.needs_url(),
                Check::Token(_) | Check::Nothing => false,
            }
    }
}

const NOT_THIS_SCHEME: &str = "a value that the scheme requires is another";

/// The first scheme that accepts, with what it found inside. When none does, a key that one of them lacks
/// comes first, since it might; then the one refusal to report: the furthest, and of equals the first.
pub(super) fn verify_any<'s>(
    schemes: &'s [Scheme],
    view: &View<'_>,
    now: Timestamp,
) -> Result<(&'s Scheme, Inside), Stop> {
    let mut furthest: Option<Refusal> = None;
    let mut lacking = None;
    for scheme in schemes {
        match scheme.verify(view, now) {
            Ok(inside) => return Ok((scheme, inside)),
            Err(Stop::NeedsKey(request)) => lacking = lacking.or(Some(request)),
            Err(Stop::Refused(refusal))
                if furthest.is_none_or(|furthest| furthest.progress() < refusal.progress()) =>
            {
                furthest = Some(refusal);
            }
            Err(Stop::Refused(_)) => {}
        }
    }
    match lacking {
        Some(request) => Err(Stop::NeedsKey(request)),
        None => Err(furthest.unwrap_or_else(|| signed::refuse(Gap::Absent)).into()),
    }
}
