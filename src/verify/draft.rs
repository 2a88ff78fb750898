//! A request that is being put together before it is signed.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::json::{Document, Pointer};
use super::sign::{OutgoingRequest, SignError};
use super::source::Source;
use super::view::View;
use crate::delivery::Delivery;

/// Elements that a pointer into a made-up array may ask for.
const ARRAY_MAX: usize = 16;

/// The content type of URL-encoded forms.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// Method, URL, headers and body, in the making.
pub(super) struct Draft {
    method: Method,
    url: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Body,
    /// The element that is being signed, of a scheme that signs each.
    within: Option<Pointer>,
}

enum Body {
    Given(Bytes),
    Json(Value),
    Form(Vec<(String, String)>),
}

impl Draft {
    pub(super) fn new(
        method: Method,
        url: &str,
        content_type: &str,
        body: Option<Bytes>,
    ) -> Result<Self, SignError> {
        let is_absolute =
            url.parse::<Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some());
        if !is_absolute {
            return Err(SignError::Url);
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, header_value(content_type)?);
        let body = match body {
            Some(given) => Body::Given(given),
            None if content_type.starts_with(FORM) => Body::Form(Vec::new()),
            None => Body::Json(Value::Object(Map::new())),
        };
        Ok(Self { method, url: url.to_owned(), query: Vec::new(), headers, body, within: None })
    }

    /// From here on pointers are those of one element, the first one, until [`Self::leave`].
    pub(super) fn enter(&mut self, element: &Pointer) {
        self.within = Some(element.clone());
    }

    /// Back to the whole body.
    pub(super) fn leave(&mut self) {
        self.within = None;
    }

    /// Puts a name or an id where the row looks for it first, of the places that such a request has; not into
    /// a body that was given.
    pub(super) fn suggest(&mut self, sources: &[Source], text: Option<&str>) -> Result<(), SignError> {
        let fits = |source: &&Source| match (&self.body, source) {
            (_, Source::Constant(_)) => false,
            (Body::Given(_), _) => !source.is_form() && !matches!(source, Source::Json(_)),
            (Body::Json(_), _) => !source.is_form(),
            (Body::Form(_), _) => !matches!(source, Source::Json(_)),
        };
        match (sources.iter().find(fits), text) {
            (Some(source), Some(text)) => self.put(source, text, false),
            _ => Ok(()),
        }
    }

    /// Puts a value where the source is read.
    pub(super) fn put(&mut self, source: &Source, text: &str, is_number: bool) -> Result<(), SignError> {
        match source {
            Source::Header(name) => {
                self.headers.insert(name, header_value(text)?);
            }
            Source::NumberedHeaders(prefix) => {
                let name = http::HeaderName::try_from(format!("{prefix}1")).map_err(|_| SignError::Header)?;
                self.headers.insert(name, header_value(text)?);
            }
            Source::Query(name) => self.query.push((name.clone(), text.to_owned())),
            Source::Form(name) => self.form()?.push((name.clone(), text.to_owned())),
            Source::Json(pointer) => {
                let pointer =
                    self.within.as_ref().map_or_else(|| pointer.clone(), |outer| outer.join(pointer));
                set(self.json()?, &pointer, leaf(text, is_number));
            }
            Source::FormJson(name, pointer) => {
                let fields = self.form()?;
                let at = fields.iter().position(|(field, _)| field.eq(name));
                let old = at.map(|at| fields.swap_remove(at).1);
                let mut json = old.and_then(|old| serde_json::from_str(&old).ok()).unwrap_or_default();
                set(&mut json, pointer, leaf(text, is_number));
                fields.push((name.clone(), json.to_string()));
            }
            Source::Body => self.body = Body::Given(Bytes::copy_from_slice(text.as_bytes())),
            Source::Xml(_) => return Err(SignError::ValueMissing),
            Source::Constant(_) => {}
        }
        Ok(())
    }

    /// Puts a value where the source is read, into a JSON body that holds nothing else.
    pub(super) fn put_alone(&mut self, source: &Source, text: &str) -> Result<(), SignError> {
        self.body = Body::Json(Value::Object(Map::new()));
        self.put(source, text, false)
    }

    /// Whether the source would find something.
    pub(super) fn has(&self, source: &Source) -> bool {
        source.one(&View::new(&self.delivery(), None)).is_ok()
    }

    /// As the receiver will see it.
    pub(super) fn delivery(&self) -> Delivery {
        let uri: Uri = self.full_url().parse().unwrap_or_default();
        let target = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
        Delivery {
            method: self.method.clone(),
            uri: target,
            headers: self.headers.clone(),
            body: self.element().unwrap_or_else(|| self.bytes()),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            id: String::new(),
            received_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// The element that is being signed, as JSON.
    fn element(&self) -> Option<Bytes> {
        let body = self.bytes();
        let document = Document::parse(&body)?;
        let span = document.select(self.within.as_ref()?).into_iter().next()?;
        Some(body.slice(span))
    }

    pub(super) fn finish(self) -> OutgoingRequest {
        let (url, body) = (self.full_url(), self.bytes());
        OutgoingRequest { method: self.method, url, headers: self.headers, body }
    }

    fn full_url(&self) -> String {
        if self.query.is_empty() {
            return self.url.clone();
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.query).finish();
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}{query}", self.url)
    }

    fn bytes(&self) -> Bytes {
        match &self.body {
            Body::Given(body) => body.clone(),
            Body::Json(json) => json.to_string().into(),
            Body::Form(fields) => {
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish().into()
            }
        }
    }

    /// The body as JSON to write into; a form with nothing in it may become one.
    fn json(&mut self) -> Result<&mut Value, SignError> {
        if let Body::Given(body) = &self.body {
            self.body = Body::Json(serde_json::from_slice(body).map_err(|_| SignError::BodyNotJson)?);
        }
        match &mut self.body {
            Body::Json(json) => Ok(json),
            _ => Err(SignError::BodyNotJson),
        }
    }

    fn form(&mut self) -> Result<&mut Vec<(String, String)>, SignError> {
        let fields = match &self.body {
            Body::Given(body) => form_urlencoded::parse(body).into_owned().collect(),
            Body::Json(_) => Vec::new(),
            Body::Form(_) => Vec::new(),
        };
        if !matches!(self.body, Body::Form(_)) {
            self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
            self.body = Body::Form(fields);
        }
        match &mut self.body {
            Body::Form(fields) => Ok(fields),
            _ => Err(SignError::ValueMissing),
        }
    }
}

