//! One request over reqwest, and its answer: of bounded length, and with no URL in the errors, since a SAS is part
//! of it.

use std::fmt;

use async_trait::async_trait;
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::{Bytes, BytesMut};

use crate::bounds;

/// What Azure's client speaks HTTP with.
pub(crate) struct Http(pub(crate) reqwest::Client);

#[async_trait]
impl HttpClient for Http {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let Body::Bytes(body) = request.body().clone() else {
            return Err(Error::with_message(ErrorKind::Other, "a request's body must be in one piece"));
        };
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes())
            .map_err(|error| Error::with_error(ErrorKind::Other, error, "no such method"))?;
        let mut asking = self.0.request(method, request.url().clone()).body(body);
        for (name, value) in request.headers().iter() {
            asking = asking.header(name.as_str(), value.as_str());
        }
        let answer = asking.send().await.map_err(failed)?;
        let status = answer.status().as_u16().into();
        let headers = headers(answer.headers());
        let body = read(answer).await?;
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http").finish_non_exhaustive()
    }
}

/// All of an answer, if it isn't longer than any of Azure's.
async fn read(mut answer: reqwest::Response) -> azure_core::Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > bounds::ANSWER_BYTES_MAX {
            return Err(Error::with_message(ErrorKind::DataConversion, "the answer is too long"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn failed(error: reqwest::Error) -> Error {
    let kind = match () {
        () if error.is_builder() => ErrorKind::Other,
        () if error.is_connect() => ErrorKind::Connection,
        () => ErrorKind::Io,
    };
    Error::with_error(kind, error.without_url(), "the request failed")
}

/// Those that are text; Azure sends no others.
fn headers(of_answer: &reqwest::header::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in of_answer {
        if let Ok(value) = value.to_str() {
            headers.insert(HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value.to_owned()));
        }
    }
    headers
}
