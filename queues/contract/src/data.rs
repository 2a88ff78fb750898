//! How a body appears in a message: verbatim JSON, form fields, text, or bytes in base64. Whatever
//! it is, its exact bytes can be had back.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::json_check;

/// A JSON body nested deeper than this is carried as bytes: common parsers give up at about 128,
/// and a message that a worker can't parse is a lost message.
pub const JSON_DEPTH_MAX: usize = 128;

/// A body, classified by what its content type says and what it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// One complete JSON value in UTF-8, white space round it included. Embedded verbatim.
    Json(Bytes),
    /// `application/x-www-form-urlencoded`: the raw text and its decoded fields.
    Form {
        /// As received.
        raw: String,
        /// Name and values, in the order of first appearance.
        fields: Vec<(String, Vec<String>)>,
    },
    /// XML and other text in UTF-8.
    Text(String),
    /// Anything else, the empty body included; and what isn't what its content type says.
    Bytes(Bytes),
}

/// What a content type promises of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Json,
    Form,
    Text,
    Other,
    /// No content type at all: JSON objects and arrays are recognised, the rest is bytes.
    Nothing,
}

impl Data {
    /// Classifies a body. `content_encoding` is whether a `Content-Encoding` other than `identity`
    /// was declared: such a body is passed on as sent, never inflated.
    pub fn classify(content_type: Option<&str>, content_encoding: bool, body: Bytes) -> Self {
        if body.is_empty() || content_encoding {
            return Self::Bytes(body);
        }
        match promise(content_type) {
            Promise::Json if json_check::is_embeddable(&body) => Self::Json(body),
            Promise::Nothing if looks_structured(&body) && json_check::is_embeddable(&body) => {
                Self::Json(body)
            }
            Promise::Form => match std::str::from_utf8(&body) {
                Ok(raw) => Self::Form { raw: raw.to_owned(), fields: form_fields(raw) },
                Err(_) => Self::Bytes(body),
            },
            Promise::Text => match std::str::from_utf8(&body) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Bytes(body),
            },
            _ => Self::Bytes(body),
        }
    }

    /// The body's exact bytes, but for masked credentials.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(bytes) | Self::Bytes(bytes) => bytes,
            Self::Form { raw, .. } => raw.as_bytes(),
            Self::Text(text) => text.as_bytes(),
        }
    }

    /// The body read as JSON into a type of the caller's; `None` when it isn't JSON or doesn't fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            Self::Json(bytes) => serde_json::from_slice(bytes).ok(),
            _ => None,
        }
    }

    /// A form field's first value; `None` when this isn't a form or has no such field.
    pub fn form_field(&self, name: &str) -> Option<&str> {
        let Self::Form { fields, .. } = self else { return None };
        let (_, values) = fields.iter().find(|(n, _)| n == name)?;
        values.first().map(String::as_str)
    }
}

/// Whether a content type promises JSON: `application/json`, `text/json`, `…/…+json`; parameters
/// and case don't matter.
pub fn is_json_type(content_type: &str) -> bool {
    promise(Some(content_type)) == Promise::Json
}

/// Whether a value of `Content-Encoding` is a coding: anything but `identity` and nothing.
pub fn is_encoding(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    !value.is_empty() && !value.eq_ignore_ascii_case(b"identity")
}

/// Whether a content type promises a form.
pub fn is_form_type(content_type: &str) -> bool {
    promise(Some(content_type)) == Promise::Form
}

fn promise(content_type: Option<&str>) -> Promise {
    let Some(value) = content_type else { return Promise::Nothing };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.is_empty() {
        return Promise::Nothing;
    }
    let (kind, subtype) = essence.split_once('/').unwrap_or((&essence, ""));
    if matches!(kind, "application" | "text") && subtype == "json" || subtype.ends_with("+json") {
        Promise::Json
    } else if kind == "application" && subtype == "x-www-form-urlencoded" {
        Promise::Form
    } else if kind == "text" || subtype == "xml" || subtype.ends_with("+xml") {
        Promise::Text
    } else {
        Promise::Other
    }
}

