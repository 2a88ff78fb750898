//! Where a scheme's public keys are published, and which hosts may be asked for them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use http::Uri;
use jiff::Timestamp;
use rustls::pki_types::ServerName;

use super::admission::Refusal;
use super::chain;
use super::error::CompileError;
use super::fetched::{Ask, Client, Credential, KeyDocument, KeyRequest};
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
    question: Question,
    /// One document for each key, which never becomes another.
    is_by_id: bool,
}

/// What is asked at the address.
#[derive(Debug)]
enum Question {
    Get,
    Post(BTreeMap<String, Credential>),
    Bearer(Arc<Client>),
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
    request: KeyRequest,
    document: &'f KeyDocument,
    is_by_id: bool,
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

    /// Whether the scheme's keys are used beside the receiver's secrets.
    pub(super) fn is_besides(scheme: &catalog::Scheme) -> bool {
        scheme.keys.as_ref().is_some_and(|rule| rule.besides)
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
        let question = Question::compile(rule, scope)?;
        let is_by_id = question.names_id() || matches!(&address, Address::Fixed(url) if url.contains(KEY_ID));
        let place = Self { address, hosts, certificate_of, key_id, question, is_by_id };
        let own = match &place.address {
            Address::Fixed(url) => Some(url.replace(KEY_ID, "id")),
            Address::Named(_) => None,
        };
        let token = match &place.question {
            Question::Bearer(client) => Some(client.token_url.clone()),
            _ => None,
        };
        match own.iter().chain(&token).find(|url| !place.allows(url)) {
            Some(url) => {
                Err(CompileError::malformed("key URL", url, "it must be https, of one of keys.hosts"))
            }
            None => Ok(place),
        }
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

    /// What to fetch for a request that names that key.
    fn request(&self, view: &View<'_>, id: Option<&str>) -> Result<KeyRequest, Refusal> {
        let mut url = self.url(view)?.into_owned();
        let id = match self.is_by_id {
            true => id.filter(|id| is_key_id(id)).ok_or(NO_KEY_ID)?,
            false => "",
        };
        if url.contains(KEY_ID) {
            url = url.replace(KEY_ID, id);
        } else if self.is_by_id {
            url = format!("{url}#{id}");
        }
        Ok(KeyRequest { url, ask: self.question.ask(id), beyond: None })
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
        let request = self.request(view, id)?;
        let Some(document) = view.fetched.and_then(|fetched| fetched.get(&request.url)) else {
            return Err(Stop::NeedsKey(request));
        };
        let keys = match self.certificate_of.as_slice() {
            [] => public_key::published(algorithm, &document.bytes, id).map_err(|_| UNREADABLE)?,
            names => self.certified(&document.bytes, names, algorithm, now)?,
        };
        Ok(Found { keys, request, document, is_by_id: self.is_by_id })
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
        match self.is_by_id {
            true => refusal.into(),
            false => Stop::outdated(&self.request, self.document, refusal),
        }
    }
}

impl Question {
    fn compile(rule: &KeysFrom, scope: &Scope<'_>) -> Result<Self, CompileError> {
        match (&rule.token, rule.post.is_empty()) {
            (None, true) => Ok(Self::Get),
            (None, false) => {
                let member = |(name, text): (&String, &String)| {
                    Ok((name.clone(), Credential::new(scope.expand(text)?.into_owned())))
                };
                rule.post.iter().map(member).collect::<Result<_, _>>().map(Self::Post)
            }
            (Some(client), true) => {
                let (id, secret) = (scope.expand(&client.id)?, scope.expand(&client.secret)?);
                Ok(Self::Bearer(Arc::new(Client {
                    token_url: scope.expand(&client.url)?.into_owned(),
                    credentials: Credential::new(format!("{id}:{secret}")),
                    scope: client.scope.clone(),
                })))
            }
            (Some(_), false) => {
                Err(CompileError::Incomplete { problem: "keys take post or token, and not both" })
            }
        }
    }

    fn names_id(&self) -> bool {
        matches!(self, Self::Post(members) if members.values().any(|text| text.text().contains(KEY_ID)))
    }

    fn ask(&self, id: &str) -> Ask {
        match self {
            Self::Get => Ask::Get,
            Self::Post(members) => {
                let member = |(name, text): (&String, &Credential)| {
                    (name.clone(), serde_json::Value::from(text.text().replace(KEY_ID, id)))
                };
                let json: serde_json::Map<_, _> = members.iter().map(member).collect();
                Ask::Post(Credential::new(serde_json::Value::from(json).to_string()))
            }
            Self::Bearer(client) => Ask::Bearer(client.clone()),
        }
    }
}

/// What stands for the key's id in a row.
const KEY_ID: &str = "{key_id}";

/// It becomes part of an address: nothing that could lead elsewhere.
fn is_key_id(id: &str) -> bool {
    (1..=KEY_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The longest id of a key that is asked for: they are UUIDs.
const KEY_ID_BYTES_MAX: usize = 128;

const NO_KEY_ID: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the signature names no key, or none that could be one");

/// The longest address that is fetched from.
const URL_BYTES_MAX: usize = 1_024;

const NOT_ALLOWED: Refusal = Refusal::new(
    Reason::CertificateUntrusted,
    "the request names an address of a host that isn't the provider's",
);
const UNREADABLE: Refusal = Refusal::key_unavailable("what was fetched holds no keys");
