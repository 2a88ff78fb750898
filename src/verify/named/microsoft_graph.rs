//! Microsoft Graph's rich notifications: the client state of every notification, and the validation tokens of
//! the request.
//!
//! The rule (learn.microsoft.com/en-us/graph/change-notifications-with-resource-data): `validationTokens` are
//! tokens of the Microsoft identity platform, one for each application and tenant; their audience is the
//! application, and whoever asked for them (`azp`, in old ones `appid`) is Graph's own.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::json::{Pointer, SELECTED_MAX, value_text};
use crate::verify::jwt::Jwt;
use crate::verify::signed;
use crate::verify::source::Gap;
use crate::verify::template::Context;
use crate::verify::token::Token;
use crate::verify::verdict::{Stop, Verdict};
use crate::verify::view::View;

/// Graph's change tracking, as a client of the identity platform.
const PUBLISHER: &str = "0bf30f3b-4a52-48df-9a82-234910c4a086";

/// One application may watch several tenants.
const TOKENS_MAX: usize = 64;

#[derive(Debug)]
struct MicrosoftGraph {
    state: Token,
    tokens: Jwt,
    notifications: Pointer,
    encrypted: Pointer,
    validation_tokens: Pointer,
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let state = Token::compile(parts.scheme, parts.scope, parts.secrets)?;
    let tokens = Jwt::compile(parts.scheme, parts.scope, &[])?;
    let (state, tokens) = match (state, tokens) {
        (Ok(state), Ok(tokens)) => (state, tokens),
        (Err(problem), _) | (_, Err(problem)) => return Ok(Err(problem)),
    };
    Ok(Ok(Box::new(MicrosoftGraph {
        state,
        tokens,
        notifications: Pointer::parse("/value/*")?,
        encrypted: Pointer::parse("/value/*/encryptedContent")?,
        validation_tokens: Pointer::parse("/validationTokens/*")?,
    })))
}

impl Named for MicrosoftGraph {
    fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        view.each(&self.notifications, |notification| Ok(self.state.verify(notification)?))?;
        self.verify_tokens(view, now)?;
        Ok(None)
    }
}

impl MicrosoftGraph {
    fn verify_tokens(&self, view: &View<'_>, now: Timestamp) -> Result<(), Stop> {
        let document = view.json().ok_or_else(|| signed::refuse(Gap::Body))?;
        let tokens = document.select(&self.validation_tokens);
        if tokens.len() > TOKENS_MAX {
            return Err(TOO_MANY.into());
        }
        let is_rich = document.select(&self.encrypted).len().min(SELECTED_MAX) > 0;
        if is_rich && tokens.is_empty() {
            return Err(NO_TOKENS.into());
        }
        for span in tokens {
            let token = value_text(document.text(span)).ok_or(NO_TOKENS)?;
            let claims = self.tokens.verify_compact(token.as_bytes(), &Context::of(view), now)?;
            if !is_issued_by_tenant(&claims) {
                return Err(NOT_ISSUED.into());
            }
            let publisher = claims.get("azp").or_else(|| claims.get("appid"));
            if publisher.is_none_or(|publisher| publisher != PUBLISHER) {
                return Err(NOT_GRAPH.into());
            }
        }
        Ok(())
    }
}

/// The identity platform issues a tenant's tokens in the tenant's name; of old under another host.
fn is_issued_by_tenant(claims: &Map<String, Value>) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let Some(issuer) = text("iss") else { return false };
    let of_today = issuer.strip_prefix("https://login.microsoftonline.com/");
    let of_old = issuer.strip_prefix("https://sts.windows.net/");
    let tenant = of_today.and_then(|rest| rest.strip_suffix("/v2.0"));
    let tenant = tenant.or_else(|| of_old.and_then(|rest| rest.strip_suffix('/'))).unwrap_or_default();
    let is_id = !tenant.is_empty() && tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_id && text("tid").is_none_or(|id| id.eq(tenant))
}

const NOT_ISSUED: Refusal =
    Refusal::new(Reason::SignatureMismatch, "a validation token was issued by another than its tenant");
const TOO_MANY: Refusal = Refusal::new(Reason::BodyMalformed, "there are more tokens than are verified");
const NO_TOKENS: Refusal =
    Refusal::new(Reason::SignatureMissing, "encrypted notifications come without a validation token");
const NOT_GRAPH: Refusal =
    Refusal::new(Reason::SignatureMismatch, "a validation token was made for another than Graph");
