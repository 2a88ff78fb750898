//! Masking: credentials leave the daemon as `***`, all other bytes as they came.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::CompileError;
use super::json::{Document, Pointer};
use super::source::Source;
use super::xml;

/// What stands in a credential's place.
pub const MASKED: &str = "***";

/// A place that holds a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask(Place);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header(HeaderName),
    Query(String),
    Form(String),
    Json(Pointer),
    Xml(String),
}

/// A request without its credentials.
#[derive(Clone, Debug)]
pub struct Masked<'a> {
    /// The headers.
    pub headers: Cow<'a, HeaderMap>,
    /// The query.
    pub query: Cow<'a, str>,
    /// The body.
    pub body: Bytes,
    /// What was replaced: `header:name`, `query:name`, `form:name`, `json:/pointer`, `xml:Element`.
    pub masked: Vec<String>,
}

impl Mask {
    /// `Authorization` and `Cookie`: masked whatever the row says.
    pub fn always() -> [Self; 2] {
        [Self(Place::Header(AUTHORIZATION)), Self(Place::Header(COOKIE))]
    }

    /// Parses `header:NAME`, `query:NAME`, `form:FIELD`, `json:/pointer`, `xml:ELEMENT`.
    pub(super) fn parse(text: &str) -> Result<Self, CompileError> {
        Self::of(&Source::parse(text)?)
            .ok_or_else(|| CompileError::malformed("mask", text, "that can't be masked"))
    }

    /// The mask of a credential's source; `None` for sources that can't be masked.
    pub(super) fn of(source: &Source) -> Option<Self> {
        Some(Self(match source {
            Source::Header(name) => Place::Header(name.clone()),
            Source::Query(name) => Place::Query(name.clone()),
            Source::Form(name) => Place::Form(name.clone()),
            Source::Json(pointer) => Place::Json(pointer.clone()),
            Source::Xml(name) => Place::Xml(name.clone()),
            _ => return None,
        }))
    }
}

/// Replaces what the masks name. Places that the request doesn't have are left out of the list.
pub fn mask<'a>(masks: &[Mask], headers: &'a HeaderMap, query: &'a str, body: &Bytes) -> Masked<'a> {
    let mut result = Masked {
        headers: Cow::Borrowed(headers),
        query: Cow::Borrowed(query),
        body: body.clone(),
        masked: Vec::new(),
    };
    for Mask(place) in masks {
        let name = match place {
            Place::Header(name) => mask_header(&mut result.headers, name).then(|| format!("header:{name}")),
            Place::Query(name) => mask_query(&mut result.query, name).then(|| format!("query:{name}")),
            Place::Form(name) => {
                mask_body(&mut result.body, |body| pairs(body, name)).then(|| format!("form:{name}"))
            }
            Place::Json(pointer) => mask_json(&mut result.body, pointer).then(|| format!("json:{pointer}")),
            Place::Xml(name) => {
                mask_body(&mut result.body, |body| xml::elements(body, name)).then(|| format!("xml:{name}"))
            }
        };
        result.masked.extend(name);
    }
    result
}

fn mask_header(headers: &mut Cow<'_, HeaderMap>, name: &HeaderName) -> bool {
    if !headers.contains_key(name) {
        return false;
    }
    match headers.to_mut().entry(name) {
        http::header::Entry::Vacant(_) => false,
        http::header::Entry::Occupied(mut entry) => {
            entry.iter_mut().for_each(|value| *value = HeaderValue::from_static(MASKED));
            true
        }
    }
}

fn mask_query(query: &mut Cow<'_, str>, name: &str) -> bool {
    let spans = pairs(query.as_bytes(), name);
    let masked = replace(query.as_bytes(), &spans, MASKED);
    // Spans lie between ASCII bytes, so that the rest stays text.
    if let (false, Ok(masked)) = (spans.is_empty(), String::from_utf8(masked)) {
        *query = Cow::Owned(masked);
        return true;
    }
    false
}

