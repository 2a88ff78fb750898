//! Where a scheme's public keys are published, and which hosts may be asked for them.

use std::borrow::Cow;

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use http::Uri;
use jiff::Timestamp;
use rustls::pki_types::ServerName;

use super::admission::Refusal;
use super::chain;
use super::error::CompileError;
use super::fetched::KeyDocument;
use super::host::HostPattern;
use super::public_key;
use super::settings::Scope;
use super::signed;
use super::source::{Gap, Source};
use super::verdict::Stop;
use super::view::View;
use crate::catalog::{self, KeysFrom};
use crate::reason::Reason;

/// A compiled rule.
#[derive(Debug)]
pub(super) struct KeyPlace {
    address: Address,
    hosts: Vec<HostPattern>,
    certificate_of: Vec<ServerName<'static>>,
    key_id: Option<Source>,
}

#[derive(Debug)]
enum Address {
    /// The row, or the operator's setting, says it.
    Fixed(String),
    /// The request says it.
    Named(Source),
}

/// The keys of a document, and what to say when none of them does.
pub(super) struct Found<'f> {
    pub(super) keys: Vec<ParsedPublicKey>,
    url: String,
    document: &'f KeyDocument,
}

impl KeyPlace {
    /// The place of a scheme's keys; `None` when it has none, or when the setting that it needs isn't set.
    pub(super) fn of(scheme: &catalog::Scheme, scope: &Scope<'_>) -> Result<Option<Self>, CompileError> {
        let Some(rule) = &scheme.keys else { return Ok(None) };
        let needed = rule.needs.as_deref().map(|name| scope.value(name)).transpose()?;
        match needed.is_none_or(|setting| !setting.is_empty()) {
            true => Self::compile(rule, scope).map(Some),
            false => Ok(None),
        }
    }

    /// The place that a handshake wants called.
    pub(super) fn to_visit(visit: &catalog::Visit, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let (from, hosts) = (visit.from.clone(), visit.hosts.clone());
        Self::compile(&KeysFrom { from, hosts, ..KeysFrom::default() }, scope)
    }

    fn compile(rule: &KeysFrom, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let incomplete = |problem| Err(CompileError::Incomplete { problem });
        let hosts = scope.expand_all(&rule.hosts)?;
        let hosts: Vec<_> = hosts.iter().map(|host| HostPattern::parse(host)).collect::<Result<_, _>>()?;
        let (url, from) = (scope.expand(&rule.url)?, scope.expand(&rule.from)?);
        let address = match (url.is_empty(), from.is_empty()) {
            (false, true) => Address::Fixed(url.into_owned()),
            (true, false) => Address::Named(Source::parse(&from)?),
            _ => return incomplete("keys need url or from, and not both"),
        };
        if hosts.is_empty() {
            return incomplete("keys.hosts says nobody to ask");
        }
        let key_id = scope.expand(&rule.key_id)?;
        let key_id = (!key_id.is_empty()).then(|| Source::parse(&key_id)).transpose()?;
        let name = |text: &String| {
            ServerName::try_from(text.clone())
                .map_err(|_| CompileError::malformed("certificate's name", text, "that is no host's name"))
        };
        let certificate_of =
            scope.expand_all(&rule.certificate_of)?.iter().map(name).collect::<Result<_, _>>()?;
        let place = Self { address, hosts, certificate_of, key_id };
        if let Address::Fixed(url) = &place.address
            && !place.allows(url)
        {
            return Err(CompileError::malformed("key URL", url, "it must be https, of one of keys.hosts"));
        }
        Ok(place)
    }

    /// The address, of an allowed host.
    pub(super) fn url<'p>(&'p self, view: &View<'_>) -> Result<Cow<'p, str>, Refusal> {
        let source = match &self.address {
            Address::Fixed(url) => return Ok(Cow::Borrowed(url)),
            Address::Named(source) => source,
        };
        let url = source.one(view).map_err(signed::refuse)?;
        let url = String::from_utf8(url.into_owned()).map_err(|_| NOT_ALLOWED)?;
        if self.allows(&url) { Ok(Cow::Owned(url)) } else { Err(NOT_ALLOWED) }
    }

    /// The document there, once it was fetched.
    pub(super) fn document<'f>(&self, view: &View<'f>) -> Result<(Cow<'_, str>, &'f KeyDocument), Stop> {
        let url = self.url(view)?;
        let document = view.fetched.and_then(|fetched| fetched.get(&url));
        match document {
            Some(document) => Ok((url, document)),
            None => Err(Stop::needs(&url)),
        }
    }

    /// The keys there of that algorithm, and of the request's key id where the row names one.
    pub(super) fn keys<'f>(
        &self,
        view: &View<'f>,
        algorithm: &'static dyn VerificationAlgorithm,
        now: Timestamp,
    ) -> Result<Found<'f>, Stop> {
        let id = match self.key_id.as_ref().map(|source| source.one(view)) {
            None | Some(Err(Gap::Absent)) => None,
            Some(id) => Some(id.map_err(signed::refuse)?),
        };
        let id = id.as_ref().map(|id| String::from_utf8_lossy(id));
        self.keys_of(view, algorithm, id.as_deref(), now)
    }

    /// The same for a key id that is known already.
    pub(super) fn keys_of<'f>(
        &self,
        view: &View<'f>,
        algorithm: &'static dyn VerificationAlgorithm,
        id: Option<&str>,
        now: Timestamp,
    ) -> Result<Found<'f>, Stop> {
        let (url, document) = self.document(view)?;
        let keys = match self.certificate_of.as_slice() {
            [] => public_key::published(algorithm, &document.bytes, id).map_err(|_| UNREADABLE)?,
            names => self.certified(&document.bytes, names, algorithm, now)?,
        };
        Ok(Found { keys, url: url.into_owned(), document })
    }

    fn certified(
        &self,
        pem: &[u8],
        names: &[ServerName<'_>],
        algorithm: &'static dyn VerificationAlgorithm,
        now: Timestamp,
    ) -> Result<Vec<ParsedPublicKey>, Refusal> {
        let roots = chain::system_roots();
        if roots.is_empty() {
            return Err(Refusal::key_unavailable("the system has no root certificates"));
        }
        let certificate = chain::verified(pem, names, roots, now)?;
        Ok(public_key::of_certificate(algorithm, &certificate).into_iter().collect())
    }

    /// `https`, an allowed host, the usual port, and nothing else before the path.
    fn allows(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else { return false };
        let Some(authority) = uri.authority() else { return false };
        let host = authority.as_str().strip_suffix(":443").unwrap_or(authority.as_str());
        uri.scheme_str() == Some("https")
            && url.len() <= URL_BYTES_MAX
            && self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

impl Found<'_> {
    /// What to say when no key gives the signature: one that is newer than the document might.
    pub(super) fn none_does(&self, refusal: Refusal) -> Stop {
        Stop::outdated(&self.url, self.document, refusal)
    }
}

/// The longest address that is fetched from.
const URL_BYTES_MAX: usize = 1_024;

const NOT_ALLOWED: Refusal = Refusal::new(
    Reason::CertificateUntrusted,
    "the request names an address of a host that isn't the provider's",
);
const UNREADABLE: Refusal = Refusal::key_unavailable("what was fetched holds no keys");
