//! HTTP Message Signatures (RFC 9421) with the body bound by Content-Digest (RFC 9530).
//!
//! Of the row: `algorithm` is the one algorithm that counts, whatever the request says; `message` names what a
//! signature must cover besides `content-digest`; `claims` are parameters of the signature and what they must be;
//! with a `timestamp` from `signature:created` that is required and aged. Of several signatures one must do all.
//! `@status`, `;req`, `;tr`, `;sf` and `;key` are refused: requests have no use for the first three, and the last
//! two take the type of every field.

mod base;
mod fields;
#[cfg(test)]
mod tests;

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;

use self::fields::{Input, Value};
use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::error::CompileError;
use crate::verify::key::{Derivation, Problem};
use crate::verify::secret::Secret;
use crate::verify::settings::Scope;
use crate::verify::timestamp::{Clock, Place};
use crate::verify::verdict::Verdict;
use crate::verify::view::View;
use crate::verify::{compare, public_key};

/// The longest Signature, Signature-Input or Content-Digest: eight signatures of RSA's longest keys.
const FIELD_BYTES_MAX: usize = 16_384;

#[derive(Debug)]
struct HttpMessageSignatures {
    algorithm: &'static str,
    keys: Keys,
    /// Identifiers as requests write them.
    covered: Vec<String>,
    /// Parameters and what they must be; `None`: anything, but there.
    wanted: Vec<(String, Option<String>)>,
    clock: Option<Clock>,
}

#[derive(Debug)]
enum Keys {
    Mac(Vec<hmac::Key>),
    Public(Vec<ParsedPublicKey>),
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let Parts { scheme, scope, secrets, tolerance } = *parts;
    let (algorithm, public) = algorithm(&scope.expand(&scheme.algorithm)?)?;
    let derivation = Derivation::compile(&scheme.key, scope)?;
    let keys = match keys(public, &derivation, secrets) {
        Ok(keys) => keys,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut wanted = Vec::new();
    for claim in &scheme.claims {
        let equals = claim.equals.as_deref().map(|text| scope.expand(text)).transpose()?;
        match equals {
            Some(text) if text.is_empty() => {}
            equals => wanted.push((claim.name.clone(), equals.map(String::from))),
        }
    }
    let clock = scheme.timestamp.as_ref().map(|rule| Clock::compile(rule, scope, tolerance)).transpose()?;
    let clock = clock.flatten();
    if let Some(Clock { place, .. }) = &clock
        && !matches!(place, Place::Signature(name) if name == "created")
    {
        return Err(CompileError::Incomplete { problem: "its timestamp is from signature:created" });
    }
    let covered = covered(&scheme.message, scope)?;
    Ok(Ok(Box::new(HttpMessageSignatures { algorithm, keys, covered, wanted, clock })))
}

type Public = Option<&'static dyn VerificationAlgorithm>;

/// The name that `alg` must have where it is given, and how it is verified; a MAC's is `None`.
fn algorithm(name: &str) -> Result<(&'static str, Public), CompileError> {
    Ok(match name {
        "hmac-sha256" => ("hmac-sha256", None),
        "ed25519" => ("ed25519", Some(&signature::ED25519)),
        "ecdsa-p256-sha256" => ("ecdsa-p256-sha256", Some(&signature::ECDSA_P256_SHA256_FIXED)),
        "ecdsa-p384-sha384" => ("ecdsa-p384-sha384", Some(&signature::ECDSA_P384_SHA384_FIXED)),
        "rsa-pss-sha512" => ("rsa-pss-sha512", Some(&signature::RSA_PSS_2048_8192_SHA512)),
        "rsa-v1_5-sha256" => ("rsa-v1_5-sha256", Some(&signature::RSA_PKCS1_2048_8192_SHA256)),
        other => {
            let known = "hmac-sha256, ed25519, ecdsa-p256-sha256, ecdsa-p384-sha384, rsa-pss-sha512, \
                         rsa-v1_5-sha256";
            return Err(CompileError::unknown("algorithm of RFC 9421", other, known));
        }
    })
}

fn keys(public: Public, derivation: &Derivation, secrets: &[Secret]) -> Result<Keys, Problem> {
    let Some(algorithm) = public else {
        // Everybody has a public key, and could sign with it as if it were a MAC's.
        if secrets.iter().any(|secret| secret.bytes().trim_ascii_start().starts_with(b"-----BEGIN ")) {
            return Err("it is no key of a MAC; set algorithm to that of the public key".to_owned());
        }
        let key = |secret: &Secret| Ok(hmac::Key::new(hmac::HMAC_SHA256, &derivation.key(secret)?));
        return secrets.iter().map(key).collect::<Result<_, Problem>>().map(Keys::Mac);
    };
    public_key::parse_all(algorithm, secrets, &[]).map(Keys::Public)
}

/// What must be covered, `content-digest` always: a signature without it says nothing of the body.
fn covered(names: &[String], scope: &Scope<'_>) -> Result<Vec<String>, CompileError> {
    let mut covered = vec!["\"content-digest\"".to_owned()];
    for name in scope.expand_all(names)?.iter().flat_map(|names| names.split_ascii_whitespace()) {
        if !base::can_be_covered(name) {
            let problem = "expected @method, @target-uri, @authority, @scheme, @request-target, @path, @query or a \
                           header's name in lower case";
            return Err(CompileError::malformed("component of RFC 9421", name, problem));
        }
        covered.push(format!("\"{name}\""));
    }
    Ok(covered)
}

impl Named for HttpMessageSignatures {
    fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        let signatures = combined(view, "signature", MISSING)?;
        let inputs = combined(view, "signature-input", MISSING)?;
        let signatures = fields::byte_sequences(&signatures).ok_or(MALFORMED)?;
        let inputs = fields::inputs(&inputs).ok_or(MALFORMED)?;
        // A label is unique in each, so that these are the same.
        let signature = |input: &Input<'_>| signatures.iter().find(|(label, _)| *label == input.label);
        if inputs.len() != signatures.len() || inputs.iter().any(|input| signature(input).is_none()) {
            return Err(MALFORMED.into());
        }
        let mut furthest: Option<Refusal> = None;
        for input in &inputs {
            let (_, signature) = signature(input).ok_or(MALFORMED)?;
            match self.judge(input, signature, view, now) {
                Ok(()) => return Ok(None),
                Err(refusal) if furthest.is_none_or(|known| known.progress() < refusal.progress()) => {
                    furthest = Some(refusal);
                }
                Err(_) => {}
            }
        }
        Err(furthest.unwrap_or(MISSING).into())
    }

