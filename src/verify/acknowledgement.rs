//! What a provider reads: the answer to an accepted event, and the body of a refusal or failure.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::admission::Reply;
use super::error::CompileError;
use super::handshake::{content_type, headers, status};
use super::settings::Scope;
use super::template::{Context, Template};
use crate::catalog;

/// The answer to an accepted event; its headers may hold values of the request.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    headers: Vec<(HeaderName, Template)>,
    body: Bytes,
}

/// The body of refusals and failures.
#[derive(Debug)]
pub(super) struct Failure {
    content_type: Option<HeaderValue>,
    body: String,
}

impl Acknowledgement {
    /// Compiles a row's answer.
    pub(super) fn compile(row: &catalog::Acknowledgement, scope: &Scope<'_>) -> Result<Self, CompileError> {
        Ok(Self {
            status: status(row.status)?,
            content_type: content_type(&row.content_type)?,
            headers: headers(&row.headers, scope)?,
            body: row.body.clone().into_bytes().into(),
        })
    }

    /// The answer to that request; a header whose value isn't there is left out.
    pub(super) fn reply(&self, context: &Context<'_, '_>) -> Reply {
        let value = |template: &Template| HeaderValue::from_bytes(&template.bytes(context).ok()?).ok();
        let headers =
            self.headers.iter().filter_map(|(name, template)| Some((name.clone(), value(template)?)));
        Reply {
            status: self.status,
            content_type: self.content_type.clone(),
            headers: headers.collect(),
            body: self.body.clone(),
        }
    }
}

impl Failure {
    /// Compiles a row's body of failures.
    pub(super) fn compile(row: &catalog::Failure) -> Result<Self, CompileError> {
        Ok(Self { content_type: content_type(&row.content_type)?, body: row.body.clone() })
    }

    /// The body for a problem of that title; the status is the problem's.
    pub(super) fn reply(&self, title: &str) -> Reply {
        Reply {
            status: StatusCode::OK,
            content_type: self.content_type.clone(),
            headers: Vec::new(),
            body: self.body.replace("{title}", title).into(),
        }
    }
}
