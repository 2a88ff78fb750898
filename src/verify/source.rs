//! Sources: where in a request a value is.
//!
//! `header:NAME`, `header:NAME-*` (the star is a number), `query:NAME`, `form:FIELD`, `json:/pointer`,
//! `formjson:FIELD:/pointer` (JSON inside a form field), `xml:ELEMENT`, `body`, `const:TEXT`. Names of headers match
//! without regard to case, all else exactly. Nothing that one source names can be given by another.

use std::borrow::Cow;

use http::HeaderName;

use super::error::CompileError;
use super::form;
use super::json::{self, Document, Pointer};
use super::view::View;
use super::xml;

/// A parsed source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Header(HeaderName),
    NumberedHeaders(String),
    Query(String),
    Form(String),
    Json(Pointer),
    FormJson(String, Pointer),
    Xml(String),
    Body,
    Constant(String),
}

/// Why there isn't one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// There is none, or an empty one.
    Absent,
    /// There are several.
    Repeated,
    /// The body isn't what it must be to have one.
    Body,
}

type Value<'a> = Cow<'a, [u8]>;

impl Source {
    /// Parses a source.
    pub(super) fn parse(text: &str) -> Result<Self, CompileError> {
        let malformed = |problem| CompileError::malformed("source", text, problem);
        if text == "body" {
            return Ok(Self::Body);
        }
        let (kind, rest) =
            text.split_once(':').ok_or_else(|| malformed("it has no kind, as in header:NAME"))?;
        Ok(match kind {
            "header" => match rest.strip_suffix('*') {
                Some(prefix) => Self::NumberedHeaders(header_name(prefix)?.as_str().to_owned()),
                None => Self::Header(header_name(rest)?),
            },
            "query" => Self::Query(rest.to_owned()),
            "form" => Self::Form(rest.to_owned()),
            "json" => Self::Json(Pointer::parse(rest)?),
            "formjson" => {
                let (field, pointer) = rest.split_once(':').ok_or_else(|| malformed("it has no pointer"))?;
                Self::FormJson(field.to_owned(), Pointer::parse(pointer)?)
            }
            "xml" if rest.is_empty() => return Err(malformed("it names no element")),
            "xml" => Self::Xml(rest.to_owned()),
            "const" => Self::Constant(rest.to_owned()),
            _ => {
                return Err(malformed(
                    "known kinds are header, query, form, json, formjson, xml, body, const",
                ));
            }
        })
    }

