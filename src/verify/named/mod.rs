//! Schemes that a row's data can't say: one file each, found by the name that rows call it by.

mod aws_sns;
mod detached_jws;
mod ebay;
mod http_message_signatures;
mod lark_challenge;
mod microsoft_graph;
mod paddle_classic;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;

use super::error::CompileError;
use super::key::Problem;
use super::secret::Secret;
use super::settings::Scope;
use super::verdict::Verdict;
use super::view::View;
use crate::catalog;

/// A scheme in code, compiled with the receiver's secrets.
pub(super) trait Named: Debug + Send + Sync {
    /// Whether the request is authentic by this scheme.
    fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict;

    /// Whether nothing can be verified without a secret of the receiver's.
    fn needs_secret(&self) -> bool {
        true
    }

    /// Whether it needs the public URL.
    fn needs_url(&self) -> bool {
        false
    }
}

/// What a scheme is compiled of.
pub(super) struct Parts<'p> {
    pub(super) scheme: &'p catalog::Scheme,
    pub(super) scope: &'p Scope<'p>,
    pub(super) secrets: &'p [Secret],
    pub(super) tolerance: Option<Duration>,
}

const KNOWN: &str =
    "aws-sns, detached-jws, ebay, http-message-signatures, lark-challenge, microsoft-graph, paddle-classic";

type Compiled = Result<Result<Box<dyn Named>, Problem>, CompileError>;

/// Compiles the scheme that the row names; the inner error says what is wrong with the secret.
pub(super) fn compile(
    scheme: &catalog::Scheme,
    scope: &Scope<'_>,
    secrets: &[Secret],
    tolerance: Option<Duration>,
) -> Compiled {
    let parts = Parts { scheme, scope, secrets, tolerance };
    match scheme.scheme.as_str() {
        "aws-sns" => aws_sns::compile(&parts),
        "detached-jws" => detached_jws::compile(&parts),
        "ebay" => ebay::compile(&parts),
        "http-message-signatures" => http_message_signatures::compile(&parts),
        "lark-challenge" => lark_challenge::compile(&parts),
        "microsoft-graph" => microsoft_graph::compile(&parts),
        "paddle-classic" => paddle_classic::compile(&parts),
        other => Err(CompileError::unknown("named scheme", other, KNOWN)),
    }
}
