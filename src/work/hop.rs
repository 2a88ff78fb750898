//! Which headers of a webhook belong to the connection that it came on, and not to the next one.

use sluiced_queue::RequestHeaders;

/// Whether a header of a request mustn't be forwarded: hop-by-hop (RFC 9110, 7.6.1, which also counts those
/// that `Connection` names), or about what the new request has of its own. Names in lower case.
pub fn stays_behind(name: &str, headers: &RequestHeaders) -> bool {
    STAY_BEHIND.contains(&name) || is_named_in_connection(name, headers)
}

const STAY_BEHIND: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    // Hop-by-hop in RFC 2616, and of no use without the trailers.
    "trailer",
    // Meant for the proxy in front of us.
    "proxy-authenticate",
    "proxy-authorization",
    // The new request has its own.
    "host",
    "content-length",
    // Has been met.
    "expect",
    "http2-settings",
];

fn is_named_in_connection(name: &str, headers: &RequestHeaders) -> bool {
    headers
        .get_all("connection")
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_stays_behind_too() {
        let headers = [("connection", vec!["close, X-Hop", " x-other ,,"])].into_iter().collect();
        for name in ["connection", "x-hop", "x-other", "host", "transfer-encoding", "close"] {
            assert!(stays_behind(name, &headers), "{name}");
        }
        for name in ["x-hop-2", "content-type", "x-github-event", "authorization", ""] {
            assert!(name.is_empty() || !stays_behind(name, &headers), "{name}");
        }
        assert!(!stays_behind("x-hop", &RequestHeaders::default()));
    }
}
