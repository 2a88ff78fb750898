//! Feishu's and Lark's encrypted URL verification, which comes before any signature.
//!
//! The rule (open.larksuite.com, "Configure the request URL"): with an Encrypt Key the challenge is encrypted
//! like events, and the answer is what is inside. Knowing the key is its only proof. So nothing but a URL
//! verification is taken here, and all else gets one and the same refusal.

use jiff::Timestamp;

use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::decrypt::Decrypt;
use crate::verify::error::CompileError;
use crate::verify::json::{Document, Pointer};
use crate::verify::verdict::Verdict;
use crate::verify::view::View;

#[derive(Debug)]
struct LarkChallenge {
    decrypt: Decrypt,
    kind: Pointer,
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let rule = parts.scheme.decrypt.as_ref();
    let rule = rule.ok_or(CompileError::Incomplete { problem: "lark-challenge needs decrypt" })?;
    let decrypt = match Decrypt::compile(rule, parts.scope, parts.secrets)? {
        Ok(decrypt) => decrypt,
        Err(problem) => return Ok(Err(problem)),
    };
    Ok(Ok(Box::new(LarkChallenge { decrypt, kind: Pointer::parse("/type")? })))
}

impl Named for LarkChallenge {
    fn verify(&self, view: &View<'_>, _now: Timestamp) -> Verdict {
        let inside = self.decrypt.open(view).ok().flatten().ok_or(NO_CHALLENGE)?;
        let document = Document::parse(&inside).ok_or(NO_CHALLENGE)?;
        let kinds = document.select(&self.kind);
        let is_challenge =
            matches!(&kinds[..], [one] if document.text(one.clone()) == "\"url_verification\"");
        is_challenge.then_some(Some(inside.clone())).ok_or(NO_CHALLENGE.into())
    }
}

const NO_CHALLENGE: Refusal =
    Refusal::new(Reason::SignatureMissing, "there is no signature").not_applicable();
