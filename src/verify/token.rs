//! Static credentials: a token sent as it is, and HTTP Basic (RFC 7617).

use super::admission::Refusal;
use super::compare;
use super::encoding::Encoding;
use super::error::CompileError;
use super::key::Problem;
use super::mask::Mask;
use super::secret::Secret;
use super::settings::Scope;
use super::signed;
use super::source::{Gap, Source};
use super::view::View;
use crate::catalog;
use crate::reason::Reason;

/// A compiled scheme.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) sources: Vec<Source>,
    pub(super) prefix: Prefix,
    pub(super) is_basic: bool,
    pub(super) secrets: Vec<Secret>,
    significant: usize,
}

impl Token {
    /// Compiles a row's scheme with the receiver's secrets.
    pub(super) fn compile(
        scheme: &catalog::Scheme,
        scope: &Scope<'_>,
        secrets: &[Secret],
    ) -> Result<Result<Self, Problem>, CompileError> {
        let is_basic = scheme.verify == catalog::VerifyBy::Basic;
        let (from, prefix) = match is_basic {
            true => (vec!["header:Authorization".to_owned()], Prefix::required("Basic ")),
            false => (scope.expand_all(&scheme.from)?, Prefix::compile(scheme, scope)?),
        };
        let sources: Vec<Source> = from.iter().map(|text| Source::parse(text)).collect::<Result<_, _>>()?;
        if sources.is_empty() {
            return Err(CompileError::Incomplete { problem: "from says nowhere to look" });
        }
        // A credential that couldn't be masked would go into the queue; a constant one is none at all.
        if sources.iter().any(|source| Mask::of(source).is_none()) {
            return Err(CompileError::Incomplete {
                problem: "a credential is read from a header, the query, a form's field, JSON or an XML element",
            });
        }
        let significant = scheme.significant;
        if secrets.iter().any(|secret| secret.bytes().len() < significant) {
            return Ok(Err(format!("it is shorter than {significant} characters")));
        }
        Ok(Ok(Self { sources, prefix, is_basic, secrets: secrets.to_vec(), significant }))
    }

    /// The part that is compared.
    fn head<'c>(&self, credential: &'c [u8]) -> &'c [u8] {
        match self.significant {
            0 => credential,
            count => credential.get(..count).unwrap_or(credential),
        }
    }

    /// Whether the request carries one of the secrets.
    pub(super) fn verify(&self, view: &View<'_>) -> Result<(), Refusal> {
        if view.boundary().is_some() && self.sources.iter().any(|source| matches!(source, Source::Form(_))) {
            // Masks know URL-encoded fields only.
            return Err(Refusal::new(Reason::BodyMalformed, "a credential in a multipart form isn't read"));
        }
        let value = first(&self.sources, view).map_err(signed::refuse)?;
        let credential = self.prefix.strip(&value).ok_or(Refusal::new(
            Reason::SignatureMalformed,
            "the credential hasn't the prefix that it must have",
        ))?;
        let decoded =
            if self.is_basic { Encoding::Base64Any.decode(credential) } else { Some(credential.to_vec()) };
        let given =
            decoded.ok_or(Refusal::new(Reason::SignatureMalformed, "the credential is not base64"))?;
        let known =
            self.secrets.iter().any(|secret| compare::same(self.head(&given), self.head(secret.bytes())));
        known.then_some(()).ok_or(Refusal::new(Reason::TokenMismatch, "it is none of the receiver's secrets"))
    }
}

/// The value of the first source that has one.
pub(super) fn first<'a>(sources: &[Source], view: &View<'a>) -> Result<std::borrow::Cow<'a, [u8]>, Gap> {
    for source in sources {
        match source.one(view) {
            Err(Gap::Absent) => {}
            found => return found,
        }
    }
    Err(Gap::Absent)
}

/// What stands before a credential; its case doesn't matter (RFC 9110, 11.1).
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    pub(super) text: String,
    is_optional: bool,
}

impl Prefix {
    fn required(text: &str) -> Self {
        Self { text: text.to_owned(), is_optional: false }
    }

    /// The prefix of a row's scheme.
    pub(super) fn compile(scheme: &catalog::Scheme, scope: &Scope<'_>) -> Result<Self, CompileError> {
        Ok(Self { text: scope.expand(&scheme.prefix)?.into_owned(), is_optional: scheme.prefix_optional })
    }

    /// What follows it; `None` when it isn't there and must be.
    pub(super) fn strip<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        let split = value.split_at_checked(self.text.len());
        let rest =
            split.filter(|(start, _)| start.eq_ignore_ascii_case(self.text.as_bytes())).map(|(_, rest)| rest);
        rest.or(self.is_optional.then_some(value))
    }
}