fn leaf(text: &str, is_number: bool) -> Value {
    let number = text.parse::<i64>().ok().filter(|_| is_number);
    number.map_or_else(|| Value::from(text), Value::from)
}

/// Sets a value, making objects and arrays on the way; what stands in the way gives way.
fn set(json: &mut Value, pointer: &Pointer, leaf: Value) {
    let mut at = json;
    for key in pointer.sample_keys() {
        let index = key.parse::<usize>().ok().filter(|index| *index < ARRAY_MAX);
        let is_new = at.is_null() || at.as_object().is_some_and(Map::is_empty);
        at = match index {
            Some(index) if at.is_array() || is_new => element(at, index),
            _ => member(at, key),
        };
    }
    *at = leaf;
}

fn element(json: &mut Value, index: usize) -> &mut Value {
    if !json.is_array() {
        *json = Value::Array(Vec::new());
    }
    let Value::Array(elements) = json else { return json };
    if elements.len() <= index {
        elements.resize(index + 1, Value::Null);
    }
    &mut elements[index]
}

fn member<'j>(json: &'j mut Value, key: &str) -> &'j mut Value {
    if !json.is_object() {
        *json = Value::Object(Map::new());
    }
    let Value::Object(members) = json else { return json };
    members.entry(key).or_insert(Value::Null)
}

fn header_value(text: &str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| SignError::Header)
}
