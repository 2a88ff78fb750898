//! Schemes: the ways to verify, each compiled of its row and the receiver's secrets.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::admission::Refusal;
use super::condition::Condition;
use super::error::CompileError;
use super::jwt::Jwt;
use super::key::Problem;
use super::secret::Secret;
use super::settings::Scope;
use super::signed::{self, Signed};
use super::source::{Gap, Source};
use super::template::{Context, Template};
use super::token::Token;
use super::variable::Variable;
use super::view::View;
use crate::catalog::{self, Strict, VerifyBy};
use crate::reason::Reason;

/// A compiled scheme.
#[derive(Debug)]
pub(super) struct Scheme {
    pub(super) name: Arc<str>,
    pub(super) strict: Vec<Strict>,
    pub(super) require: Vec<Condition>,
    pub(super) check: Check,
}

/// How it verifies.
#[derive(Debug)]
pub(super) enum Check {
    Signed(Signed),
    Jwt(Jwt),
    Token(Token),
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
            VerifyBy::Token | VerifyBy::Basic => Ok(Check::Token(Token::compile(scheme, scope, secrets)?)),
            VerifyBy::None => Ok(Check::Nothing),
        };
        let require = Condition::compile_all(&scheme.require, scope)?;
        let name = Arc::from(scheme.name.as_str());
        Ok(check.map(|check| Self { name, strict: scheme.strict.clone(), require, check }))
    }

    /// Whether the request is authentic by this scheme.
    pub(super) fn verify(&self, view: &View<'_>, now: Timestamp) -> Result<(), Refusal> {
        let context = Context::of(view);
        for condition in &self.require {
            match condition.holds(&context) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(Refusal::new(Reason::SignatureMismatch, NOT_THIS_SCHEME).not_applicable());
                }
                Err(gap) => return Err(signed::refuse(gap).not_applicable()),
            }
        }
        match &self.check {
            Check::Signed(signed) => signed.verify(view, now),
            Check::Jwt(jwt) => jwt.verify(&context, now),
            Check::Token(token) => token.verify(view),
            Check::Nothing => Ok(()),
        }
    }

    /// Where its signature, token or credential is.
    pub(super) fn sources(&self) -> &[Source] {
        match &self.check {
            Check::Signed(signed) => &signed.sources,
            Check::Jwt(jwt) => &jwt.sources,
            Check::Token(token) => &token.sources,
            Check::Nothing => &[],
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
                Check::Token(_) | Check::Nothing => false,
            }
    }
}

const NOT_THIS_SCHEME: &str = "a value that the scheme requires is another";

/// The one refusal to report, when every scheme refuses: the furthest, and of equals the first.
pub(super) fn verify_any<'s>(
    schemes: &'s [Scheme],
    view: &View<'_>,
    now: Timestamp,
) -> Result<&'s Scheme, Refusal> {
    let mut furthest: Option<Refusal> = None;
    for scheme in schemes {
        match scheme.verify(view, now) {
            Ok(()) => return Ok(scheme),
            Err(refusal) if furthest.is_none_or(|furthest| furthest.progress() < refusal.progress()) => {
                furthest = Some(refusal);
            }
            Err(_) => {}
        }
    }
    Err(furthest.unwrap_or_else(|| signed::refuse(Gap::Absent)))
}
