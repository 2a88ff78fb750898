//! The signature base (RFC 9421, 2.5): a line for each covered component, the parameters last.

use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::fields::{Component, Input, Value};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::encoding::Encoding;
use crate::verify::public_url;
use crate::verify::view::View;

/// The bytes that were signed.
pub(super) fn signature_base(input: &Input<'_>, view: &View<'_>) -> Result<Vec<u8>, Refusal> {
    let target = Target::of(view).ok_or(NO_URL)?;
    let mut base = Vec::new();
    for (at, component) in input.components.iter().enumerate() {
        if input.components[..at].iter().any(|earlier| earlier.raw == component.raw) {
            return Err(REPEATED);
        }
        base.extend_from_slice(component.raw.as_bytes());
        base.extend_from_slice(b": ");
        base.extend_from_slice(&value(component, view, &target)?);
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(input.raw.as_bytes());
    Ok(base)
}

/// Whether a row or receiver can require it by name.
pub(super) fn can_be_covered(name: &str) -> bool {
    match name.strip_prefix('@') {
        Some(_) => DERIVED.contains(&name),
        None => is_field(name),
    }
}

const DERIVED: [&str; 7] =
    ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"];

fn is_field(name: &str) -> bool {
    HeaderName::from_bytes(name.as_bytes()).is_ok_and(|known| known.as_str() == name)
}

fn value(component: &Component<'_>, view: &View<'_>, target: &Target) -> Result<Vec<u8>, Refusal> {
    let name = component.name.as_str();
    let text = match (name, &component.parameters[..]) {
        ("@method", []) => view.delivery.method.to_string(),
        ("@target-uri", []) => format!("{}://{}{}", target.scheme, target.authority, target.path_and_query()),
        ("@authority", []) => target.authority.clone(),
        ("@scheme", []) => target.scheme.clone(),
        ("@request-target", []) => target.path_and_query(),
        ("@path", []) => target.path.clone(),
        ("@query", []) => format!("?{}", target.query.as_deref().unwrap_or_default()),
        ("@query-param", [("name", Value::Text(name))]) => target.parameter(name)?,
        (name, []) if is_field(name) => return field(name, view, <[u8]>::to_vec),
        (name, [("bs", Value::Present)]) if is_field(name) => {
            return field(name, view, |value| format!(":{}:", Encoding::Base64.encode(value)).into_bytes());
        }
        _ => return Err(UNKNOWN),
    };
    Ok(text.into_bytes())
}

/// The field's lines, each trimmed and written so, with a comma and a space between. None is folded: HTTP/1
/// requests with folded lines don't get here.
fn field(name: &str, view: &View<'_>, write: impl Fn(&[u8]) -> Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let lines = view.delivery.headers.get_all(name).iter();
    let lines: Vec<_> = lines.map(|line| write(line.as_bytes().trim_ascii())).collect();
    if lines.is_empty() { Err(ABSENT) } else { Ok(lines.join(&b", "[..])) }
}

/// What the sender called, by the public URL.
struct Target {
    scheme: String,
    /// In lower case, without user and default port.
    authority: String,
    path: String,
    query: Option<String>,
}

impl Target {
    fn of(view: &View<'_>) -> Option<Self> {
        let url = view.url()?;
        let without = public_url::without_port(&url);
        let url = without.as_deref().unwrap_or(&url);
        let (scheme, rest) = url.split_once("://")?;
        let after = public_url::after_authority(url);
        let authority = rest.strip_suffix(after)?;
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (path, query) = match after.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (after, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: authority.to_ascii_lowercase(),
            path: path.to_owned(),
            query,
        })
    }

    fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The parameter of that name, which is percent-encoded as the value is; one that comes twice is refused
    /// (RFC 9421, 2.2.8).
    fn parameter(&self, name: &str) -> Result<String, Refusal> {
        let query = self.query.as_deref().unwrap_or_default();
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(known, _)| encode(known) == name)
            .map(|(_, value)| encode(&value));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (Some(_), Some(_)) => Err(REPEATED),
            (None, _) => Err(ABSENT),
        }
    }
}

/// The URL standard's set of application/x-www-form-urlencoded, with a space as `%20`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

const NO_URL: Refusal = Refusal::new(Reason::SignatureMalformed, "the public URL isn't known");
const REPEATED: Refusal = Refusal::new(Reason::SignatureMalformed, "a covered component comes twice");
const ABSENT: Refusal = Refusal::new(Reason::SignatureMalformed, "a covered component isn't in the request");
const UNKNOWN: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the signature covers a component that isn't supported");
