//! The values that templates name.

use http::HeaderName;

use super::canonical;
use super::error::CompileError;
use super::form;
use super::sink::Sink;
use super::source::{Gap, Source};
use super::template::{Context, Template};

/// A value of a template.
#[derive(Clone, Debug)]
pub(super) enum Variable {
    /// `body`: the raw bytes.
    Body,
    /// `timestamp`: as received.
    Timestamp,
    /// `secret`: the key as text in a plain hash.
    Secret,
    /// `method`.
    Method,
    /// `url`: the public URL with path and query, or as the sender was given it.
    Url,
    /// `url_without_query`.
    UrlWithoutQuery,
    /// `host`: of the public URL, without the port.
    Host,
    /// `canonical_request`: Atlassian's form of method, path and query.
    CanonicalRequest,
    /// `path_and_query`.
    PathAndQuery,
    /// `form_sorted`: the form's names and values in order, each pair once.
    FormSorted,
    /// `query_sorted`: the query's pairs as received, in order of their names.
    QuerySorted,
    /// `signed_headers:NAME`: `name:value` of each header that the header NAME lists, joined with `;`.
    SignedHeaders(HeaderName),
    /// `sorted:A,B,…`: values put in order and written one after the other.
    Sorted(Vec<Variable>),
    /// A source's one value.
    Source(Source),
    /// A template in parentheses.
    Group(Template),
}

impl Variable {
    /// Parses a name.
    pub(super) fn parse(name: &str) -> Result<Self, CompileError> {
        if let Some(header) = name.strip_prefix("signed_headers:") {
            let header = HeaderName::from_bytes(header.as_bytes());
            let malformed = |_| CompileError::malformed("template value", name, "that is no header's name");
            return header.map(Self::SignedHeaders).map_err(malformed);
        }
        if let Some(names) = name.strip_prefix("sorted:") {
            return names.split(',').map(Self::parse).collect::<Result<_, _>>().map(Self::Sorted);
        }
        Ok(match name {
            "body" => Self::Body,
            "timestamp" => Self::Timestamp,
            "secret" => Self::Secret,
            "method" => Self::Method,
            "url" => Self::Url,
            "url_without_query" => Self::UrlWithoutQuery,
            "canonical_request" => Self::CanonicalRequest,
            "host" => Self::Host,
            "path_and_query" => Self::PathAndQuery,
            "form_sorted" => Self::FormSorted,
            "query_sorted" => Self::QuerySorted,
            _ => Self::Source(Source::parse(name)?),
        })
    }

    /// Whether it needs the public URL.
    pub(super) fn is_url(&self) -> bool {
        matches!(self, Self::Url | Self::UrlWithoutQuery | Self::Host)
    }

    /// Gives its bytes to the sink.
    pub(super) fn feed(&self, context: &Context<'_, '_>, sink: &mut Sink<'_>) -> Result<(), Gap> {
        let view = context.view;
        match self {
            Self::Body => sink.put(&view.delivery.body),
            Self::Timestamp => sink.put(context.timestamp.ok_or(Gap::Absent)?),
            Self::Secret => sink.put(context.secret.ok_or(Gap::Absent)?),
            Self::Method => sink.put(view.delivery.method.as_str().as_bytes()),
            Self::Url => sink.put(view.url().ok_or(Gap::Absent)?.as_bytes()),
            Self::UrlWithoutQuery => {
                let url = view.url().ok_or(Gap::Absent)?;
                sink.put(url.split('?').next().unwrap_or_default().as_bytes());
            }
            Self::CanonicalRequest => sink.put(canonical::request(view)?.as_bytes()),
            Self::Host => {
                let url: http::Uri = view.url().ok_or(Gap::Absent)?.parse().map_err(|_| Gap::Absent)?;
                sink.put(url.host().ok_or(Gap::Absent)?.as_bytes());
            }
            Self::PathAndQuery => sink.put(view.path_and_query().as_bytes()),
            Self::FormSorted => sink.put(form::sorted(view)?.as_bytes()),
            Self::QuerySorted => sink.put(form::sorted_query(view.delivery.query())?.as_bytes()),
            Self::SignedHeaders(list) => sink.put(&signed_headers(context, list)?),
            Self::Sorted(variables) => sink.put(&sorted(context, variables)?),
            Self::Source(source) => sink.put(&source.one(view)?),
            Self::Group(template) => template.feed(context, sink)?,
        }
        Ok(())
    }
}

/// Headers that a list may name; no provider signs more.
const SIGNED_HEADERS_MAX: usize = 64;

fn signed_headers(context: &Context<'_, '_>, list: &HeaderName) -> Result<Vec<u8>, Gap> {
    let list = Source::Header(list.clone()).one(context.view)?;
    let list = std::str::from_utf8(&list).map_err(|_| Gap::Absent)?;
    let mut lines = Vec::new();
    for name in list.split(',').take(SIGNED_HEADERS_MAX) {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| Gap::Absent)?;
        let value = Source::Header(name.clone()).one(context.view)?;
        lines.push([name.as_str().as_bytes(), b":", &value].concat());
    }
    lines.sort();
    Ok(lines.join(&b';'))
}

fn sorted(context: &Context<'_, '_>, variables: &[Variable]) -> Result<Vec<u8>, Gap> {
    let bytes = |variable: &Variable| {
        let mut bytes = Vec::new();
        variable.feed(context, &mut Sink::Bytes(&mut bytes)).map(|()| bytes)
    };
    let mut values: Vec<Vec<u8>> = variables.iter().map(bytes).collect::<Result<_, _>>()?;
    values.sort();
    Ok(values.concat())
}