    /// Whether it is in the body.
    pub(super) fn is_in_body(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Json(_) | Self::FormJson(..) | Self::Xml(_) | Self::Body)
    }

    /// Whether it is in a form's field.
    pub(super) fn is_form(&self) -> bool {
        matches!(self, Self::Form(_) | Self::FormJson(..))
    }

    /// The one value.
    pub(super) fn one<'a>(&self, view: &View<'a>) -> Result<Value<'a>, Gap> {
        if let Self::Header(name) = self {
            return one_header(view, name);
        }
        let mut values = self.every(view)?;
        match values.len() {
            0 => Err(Gap::Absent),
            1 => Some(values.remove(0)).filter(|value| !value.is_empty()).ok_or(Gap::Absent),
            _ => Err(Gap::Repeated),
        }
    }

    /// All values, the present and not empty ones of numbered headers; each header may come once only.
    pub(super) fn candidates<'a>(&self, view: &View<'a>) -> Result<Vec<Value<'a>>, Gap> {
        let Self::NumberedHeaders(prefix) = self else {
            return self.one(view).map(|value| vec![value]);
        };
        let numbered = view.delivery.headers.keys().filter(|name| is_numbered(name, prefix));
        let values: Vec<Value<'a>> = numbered.map(|name| one_header(view, name)).collect::<Result<_, _>>()?;
        if values.is_empty() { Err(Gap::Absent) } else { Ok(values) }
    }

    /// All values as text, for names and ids: of a repeated JSON key the last, and no objects or arrays.
    pub(super) fn names(&self, view: &View<'_>) -> Vec<String> {
        let select = |document: Document<'_>, pointer: &Pointer| {
            let mut spans = document.select(pointer);
            if !pointer.is_plural() {
                spans.drain(..spans.len().saturating_sub(1));
            }
            let texts = spans.into_iter().map(|span| document.text(span));
            texts
                .filter(|text| !json::is_compound(text))
                .filter_map(json::value_text)
                .map(Cow::into_owned)
                .collect()
        };
        match self {
            // A body that says it is something else would be taken apart for nothing.
            Self::Form(_) | Self::FormJson(..) if !view.may_be_form() => Vec::new(),
            Self::Json(pointer) => view.json().map(|document| select(document, pointer)).unwrap_or_default(),
            Self::FormJson(field, pointer) => {
                let field =
                    form::values(view, field).ok().and_then(|mut values| values.pop()).unwrap_or_default();
                Document::parse(field.as_bytes())
                    .map(|document| select(document, pointer))
                    .unwrap_or_default()
            }
            _ => self.texts(view),
        }
    }

    fn texts(&self, view: &View<'_>) -> Vec<String> {
        let values = self.every(view).unwrap_or_default();
        values.iter().map(|value| latin1_or_utf8(value)).filter(|name| !name.is_empty()).collect()
    }

    fn every<'a>(&self, view: &View<'a>) -> Result<Vec<Value<'a>>, Gap> {
        Ok(match self {
            Self::Header(name) => {
                let delivery = view.delivery;
                delivery.headers.get_all(name).iter().map(|value| Cow::Borrowed(value.as_bytes())).collect()
            }
            Self::NumberedHeaders(_) => self.candidates(view)?,
            Self::Query(name) => form::query_values(view, name)?.into_iter().map(bytes).collect(),
            Self::Form(name) => form::values(view, name)?.into_iter().map(bytes).collect(),
            Self::Json(pointer) => {
                let document = view.json().ok_or(Gap::Body)?;
                let texts = document.select(pointer).into_iter().map(|span| document.text(span));
                texts.filter_map(json::value_text).map(bytes).collect()
            }
            Self::FormJson(field, pointer) => form_json(view, field, pointer)?,
            Self::Xml(_) if xml::has_document_type(&view.delivery.body) => return Err(Gap::Body),
            Self::Xml(name) => {
                let body = &view.delivery.body;
                xml::elements(body, name)
                    .into_iter()
                    .map(|span| Cow::Borrowed(xml::text(&body[span])))
                    .collect()
            }
            Self::Body => vec![Cow::Borrowed(&view.delivery.body[..])],
            Self::Constant(text) => vec![Cow::Owned(text.clone().into_bytes())],
        })
    }
}

fn header_name(text: &str) -> Result<HeaderName, CompileError> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| CompileError::malformed("source", text, "that is no header's name"))
}

fn one_header<'a>(view: &View<'a>, name: &HeaderName) -> Result<Value<'a>, Gap> {
    let delivery = view.delivery;
    let mut values = delivery.headers.get_all(name).iter();
    let value = values.next().ok_or(Gap::Absent)?.as_bytes();
    match values.next() {
        Some(_) => Err(Gap::Repeated),
        None if value.is_empty() => Err(Gap::Absent),
        None => Ok(Cow::Borrowed(value)),
    }
}

fn is_numbered(name: &HeaderName, prefix: &str) -> bool {
    let number = name.as_str().strip_prefix(prefix);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

fn form_json<'a>(view: &View<'a>, field: &str, pointer: &Pointer) -> Result<Vec<Value<'a>>, Gap> {
    let mut fields = form::values(view, field)?;
    if fields.len() > 1 {
        return Err(Gap::Repeated);
    }
    let json = fields.pop().ok_or(Gap::Absent)?;
    let document = Document::parse(json.as_bytes()).ok_or(Gap::Body)?;
    let texts = document.select(pointer).into_iter().map(|span| document.text(span));
    Ok(texts.filter_map(json::value_text).map(|text| Cow::Owned(text.into_owned().into_bytes())).collect())
}

fn bytes(text: Cow<'_, str>) -> Value<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn latin1_or_utf8(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}
