//! Handshakes: requests that are no events and want an answer of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::admission::{Admission, Refusal, Reply};
use super::condition::Condition;
use super::error::CompileError;
use super::key_place::KeyPlace;
use super::secret::Secret;
use super::settings::Scope;
use super::source::{Gap, Source};
use super::template::{Context, Template};
use crate::catalog;
use crate::reason::Reason;

/// A compiled handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    name: String,
    pub(super) methods: Vec<Method>,
    pub(super) signed: bool,
    matches: Vec<Condition>,
    require: Vec<Condition>,
    refusal_status: Option<StatusCode>,
    pub(super) capture: Option<Source>,
    visit: Option<KeyPlace>,
    respond: Respond,
}

#[derive(Debug)]
struct Respond {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    headers: Vec<(HeaderName, Template)>,
    body: Template,
}

impl Handshake {
    /// Compiles a row's handshake.
    pub(super) fn compile(handshake: &catalog::Handshake, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let capture = handshake.capture.as_deref().map(Source::parse).transpose()?;
        Ok(Self {
            name: handshake.name.clone(),
            methods: methods(&handshake.methods)?,
            signed: handshake.signed,
            matches: Condition::compile_all(&handshake.matches, scope)?,
            require: Condition::compile_all(&handshake.require, scope)?,
            refusal_status: handshake.refusal_status.map(status).transpose()?,
            capture,
            visit: handshake.visit.as_ref().map(|visit| KeyPlace::to_visit(visit, scope)).transpose()?,
            respond: Respond::compile(&handshake.respond, scope)?,
        })
    }

    /// The answer, or why it is refused; `None` when the request isn't this handshake.
    pub(super) fn answer(&self, context: &Context<'_, '_>) -> Option<Admission> {
        if !self.methods.contains(&context.view.delivery.method)
            || !Condition::all_hold(&self.matches, context)
        {
            return None;
        }
        if !Condition::all_hold(&self.require, context) {
            let refusal = Refusal::new(Reason::TokenMismatch, "the handshake doesn't prove what it must");
            return Some(Admission::Refused(refusal.with_status(self.refusal_status)));
        }
        let visit = match self.visit.as_ref().map(|visit| visit.url(context.view)).transpose() {
            Ok(url) => url.map(Cow::into_owned),
            Err(refusal) => return Some(Admission::Refused(refusal)),
        };
        Some(match self.respond.reply(context) {
            Ok(reply) => Admission::Answered {
                reply,
                handshake: self.name.clone(),
                captured: self.captured(context),
                visit,
            },
            Err(_) => Admission::Refused(Refusal::new(
                Reason::HandshakeMalformed,
                "the handshake lacks a value that its answer needs",
            )),
        })
    }

    /// Whether the answer takes the key.
    pub(super) fn needs_key(&self) -> bool {
        self.respond.templates().any(Template::needs_key)
    }

    /// Whether the answer takes the public URL.
    pub(super) fn needs_url(&self) -> bool {
        self.respond.templates().any(|template| template.has(&super::variable::Variable::is_url))
    }

    fn captured(&self, context: &Context<'_, '_>) -> Option<Secret> {
        let source = self.capture.as_ref()?;
        source.one(context.view).ok().map(|secret| Secret::new(secret.into_owned()))
    }
}

impl Respond {
    fn compile(respond: &catalog::Respond, scope: &Scope<'_>) -> Result<Self, CompileError> {
        Ok(Self {
            status: status(respond.status)?,
            content_type: content_type(&respond.content_type)?,
            headers: headers(&respond.headers, scope)?,
            body: Template::parse(&respond.body, scope)?,
        })
    }

    fn reply(&self, context: &Context<'_, '_>) -> Result<Reply, Gap> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(&value.bytes(context)?).map_err(|_| Gap::Absent)?;
            headers.push((name.clone(), value));
        }
        let body = Bytes::from(self.body.bytes(context)?);
        Ok(Reply { status: self.status, content_type: self.content_type.clone(), headers, body })
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.headers.iter().map(|(_, template)| template).chain([&self.body])
    }
}

/// A row's headers of an answer.
pub(super) fn headers(
    row: &BTreeMap<String, String>,
    scope: &Scope<'_>,
) -> Result<Vec<(HeaderName, Template)>, CompileError> {
    let header = |(name, value): (&String, &String)| {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let name = parsed.map_err(|_| CompileError::malformed("header", name, "that is no header's name"))?;
        Ok((name, Template::parse(value, scope)?))
    };
    row.iter().map(header).collect()
}

/// A row's methods.
pub(super) fn methods(names: &[String]) -> Result<Vec<Method>, CompileError> {
    let known = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    let method = |name: &String| {
        let usual = known.split(", ").any(|known| known.eq(name));
        name.parse().ok().filter(|_| usual).ok_or_else(|| CompileError::unknown("method", name, known))
    };
    names.iter().map(method).collect()
}

/// A row's status.
pub(super) fn status(code: u16) -> Result<StatusCode, CompileError> {
    let malformed = |_| CompileError::malformed("status", &code.to_string(), "it is not between 100 and 999");
    StatusCode::from_u16(code).map_err(malformed)
}

/// A row's content type; `None` for an empty one.
pub(super) fn content_type(text: &str) -> Result<Option<HeaderValue>, CompileError> {
    if text.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(text)
        .map(Some)
        .map_err(|_| CompileError::malformed("content type", text, "it can't stand in a header"))
}
