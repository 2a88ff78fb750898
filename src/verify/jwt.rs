//! JSON Web Tokens (RFC 7519) in compact form, their claims bound to the request.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::ParsedPublicKey;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::admission::Refusal;
use super::compare;
use super::encoding::Encoding;
use super::error::CompileError;
use super::jose::{Algorithm, Parts, object};
use super::key::{Derivation, Problem};
use super::key_place::KeyPlace;
use super::secret::Secret;
use super::settings::Scope;
use super::source::Source;
use super::template::{Context, Template};
use super::token::Prefix;
use super::verdict::{Stop, Verdict};
use super::{public_key, signed, token};
use crate::catalog;
use crate::reason::Reason;

/// Difference of clocks that `exp`, `nbf` and `iat` are allowed, in seconds.
const LEEWAY_SECONDS: f64 = 30.0;

/// A compiled scheme.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) sources: Vec<Source>,
    pub(super) prefix: Prefix,
    keys: Vec<Key>,
    published: Option<Published>,
    claims: Vec<Claim>,
    max_age_seconds: Option<f64>,
}

/// An algorithm that the row accepts, with one secret as its key. The token's header chooses among these.
struct Key {
    name: &'static str,
    check: Check,
}

/// Keys that the provider publishes, with the algorithms that the row accepts of them.
#[derive(Debug)]
struct Published {
    place: KeyPlace,
    algorithms: Vec<Algorithm>,
}

enum Check {
    Mac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

#[derive(Debug)]
struct Claim {
    name: String,
    equals: Option<Template>,
    with_body: bool,
}

impl Jwt {
    /// Compiles a row's scheme with the receiver's secrets.
    pub(super) fn compile(
        scheme: &catalog::Scheme,
        scope: &Scope<'_>,
        secrets: &[Secret],
    ) -> Result<Result<Self, Problem>, CompileError> {
        let derivation = Derivation::compile(&scheme.key, scope)?;
        let prefixes = scope.expand_all(&scheme.key.strip_prefix)?;
        let algorithms: Vec<Algorithm> =
            scheme.algorithms.iter().map(|name| Algorithm::named(name)).collect::<Result<_, _>>()?;
        if algorithms.is_empty() || scheme.from.is_empty() {
            return Err(CompileError::Incomplete { problem: "a token needs from and algorithms" });
        }
        let secrets = if KeyPlace::is_besides(scheme) { &[] } else { secrets };
        let place = if secrets.is_empty() { KeyPlace::of(scheme, scope)? } else { None };
        let published = place.map(|place| Published { place, algorithms: algorithms.clone() });
        let mut keys = Vec::new();
        for secret in secrets {
            match keys_of(secret, &algorithms, &derivation, &prefixes) {
                Ok(usable) => keys.extend(usable),
                Err(problem) => return Ok(Err(problem)),
            }
        }
        let max_age = scope.expand(&scheme.max_age)?;
        let max_age = (!max_age.is_empty()).then(|| {
            catalog::duration(&max_age)
                .ok_or_else(|| CompileError::malformed("duration", &max_age, "expected 5m or 30s"))
        });
        Ok(Ok(Self {
            sources: scope
                .expand_all(&scheme.from)?
                .iter()
                .map(|text| Source::parse(text))
                .collect::<Result<_, _>>()?,
            prefix: Prefix::compile(scheme, scope)?,
            keys,
            published,
            claims: scheme
                .claims
                .iter()
                .map(|claim| Claim::compile(claim, scope))
                .collect::<Result<_, _>>()?,
            max_age_seconds: max_age.transpose()?.map(|age| age.as_secs_f64()),
        }))
    }

    /// Whether its keys are the provider's published ones.
    pub(super) fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// Whether the templates of its claims name such a value.
    pub(super) fn has(&self, wanted: &dyn Fn(&super::variable::Variable) -> bool) -> bool {
        self.claims.iter().filter_map(|claim| claim.equals.as_ref()).any(|equals| equals.has(wanted))
    }

