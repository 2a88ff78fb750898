//! Atlassian's canonical request, whose hash is a token's `qsh`.
//!
//! The rule (developer.atlassian.com/cloud/jira/platform/understanding-jwt-for-connect-apps): method, path
//! without a slash at its end, and query, joined by `&`. The query's parameters, `jwt` left out, are decoded,
//! encoded as RFC 3986 has it, and sorted; a repeated one's values are sorted and joined by a comma.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::form;
use super::source::Gap;
use super::view::View;

/// What isn't encoded besides letters and digits (RFC 3986, 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The request in its canonical form.
pub(super) fn request(view: &View<'_>) -> Result<String, Gap> {
    let delivery = view.delivery;
    let path = delivery.uri.path().trim_end_matches('/').replace('&', "%26");
    let path = if path.is_empty() { "/" } else { &path };
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form::query_fields(view)?.into_iter().filter(|(name, _)| name != "jwt") {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        parameters.entry(encode(&name)).or_default().push(encode(&value));
    }
    let parameters = parameters.into_iter().map(|(name, mut values)| {
        values.sort();
        format!("{name}={}", values.join(","))
    });
    let query: Vec<String> = parameters.collect();
    Ok(format!("{}&{path}&{}", delivery.method.as_str().to_ascii_uppercase(), query.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What npm atlassian-jwt@2.0.3 makes of them.
    #[test]
    fn agrees_with_atlassians_library() {
        let cases = [
            ("/in/x?b=2&a=1&a=%20z&jwt=zz&c=%2F~*", "POST&/in/x&a=%20z,1&b=2&c=%2F~%2A"),
            ("/in/x/", "POST&/in/x&"),
            ("/", "POST&/&"),
            ("/a&b?x", "POST&/a%26b&x="),
        ];
        for (target, canonical) in cases {
            let uri = target.parse().unwrap();
            let post = crate::verify::tests::post(http::HeaderMap::new(), "");
            let delivery = crate::delivery::Delivery { uri, ..post };
            assert_eq!(request(&View::new(&delivery, None)).unwrap(), canonical);
        }
    }
}
