//! `--forward`: posts the original body and headers of each message to a URL.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use sluiced_queue::Data;
use tokio::time::timeout;

use super::attempt::{AttemptError, Job};
use super::facts::facts;
use super::hop::stays_behind;
use crate::bounds::{WORK_HEADER_BYTES_MAX, WORK_REPLY_BYTES_MAX, WORK_REPLY_TIMEOUT};
use crate::client::{HttpClient, client, web_url, with_causes};

/// Posts each message.
pub struct Forward {
    url: Uri,
    client: HttpClient,
}

impl Forward {
    /// Posts to `url`, up to `concurrency` messages at a time.
    ///
    /// # Errors
    /// When it isn't a URL to post to.
    pub fn new(url: &str, concurrency: usize) -> Result<Self, String> {
        let url = web_url(url).ok_or("write a URL, e.g. http://127.0.0.1:3000/webhooks")?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "a user or a password in the URL isn't sent; give the server another way to know you".into(),
            );
        }
        let client = client(&url, concurrency)?;
        Ok(Self { url, client })
    }

    /// The URL, for the log; its query may hold a secret.
    pub fn describe(&self) -> String {
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}{}", self.url.scheme_str().unwrap_or_default(), self.url.path())
    }

    /// Posts it once; a 2xx is success. A redirect isn't followed.
    ///
    /// # Errors
    /// What the server said instead, or why it said nothing.
    pub async fn run(&self, job: &Job, limit: Duration) -> Result<(), AttemptError> {
        let request = self.request(job)?;
        let answer = timeout(limit, self.client.request(request)).await;
        let answer = answer
            .map_err(|_| AttemptError::TimedOut(limit))?
            .map_err(|error| AttemptError::NoAnswer(with_causes(&error)))?;
        let status = answer.status();
        skim(answer.into_body()).await;
        verdict(status)
    }

    fn request(&self, job: &Job) -> Result<Request<Full<Bytes>>, AttemptError> {
        let method = &job.context.request.method;
        let mut request = Request::new(Full::new(body(job)));
        *request.method_mut() = Method::from_bytes(method.as_bytes())
            .map_err(|_| AttemptError::NotForwardable(format!("`{method}` is no method")))?;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers(job);
        Ok(request)
    }
}

fn body(job: &Job) -> Bytes {
    match &job.context.data {
        Data::Json(bytes) | Data::Bytes(bytes) => bytes.clone(),
        data => Bytes::copy_from_slice(data.bytes()),
    }
}

/// The connection can be used again once its answer has been read. What the answer says doesn't matter.
async fn skim(body: Incoming) {
    let read = Limited::new(body, WORK_REPLY_BYTES_MAX).collect();
    let _ = timeout(WORK_REPLY_TIMEOUT, read).await;
}

fn verdict(status: StatusCode) -> Result<(), AttemptError> {
    if status.is_success() { Ok(()) } else { Err(AttemptError::Status(status.as_u16())) }
}

/// The webhook's own headers but for those of its connection, and ours. A sender can't pass one of its own
/// off as ours.
fn headers(job: &Job) -> HeaderMap {
    let given = &job.context.request.headers;
    let mut headers = HeaderMap::new();
    for (name, values) in given.iter() {
        if name.starts_with("sluiced-") || stays_behind(name, given) {
            continue;
        }
        let Ok(name) = name.parse::<HeaderName>() else { continue };
        for value in values {
            headers.append(&name, header_value(value));
        }
    }
    add_ours(job, &mut headers);
    headers
}

/// What is too long for a header is left out, and named in `sluiced-omitted`.
fn add_ours(job: &Job, headers: &mut HeaderMap) {
    let mut omitted = Vec::new();
    for (name, value) in facts(job) {
        if value.len() > WORK_HEADER_BYTES_MAX {
            omitted.push(name);
        } else if !value.is_empty() {
            headers.insert(ours(name), header_value(&value));
        }
    }
    if !omitted.is_empty() {
        headers.insert(ours("omitted"), header_value(&omitted.join(",")));
    }
}

fn ours(name: &str) -> HeaderName {
    format!("sluiced-{name}").parse().expect("names of facts are lower case letters and hyphens")
}

/// As UTF-8. A control character that a sender put into a name must not end the header.
fn header_value(value: &str) -> HeaderValue {
    let plain = value.replace(|c: char| c.is_control() && c != '\t', " ");
    HeaderValue::from_maybe_shared(Bytes::from(plain)).expect("no control character is left")
}