fn mask_body(body: &mut Bytes, spans: impl Fn(&[u8]) -> Vec<Range<usize>>) -> bool {
    let spans = spans(body);
    if spans.is_empty() {
        return false;
    }
    *body = replace(body, &spans, MASKED).into();
    true
}

fn mask_json(body: &mut Bytes, pointer: &Pointer) -> bool {
    let spans = Document::parse(body).map(|document| document.select(pointer)).unwrap_or_default();
    if spans.is_empty() {
        return false;
    }
    *body = replace(body, &spans, "\"***\"").into();
    true
}

fn replace(text: &[u8], spans: &[Range<usize>], with: &str) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut end = 0;
    for span in spans {
        replaced.extend_from_slice(&text[end..span.start]);
        replaced.extend_from_slice(with.as_bytes());
        end = span.end;
    }
    replaced.extend_from_slice(&text[end..]);
    replaced
}

/// The spans of a URL-encoded field's values.
fn pairs(text: &[u8], name: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    for pair in text.split(|byte| *byte == b'&') {
        if let Some(assign) = memchr::memchr(b'=', pair)
            && decodes_to(&pair[..assign], name)
        {
            spans.push(start + assign + 1..start + pair.len());
        }
        start += pair.len() + 1;
    }
    spans
}

fn decodes_to(encoded: &[u8], name: &str) -> bool {
    form_urlencoded::parse(encoded).next().is_some_and(|(decoded, _)| decoded.as_ref().eq(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(masks: &[&str], body: &str) -> (String, Vec<String>) {
        let masks: Vec<Mask> = masks.iter().map(|text| Mask::parse(text).unwrap()).collect();
        let headers = HeaderMap::new();
        let masked = mask(&masks, &headers, "", &Bytes::copy_from_slice(body.as_bytes()));
        (String::from_utf8(masked.body.to_vec()).unwrap(), masked.masked)
    }

    #[test]
    fn replaces_bytes_and_nothing_else() {
        let (json, masked) = body(&["json:/token"], "{ \"n\": 1.50,\n\"token\" : \"a\\\"b\" , \"z\":[]}");
        assert_eq!(json, "{ \"n\": 1.50,\n\"token\" : \"***\" , \"z\":[]}");
        assert_eq!(masked, ["json:/token"]);
        let (form, _) = body(&["form:token"], "a=%20&to%6ben=s%26x&token=&token&b=+");
        assert_eq!(form, "a=%20&to%6ben=***&token=***&token&b=+");
        let (xml, masked) =
            body(&["xml:SessionId"], "<a><n:SessionId x=\"1\">s</n:SessionId><SessionIds>t</SessionIds></a>");
        assert_eq!(xml, "<a><n:SessionId x=\"1\">***</n:SessionId><SessionIds>t</SessionIds></a>");
        assert_eq!(masked, ["xml:SessionId"]);
    }

    #[test]
    fn leaves_what_is_not_there() {
        let (json, masked) = body(&["json:/token", "form:token"], "{\"token");
        assert_eq!(json, "{\"token");
        assert!(masked.is_empty());
    }

    #[test]
    fn masks_headers_and_query() {
        let mut headers = HeaderMap::new();
        headers.append("authorization", HeaderValue::from_static("Bearer s"));
        headers.append("cookie", HeaderValue::from_static("a=b"));
        headers.append("cookie", HeaderValue::from_static("c=d"));
        let mut masks = Mask::always().to_vec();
        masks.push(Mask::parse("query:code").unwrap());
        let masked = mask(&masks, &headers, "x=%C3%A4&code=s&y", &Bytes::new());
        assert_eq!(masked.query, "x=%C3%A4&code=***&y");
        assert!(masked.headers.values().all(|value| value == MASKED));
        assert_eq!(masked.headers.get_all("cookie").iter().count(), 2);
        assert_eq!(masked.masked, ["header:authorization", "header:cookie", "query:code"]);
    }
}