    fn needs_url(&self) -> bool {
        true
    }
}

impl HttpMessageSignatures {
    fn judge(
        &self,
        input: &Input<'_>,
        signature: &[u8],
        view: &View<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let is_covered = |wanted: &String| input.components.iter().any(|component| component.raw == *wanted);
        if !self.covered.iter().all(is_covered) {
            return Err(NOT_COVERED);
        }
        if text(input, "alg")?.is_some_and(|named| named != self.algorithm) {
            return Err(OTHER_ALGORITHM);
        }
        for (name, wanted) in &self.wanted {
            let value = text(input, name)?.ok_or(OTHER_PARAMETER)?;
            if wanted.as_ref().is_some_and(|wanted| wanted != value) {
                return Err(OTHER_PARAMETER);
            }
        }
        let (created, expires) = (integer(input, "created")?, integer(input, "expires")?);
        if self.clock.is_some() && created.is_none() {
            return Err(NOT_CREATED);
        }
        let base = base::signature_base(input, view)?;
        if !self.keys.verify(&base, signature) {
            return Err(MISMATCH);
        }
        if let (Some(clock), Some(created)) = (&self.clock, created) {
            clock.judge(created.to_string().as_bytes(), now)?;
        }
        if expires.is_some_and(|expires| expires < now.as_second()) {
            return Err(EXPIRED);
        }
        is_digest_of(&combined(view, "content-digest", MALFORMED)?, &view.delivery.body)
    }
}

impl Keys {
    fn verify(&self, base: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Mac(keys) => keys.iter().any(|key| hmac::verify(key, base, signature).is_ok()),
            Self::Public(keys) => keys.iter().any(|key| key.verify_sig(base, signature).is_ok()),
        }
    }
}

/// Whether every digest that is known is the body's, and one is.
fn is_digest_of(field: &str, body: &[u8]) -> Result<(), Refusal> {
    let digests = fields::byte_sequences(field).ok_or(NO_DIGEST)?;
    let mut known = 0;
    for (name, given) in &digests {
        let algorithm = match *name {
            "sha-256" => &digest::SHA256,
            "sha-512" => &digest::SHA512,
            _ => continue,
        };
        if !compare::same(given, digest::digest(algorithm, body).as_ref()) {
            return Err(OTHER_BODY);
        }
        known += 1;
    }
    if known > 0 { Ok(()) } else { Err(NO_DIGEST) }
}

/// The field's lines as one text.
fn combined(view: &View<'_>, name: &str, missing: Refusal) -> Result<String, Refusal> {
    let lines = view.delivery.headers.get_all(name).iter();
    let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok().map(str::trim)).collect();
    let lines = lines.ok_or(MALFORMED)?;
    if lines.iter().all(|line| line.is_empty()) {
        return Err(missing);
    }
    let length: usize = lines.iter().map(|line| line.len() + 2).sum();
    if length > FIELD_BYTES_MAX { Err(MALFORMED) } else { Ok(lines.join(", ")) }
}

fn parameter<'i>(input: &'i Input<'_>, name: &str) -> Option<&'i Value> {
    input.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn text<'i>(input: &'i Input<'_>, name: &str) -> Result<Option<&'i str>, Refusal> {
    match parameter(input, name) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(MALFORMED),
    }
}

fn integer(input: &Input<'_>, name: &str) -> Result<Option<i64>, Refusal> {
    match parameter(input, name) {
        None => Ok(None),
        Some(Value::Integer(number)) => Ok(Some(*number)),
        Some(_) => Err(MALFORMED),
    }
}

const MISSING: Refusal = Refusal::new(Reason::SignatureMissing, "there is no Signature with Signature-Input");
const MALFORMED: Refusal = Refusal::new(
    Reason::SignatureMalformed,
    "Signature and Signature-Input aren't dictionaries of the same labels, or too long",
);
const NOT_COVERED: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the signature doesn't cover what is required");
const OTHER_ALGORITHM: Refusal =
    Refusal::new(Reason::SignatureMalformed, "the signature names another algorithm than the receiver's");
const OTHER_PARAMETER: Refusal =
    Refusal::new(Reason::SignatureMismatch, "a parameter of the signature, such as keyid or tag, is another");
const NOT_CREATED: Refusal =
    Refusal::new(Reason::TimestampMissing, "the signature doesn't say when it was made");
const MISMATCH: Refusal = Refusal::new(Reason::SignatureMismatch, "no key gives this signature");
const EXPIRED: Refusal = Refusal::new(Reason::TimestampOutOfTolerance, "the signature has expired");
const NO_DIGEST: Refusal =
    Refusal::new(Reason::SignatureMalformed, "Content-Digest has neither sha-256 nor sha-512");
const OTHER_BODY: Refusal = Refusal::new(Reason::SignatureMismatch, "Content-Digest is another body's");