/// The fields of a form, decoded; repeated names keep all their values.
pub fn form_fields(raw: &str) -> Vec<(String, Vec<String>)> {
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
        let at = *index.entry(name.to_string()).or_insert_with(|| {
            fields.push((name.into_owned(), Vec::new()));
            fields.len() - 1
        });
        fields[at].1.push(value.into_owned());
    }
    fields
}

fn looks_structured(body: &[u8]) -> bool {
    matches!(body.iter().find(|b| !is_json_space(**b)), Some(b'{' | b'['))
}

/// The four bytes that RFC 8259 allows between tokens.
pub(crate) fn is_json_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(content_type: &str, body: &[u8]) -> Data {
        Data::classify(Some(content_type), false, Bytes::copy_from_slice(body))
    }

    fn is_json(content_type: &str, body: &[u8]) -> bool {
        matches!(classify(content_type, body), Data::Json(_))
    }

    #[test]
    fn json_is_what_its_type_and_its_bytes_both_say() {
        for good in ["{}", " [1]\r\n", "\"x\"", "12345678901234567890", "{\"a\":1,\"a\":2}", "\"\\ud800\""] {
            assert!(is_json("application/json; charset=utf-8", good.as_bytes()), "{good}");
            assert!(is_json("Application/Vnd.GitHub+JSON", good.as_bytes()), "{good}");
            assert!(!is_json("text/plain", good.as_bytes()), "{good}");
        }
        for bad in [
            &b"{"[..],
            b"{} {}",
            b"{'a':1}",
            b"[1,]",
            b"NaN",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"null",
            b" null\n",
            b"\"a\nb\"",
            b"",
        ] {
            assert!(!is_json("application/json", bad), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn depth_is_bounded_and_strings_do_not_count() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(is_json("application/json", &nested(JSON_DEPTH_MAX)));
        assert!(!is_json("application/json", &nested(JSON_DEPTH_MAX + 1)));
        assert!(!is_json("application/json", &nested(1_000_000)), "neither stack nor time runs out");
        let quoted = format!("[\"{}\\\"{}\"]", "[".repeat(200), "{".repeat(200));
        assert!(is_json("application/json", quoted.as_bytes()));
    }

    #[test]
    fn forms_keep_repeats_in_order() {
        let Data::Form { raw, fields } =
            classify("application/x-www-form-urlencoded", b"b=1&a=x+y&b=%32&c&=z")
        else {
            panic!("a form")
        };
        assert_eq!(raw, "b=1&a=x+y&b=%32&c&=z");
        let names: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.join("|"))).collect();
        assert_eq!(names, [("b", "1|2".into()), ("a", "x y".into()), ("c", String::new()), ("", "z".into())]);
    }

    #[test]
    fn what_is_not_what_it_says_is_bytes() {
        assert_eq!(classify("text/xml", b"<a>\xff</a>"), Data::Bytes(Bytes::from_static(b"<a>\xff</a>")));
        assert_eq!(classify("application/octet-stream", b"{}"), Data::Bytes(Bytes::from_static(b"{}")));
        assert_eq!(classify("application/xml", b"<a/>"), Data::Text("<a/>".into()));
        let encoded = Data::classify(Some("application/json"), true, Bytes::from_static(b"{}"));
        assert_eq!(
            encoded,
            Data::Bytes(Bytes::from_static(b"{}")),
            "compressed bodies are never looked into"
        );
    }

    #[test]
    fn without_a_content_type_only_objects_and_arrays_are_json() {
        assert!(matches!(Data::classify(None, false, Bytes::from_static(b" {\"a\":1}")), Data::Json(_)));
        assert!(matches!(Data::classify(None, false, Bytes::from_static(b"12")), Data::Bytes(_)));
        assert!(matches!(Data::classify(None, false, Bytes::from_static(b"a=b")), Data::Bytes(_)));
    }
}
