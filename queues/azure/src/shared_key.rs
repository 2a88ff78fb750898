//! Shared Key: what a connection string's `AccountKey` proves, as an HMAC over each request.
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// Those of the standard headers that are signed, in Microsoft's order. The length comes third.
const BEFORE_LENGTH: [&str; 2] = ["content-encoding", "content-language"];
const AFTER_LENGTH: [&str; 8] = [
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Signs every try of a request. It comes last before the transport, when all headers are there.
pub(crate) struct SharedKeyPolicy {
    account: String,
    key: hmac::Key,
}

impl SharedKeyPolicy {
    /// `key` is the decoded one.
    pub(crate) fn new(account: String, key: &[u8]) -> Self {
        Self { account, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    fn authorization(&self, request: &Request) -> String {
        let tag = hmac::sign(&self.key, string_to_sign(&self.account, request).as_bytes());
        format!("SharedKey {}:{}", self.account, BASE64.encode(tag))
    }
}

impl fmt::Debug for SharedKeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyPolicy").field("account", &self.account).finish_non_exhaustive()
    }
}

#[async_trait]
impl Policy for SharedKeyPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("x-ms-date", http_date(Timestamp::now()));
        let authorization = self.authorization(request);
        request.insert_header("authorization", authorization);
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// As HTTP writes dates; Azure takes them for 15 minutes.
fn http_date(at: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).expect("the years of today are within RFC 9110")
}

/// `Date` stays empty, as `x-ms-date` stands for it; a length of 0 is written as nothing.
fn string_to_sign(account: &str, request: &Request) -> String {
    let mut headers: Vec<(&str, &str)> =
        request.headers().iter().map(|(name, value)| (name.as_str(), value.as_str().trim())).collect();
    headers.sort_unstable();
    let value =
        |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);

    let mut out = String::with_capacity(512);
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(request.method().as_str());
    BEFORE_LENGTH.iter().for_each(|name| line(value(name)));
    match request.body().len() {
        None | Some(0) => line(""),
        Some(length) => line(&length.to_string()),
    }
    AFTER_LENGTH.iter().for_each(|name| line(value(name)));
    for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
        line(&format!("{name}:{value}"));
    }
    out.push_str(&canonical_resource(account, request));
    out
}

/// `/account/path`, and each parameter of the query on a line of its own, decoded and in order.
fn canonical_resource(account: &str, request: &Request) -> String {
    let url = request.url();
    let mut parameters: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned())).collect();
    parameters.sort_unstable();
    let mut out = format!("/{account}{}", url.path());
    let mut last = None;
    for (name, value) in &parameters {
        if last == Some(name) {
            out.push(',');
        } else {
            out.push('\n');
            out.push_str(name);
            out.push(':');
            last = Some(name);
        }
        out.push_str(value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::{Method, Url};

    fn request(method: Method, url: &str, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(Url::parse(url).unwrap(), method);
        for (name, value) in headers {
            request.insert_header(*name, *value);
        }
        request
    }

    #[test]
    fn the_string_to_sign_of_a_send_is_microsofts() {
        let mut send = request(
            Method::Post,
            "http://127.0.0.1:10001/devstoreaccount1/webhooks/messages?messagettl=-1&Comp=b&comp=a%2Bc",
            &[
                ("x-ms-version", "2026-04-06"),
                ("x-ms-date", "Tue, 24 Nov 2026 08:00:00 GMT"),
                ("x-ms-client-request-id", "1"),
                ("accept", "application/xml"),
                ("content-type", "application/xml"),
            ],
        );
        send.set_body("12345");
        assert_eq!(
            string_to_sign("devstoreaccount1", &send),
            "POST\n\n\n5\n\napplication/xml\n\n\n\n\n\n\n\
             x-ms-client-request-id:1\n\
             x-ms-date:Tue, 24 Nov 2026 08:00:00 GMT\n\
             x-ms-version:2026-04-06\n\
             /devstoreaccount1/devstoreaccount1/webhooks/messages\n\
             comp:a+c,b\n\
             messagettl:-1"
        );
    }

    #[test]
    fn without_a_body_the_length_is_nothing_whatever_the_header_says() {
        let put = request(
            Method::Put,
            "https://acme.queue.core.windows.net/webhooks",
            &[("x-ms-date", "Tue, 24 Nov 2026 08:00:00 GMT"), ("content-length", "0")],
        );
        assert_eq!(
            string_to_sign("acme", &put),
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Tue, 24 Nov 2026 08:00:00 GMT\n/acme/webhooks"
        );
    }

    /// The signature was computed with Python: `base64(hmac.new(key, string, 'sha256').digest())`.
    #[test]
    fn the_signature_is_what_another_implementation_computes() {
        let policy = SharedKeyPolicy::new("acme".into(), b"made-up-key-for-tests-only");
        let put = request(
            Method::Put,
            "https://acme.queue.core.windows.net/webhooks",
            &[("x-ms-date", "Tue, 24 Nov 2026 08:00:00 GMT")],
        );
        assert_eq!(policy.authorization(&put), "SharedKey acme:03sk00LtG93kPePyyNCZJIDbSp4zHsRACz5c9l/ZZ/w=");
        assert!(!format!("{policy:?}").contains("made-up"), "the key isn't shown");
    }

    #[test]
    fn dates_are_http_dates() {
        let at = Timestamp::from_second(0).unwrap();
        assert_eq!(http_date(at), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
