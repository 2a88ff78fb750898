//! Answers: empty ones, a row's or a handler's, and problems by RFC 9457.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::bounds::RETRY_AFTER_S;
use crate::reason::Reason;
use crate::verify::Reply;

/// What goes back to the sender.
pub type HttpReply = Response<Full<Bytes>>;

/// Marks an answer that is given before the request was read to its end.
#[derive(Clone, Copy, Debug)]
pub struct LeavesUnread;

/// Marks an answer to a request that its sender cut off.
#[derive(Clone, Copy, Debug)]
pub struct CutOff;

/// A refusal or failure on its way to the sender.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// Why.
    pub reason: Reason,
    /// The status, where a provider wants another than the reason's.
    pub status: StatusCode,
    /// The bound that was passed, in bytes.
    pub limit: Option<u64>,
    /// The methods that are allowed.
    pub allow: Option<&'a str>,
    /// When to come again, if that is known.
    pub retry_after: Option<Duration>,
}

impl Problem<'_> {
    /// A problem of which there is nothing more to say.
    pub fn new(reason: Reason) -> Self {
        Self { reason, status: reason.status(), limit: None, allow: None, retry_after: None }
    }

    /// The answer. It says what the sender may know; the rest is in the log.
    pub fn reply(&self) -> HttpReply {
        let mut reply = Response::new(Full::new(Bytes::from(self.json())));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.may_retry() {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after_s()));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.leaves_body_unread() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }

    /// The same with a body that the provider reads.
    pub fn reply_with(&self, body: &Reply) -> HttpReply {
        let mut reply = self.reply();
        if let Some(content_type) = &body.content_type {
            reply.headers_mut().insert(CONTENT_TYPE, content_type.clone());
        }
        *reply.body_mut() = Full::new(body.body.clone());
        reply
    }

    /// The same as bytes, for a connection on which hyper no longer speaks, or never did.
    pub fn raw_http1(&self) -> Vec<u8> {
        let json = self.json();
        let retry = if self.may_retry() {
            format!("retry-after: {}\r\n", self.retry_after_s())
        } else {
            String::new()
        };
        format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{retry}connection: close\r\n\r\n{json}",
            self.status.as_u16(),
            self.status.canonical_reason().unwrap_or_default(),
            json.len(),
        )
        .into_bytes()
    }

    fn json(&self) -> String {
        let told = self.reason.as_told();
        let (title, status, reason) = (told.title(), self.status.as_u16(), told.as_str());
        let limit = self.limit.map_or_else(String::new, |limit| {
            format!(",\"detail\":\"The limit is {limit} bytes\",\"limit\":{limit}")
        });
        format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"reason\":\"{reason}\"{limit}}}"
        )
    }

    /// Whole seconds, never too few.
    fn retry_after_s(&self) -> u64 {
        self.retry_after.map_or(RETRY_AFTER_S, |wait| wait.as_millis().div_ceil(1_000).max(1) as u64)
    }

    fn may_retry(&self) -> bool {
        matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether this is said before the body is whole: what still comes is then not worth keeping the
    /// connection for.
    fn leaves_body_unread(&self) -> bool {
        matches!(
            self.reason,
            Reason::BodyTooLarge | Reason::TooSlow | Reason::BodyIncomplete | Reason::RequestMalformed
        )
    }
}

/// A reply of a row or a handler as an HTTP response.
pub fn from_reply(reply: &Reply) -> HttpReply {
    let mut response = Response::new(Full::new(reply.body.clone()));
    *response.status_mut() = reply.status;
    if let Some(content_type) = &reply.content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    }
    for (name, value) in &reply.headers {
        response.headers_mut().append(name.clone(), value.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_json_with_its_reason_and_status() {
        for reason in Reason::ALL {
            let problem = Problem { limit: Some(7), ..Problem::new(reason) };
            let value: serde_json::Value = serde_json::from_str(&problem.json()).unwrap();
            assert_eq!(value["reason"], reason.as_told().as_str());
            assert_eq!(value["status"], reason.status().as_u16());
            assert_eq!(value["limit"], 7);
        }
    }

    #[test]
    fn who_may_come_again_is_told_when() {
        assert_eq!(Problem::new(Reason::NotDurable).reply().headers()[RETRY_AFTER], "5");
        assert!(Problem::new(Reason::TokenMismatch).reply().headers().get(RETRY_AFTER).is_none());
        let limited = |wait| Problem { retry_after: Some(wait), ..Problem::new(Reason::RateLimited) }.reply();
        assert_eq!(limited(Duration::from_millis(1_001)).headers()[RETRY_AFTER], "2");
        assert_eq!(limited(Duration::ZERO).headers()[RETRY_AFTER], "1");
        let raw = String::from_utf8(Problem::new(Reason::Overloaded).raw_http1()).unwrap();
        assert!(
            raw.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && raw.contains("\r\nretry-after: 5\r\n")
        );
    }
}