    /// Signature first, then times, then claims. What is inside a body that is the token are its claims.
    pub(super) fn verify(&self, context: &Context<'_, '_>, now: Timestamp) -> Verdict {
        let value = token::first(&self.sources, context.view).map_err(signed::refuse)?;
        let compact =
            self.prefix.strip(&value).ok_or(malformed("the token hasn't the prefix it must have"))?;
        let claims = self.verify_compact(compact, context, now)?;
        let is_body = self.sources.contains(&Source::Body);
        Ok(is_body.then(|| Value::from(claims).to_string().into()))
    }

    /// The claims of a token that is right in every way.
    pub(super) fn verify_compact(
        &self,
        compact: &[u8],
        context: &Context<'_, '_>,
        now: Timestamp,
    ) -> Result<Map<String, Value>, Stop> {
        let parts = Parts::split(compact).ok_or(malformed("it is no compact JSON Web Token"))?;
        match &self.published {
            Some(published) => published.verify(&parts, context, now)?,
            None => self.verify_signature(&parts)?,
        }
        let claims = object(parts.claims).ok_or(malformed("the token's claims are no JSON object"))?;
        self.judge_times(&claims, now)?;
        self.claims.iter().try_for_each(|claim| claim.judge(&claims, context))?;
        Ok(claims)
    }

    fn verify_signature(&self, parts: &Parts<'_>) -> Result<(), Refusal> {
        let mut keys = self.keys.iter().filter(|key| key.name.eq(&parts.algorithm)).peekable();
        if keys.peek().is_none() {
            return Err(NOT_ACCEPTED);
        }
        let is_signed = keys.any(|key| key.check.matches(parts.signed, &parts.signature));
        is_signed.then_some(()).ok_or(NOT_SIGNED)
    }

    fn judge_times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
        let off = |detail| Err(Refusal::new(Reason::TimestampOutOfTolerance, detail));
        let now = now.as_second() as f64;
        let (expires, starts, issued) = (time(claims, "exp")?, time(claims, "nbf")?, time(claims, "iat")?);
        if expires.is_some_and(|expires| now > expires + LEEWAY_SECONDS) {
            return off("the token has expired");
        }
        if [starts, issued].into_iter().flatten().any(|time| time > now + LEEWAY_SECONDS) {
            return off("the token is of the future");
        }
        match (self.max_age_seconds, issued) {
            (Some(_), None) => Err(Refusal::new(Reason::TimestampMissing, "the token has no iat")),
            (Some(max), Some(issued)) if now - issued > max => off("the token is too old"),
            _ => Ok(()),
        }
    }

    /// A token with the row's claims, as the provider would send it; `None` when the key can't sign.
    pub(super) fn sign(&self, context: &Context<'_, '_>, now: Timestamp) -> Option<String> {
        let (name, key) = self.keys.iter().find_map(|key| match &key.check {
            Check::Mac(mac) => Some((key.name, mac)),
            Check::Public(_) => None,
        })?;
        let has_body = !context.view.delivery.body.is_empty();
        let mut claims = Map::new();
        for (claim, seconds) in [("iat", 0), ("nbf", 0), ("exp", 60)] {
            claims.insert(claim.to_owned(), Value::from(now.as_second() + seconds));
        }
        let wanted = self.claims.iter().filter(|claim| has_body || !claim.with_body);
        for claim in wanted {
            if claim.equals.is_none() && claims.contains_key(&claim.name) {
                continue;
            }
            let value = match &claim.equals {
                Some(equals) => String::from_utf8_lossy(&equals.bytes(context).ok()?).into_owned(),
                None => "1".to_owned(),
            };
            claims.insert(claim.name.clone(), value.into());
        }
        let encode = |text: String| Encoding::Base64UrlUnpadded.encode(text.as_bytes());
        let header = serde_json::json!({ "alg": name, "typ": "JWT" });
        let signed = format!("{}.{}", encode(header.to_string()), encode(Value::from(claims).to_string()));
        let tag = hmac::sign(key, signed.as_bytes());
        Some(format!("{signed}.{}", Encoding::Base64UrlUnpadded.encode(tag.as_ref())))
    }
}

