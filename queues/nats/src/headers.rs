//! Message headers: ours, the server's, and those of the message's form.

use async_nats::header::HeaderName;
use async_nats::{HeaderMap, HeaderValue};

/// The server's: what it tells duplicates by.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The server's: a message that another stream would take is refused.
pub(crate) const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
/// The payload's type.
pub(crate) const CONTENT_TYPE: &str = "Content-Type";

/// Builds headers out of texts that senders may have chosen. A value that can't be one is left out; the
/// context carries it all the same.
pub(crate) fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        set(&mut headers, name, value);
    }
    headers
}

/// Whether a text can be a header's value, for the server and for whoever reads it in another language.
pub(crate) fn is_value(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// Sets one header, if its value can be one.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    if name.is_empty() || !is_value(value) {
        return;
    }
    // `HeaderMap::insert` panics on a text that isn't fit.
    if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        headers.insert(name, value);
    }
}

/// The last value of a header.
pub(crate) fn get<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Option<&'a str> {
    headers?.get_last(name).map(HeaderValue::as_str)
}

/// Without the server's own.
pub(crate) fn without_servers(headers: Option<&HeaderMap>) -> HeaderMap {
    let mut rest = HeaderMap::new();
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        for value in values.iter().filter(|_| !is_servers(name)) {
            rest.append(name.clone(), value.clone());
        }
    }
    rest
}

fn is_servers(name: &HeaderName) -> bool {
    AsRef::<str>::as_ref(name).starts_with("Nats-")
}

/// Without what belongs to one publish: the server's own, and the payload's type.
pub(crate) fn of_form(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let all = headers.into_iter().flat_map(HeaderMap::iter).filter(|(name, _)| !is_servers(name));
    let named = all.map(|(name, values)| (name.to_string(), values));
    let wanted = named.filter(|(name, _)| name != CONTENT_TYPE);
    let mut headers: Vec<_> = wanted
        .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.to_string())))
        .collect();
    headers.sort();
    headers
}

/// The headers' length on the wire in bytes; it counts toward the server's `max_payload`.
pub(crate) fn wire_len(headers: &HeaderMap) -> usize {
    let line = |name: &HeaderName, value: &HeaderValue| {
        AsRef::<str>::as_ref(name).len() + ": ".len() + value.as_str().len() + "\r\n".len()
    };
    let lines = headers.iter().flat_map(|(name, values)| values.iter().map(move |value| line(name, value)));
    "NATS/1.0\r\n".len() + lines.sum::<usize>() + "\r\n".len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_break_the_protocol_is_left_out_and_does_not_panic() {
        let headers =
            map([("a", "1\r\nb: 2"), ("c", "3"), ("d\r\n", "4"), ("e f", "5"), ("", "6"), ("g", "7\0")]);
        assert_eq!(headers.get("c").map(HeaderValue::as_str), Some("3"));
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(wire_len(&map([("c", "3")])), "NATS/1.0\r\nc: 3\r\n\r\n".len());
    }

    #[test]
    fn a_worker_gets_the_headers_of_the_form_alone() {
        let headers =
            map([(MESSAGE_ID, "1"), (CONTENT_TYPE, "text/plain"), ("sluiced-id", "x"), ("ce-id", "y")]);
        let pairs = [("ce-id", "y"), ("sluiced-id", "x")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(of_form(Some(&headers)), pairs);
    }
}