impl Published {
    /// Public keys only, and only those of the id that the token names.
    fn verify(&self, parts: &Parts<'_>, context: &Context<'_, '_>, now: Timestamp) -> Result<(), Stop> {
        let algorithm = self.algorithms.iter().find_map(|algorithm| match algorithm {
            Algorithm::Public(name, algorithm) if parts.algorithm.eq(name) => Some(*algorithm),
            _ => None,
        });
        let algorithm = algorithm.ok_or(NOT_ACCEPTED)?;
        let found = self.place.keys_of(context.view, algorithm, parts.key_id.as_deref(), now)?;
        let is_signed = found.keys.iter().any(|key| key.verify_sig(parts.signed, &parts.signature).is_ok());
        match is_signed {
            true => Ok(()),
            // The key that the token names is known, and it isn't this key's signature.
            false if parts.key_id.is_some() && !found.keys.is_empty() => Err(NOT_SIGNED.into()),
            false => Err(found.none_does(NOT_SIGNED)),
        }
    }
}

const NOT_ACCEPTED: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the token names an algorithm that the row doesn't accept");
const NOT_SIGNED: Refusal = Refusal::new(Reason::SignatureMismatch, "no key gives the token's signature");

impl Claim {
    fn compile(claim: &catalog::Claim, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let equals = claim.equals.as_deref().map(|text| Template::parse(text, scope)).transpose()?;
        Ok(Self { name: claim.name.clone(), equals, with_body: claim.with_body })
    }

    fn judge(&self, claims: &Map<String, Value>, context: &Context<'_, '_>) -> Result<(), Refusal> {
        let claim = claims.get(&self.name);
        if self.with_body && context.view.delivery.body.is_empty() {
            return claim.is_none().then_some(()).ok_or(mismatch());
        }
        let expected = match &self.equals {
            None => return claim.is_some().then_some(()).ok_or(mismatch()),
            Some(unset) if unset.is_empty() => return Ok(()),
            Some(equals) => equals.bytes(context).map_err(signed::refuse)?,
        };
        let is_expected =
            |claim: &Value| claim.as_str().is_some_and(|text| compare::same(text.as_bytes(), &expected));
        let holds = match claim {
            Some(Value::Array(several)) => several.iter().any(is_expected),
            Some(one) => is_expected(one),
            None => false,
        };
        holds.then_some(()).ok_or(mismatch())
    }
}

impl Check {
    fn matches(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Mac(key) => compare::same(signature, hmac::sign(key, message).as_ref()),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl Key {
    fn is_mac(&self) -> bool {
        matches!(self.check, Check::Mac(_))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} key", self.name)
    }
}

/// The secret as a key of each algorithm that it fits. A public key never serves as an HMAC key: everybody
/// has it, so everybody could sign.
fn keys_of(
    secret: &Secret,
    algorithms: &[Algorithm],
    derivation: &Derivation,
    prefixes: &[String],
) -> Result<Vec<Key>, Problem> {
    let (mut public, mut macs) = (Vec::new(), Vec::new());
    let mut problem = "the row accepts no algorithm".to_owned();
    for algorithm in algorithms {
        match *algorithm {
            Algorithm::Public(name, algorithm) => {
                match public_key::parse(algorithm, secret.bytes(), prefixes) {
                    Ok(keys) => {
                        public.extend(keys.into_iter().map(|key| Key { name, check: Check::Public(key) }));
                    }
                    Err(why) => problem = why,
                }
            }
            Algorithm::Mac(name, algorithm) => match derivation.key(secret) {
                Ok(key) => {
                    macs.push(Key { name, check: Check::Mac(Box::new(hmac::Key::new(algorithm, &key))) });
                }
                Err(why) => problem = why,
            },
        }
    }
    let usable = if public.is_empty() { macs } else { public };
    let is_key_file = (secret.bytes().starts_with(b"-----BEGIN ") || secret.bytes().starts_with(b"{"))
        && usable.iter().all(Key::is_mac);
    if usable.is_empty() || is_key_file { Err(problem) } else { Ok(usable) }
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    let number = |claim: &Value| {
        claim.as_f64().ok_or(Refusal::new(Reason::TimestampMalformed, "a time of the token is no number"))
    };
    claims.get(name).map(number).transpose()
}

fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(Reason::SignatureMalformed, detail)
}

fn mismatch() -> Refusal {
    Refusal::new(Reason::SignatureMismatch, "a claim of the token isn't what the request says")
}
