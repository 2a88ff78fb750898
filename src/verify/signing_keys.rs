//! Keys of signatures over a message: of a MAC, of a plain hash, public ones.

use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use super::compare;
use super::error::CompileError;
use super::key::{Derivation, Problem};
use super::key_place::KeyPlace;
use super::public_key;
use super::secret::Secret;
use super::settings::Scope;
use super::sink::Sink;
use super::source::Gap;
use super::template::{Context, Template};
use crate::catalog::{self, VerifyBy};

/// Candidates that are checked against a public key: each costs as much as a hundred MACs.
const PUBLIC_KEY_CANDIDATES_MAX: usize = 8;

/// What candidates are checked with, prepared once.
pub(super) enum Keys {
    Mac(Vec<MacKey>),
    Hash(&'static digest::Algorithm, Vec<Zeroizing<Vec<u8>>>),
    Public(Vec<ParsedPublicKey>),
    /// Found anew for each delivery.
    Published(KeyPlace, &'static dyn VerificationAlgorithm),
}

/// A MAC's key, and its bytes for messages that name the secret too.
pub(super) struct MacKey {
    key: hmac::Key,
    secret: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// The keys of a row's scheme.
    pub(super) fn compile(
        scheme: &catalog::Scheme,
        scope: &Scope<'_>,
        secrets: &[Secret],
    ) -> Result<Result<Self, Problem>, CompileError> {
        let algorithm = scope.expand(&scheme.algorithm)?;
        let secrets = if KeyPlace::is_besides(scheme) { &[] } else { secrets };
        let derivation = Derivation::compile(&scheme.key, scope)?;
        let derived = || secrets.iter().map(|secret| derivation.key(secret)).collect::<Result<Vec<_>, _>>();
        Ok(match scheme.verify {
            VerifyBy::Mac => {
                let algorithm = mac_algorithm(&algorithm)?;
                let key =
                    |secret: Zeroizing<Vec<u8>>| MacKey { key: hmac::Key::new(algorithm, &secret), secret };
                derived().map(|secrets| Self::Mac(secrets.into_iter().map(key).collect()))
            }
            VerifyBy::Hash => {
                let algorithm = hash_algorithm(&algorithm)?;
                derived().map(|keys| Self::Hash(algorithm, keys))
            }
            _ => {
                let algorithm = public_key::algorithm(&algorithm)?;
                if secrets.is_empty()
                    && let Some(place) = KeyPlace::of(scheme, scope)?
                {
                    return Ok(Ok(Self::Published(place, algorithm)));
                }
                let prefixes = scope.expand_all(&scheme.key.strip_prefix)?;
                public_key::parse_all(algorithm, secrets, &prefixes).map(Self::Public)
            }
        })
    }

    /// Whether a signature may have that length in bytes.
    pub(super) fn takes(&self, length: usize) -> bool {
        match self {
            Self::Mac(keys) => keys.first().is_none_or(|mac| mac.key.algorithm().tag_len() == length),
            Self::Hash(algorithm, _) => algorithm.output_len() == length,
            Self::Public(_) | Self::Published(..) => length > 0,
        }
    }

    /// The secret in a plain hash that is one of the candidates.
    pub(super) fn secret_of(
        &self,
        message: &Template,
        context: &Context<'_, '_>,
        candidates: &[Vec<u8>],
    ) -> Result<Option<&[u8]>, Gap> {
        let Self::Hash(algorithm, secrets) = self else { return Ok(None) };
        for secret in secrets {
            let expected = hash(algorithm, secret, message, context)?;
            if candidates.iter().any(|given| compare::same(given, expected.as_ref())) {
                return Ok(Some(secret));
            }
        }
        Ok(None)
    }

    /// Whether any candidate is a signature of the message.
    pub(super) fn match_any(
        &self,
        message: &Template,
        context: &Context<'_, '_>,
        candidates: &[Vec<u8>],
    ) -> Result<bool, Gap> {
        let is_candidate = |expected: &[u8]| candidates.iter().any(|given| compare::same(given, expected));
        match self {
            Self::Mac(keys) => {
                for key in keys {
                    if is_candidate(mac(key, message, context)?.as_ref()) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Hash(..) => Ok(self.secret_of(message, context, candidates)?.is_some()),
            // Their keys are found first, and are public ones then.
            Self::Published(..) => Ok(false),
            Self::Public(keys) => {
                let message = message.bytes(context)?;
                let mut pairs = candidates
                    .iter()
                    .take(PUBLIC_KEY_CANDIDATES_MAX)
                    .flat_map(|given| keys.iter().map(move |key| (key, given)));
                Ok(pairs.any(|(key, given)| key.verify_sig(&message, given).is_ok()))
            }
        }
    }

    /// The signature under the first key; `None` for public keys, which can't sign.
    pub(super) fn sign(&self, message: &Template, context: &Context<'_, '_>) -> Result<Option<Vec<u8>>, Gap> {
        Ok(match self {
            Self::Mac(keys) => match keys.first() {
                Some(key) => Some(mac(key, message, context)?.as_ref().to_vec()),
                None => None,
            },
            Self::Hash(algorithm, secrets) => match secrets.first() {
                Some(secret) => Some(hash(algorithm, secret, message, context)?.as_ref().to_vec()),
                None => None,
            },
            Self::Public(_) | Self::Published(..) => None,
        })
    }

    /// The first MAC key, for answers that prove we know it.
    pub(super) fn mac_key(&self) -> Option<&hmac::Key> {
        match self {
            Self::Mac(keys) => keys.first().map(|mac| &mac.key),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, count) = match self {
            Self::Mac(keys) => ("mac", keys.len()),
            Self::Hash(_, keys) => ("hash", keys.len()),
            Self::Public(keys) => ("public", keys.len()),
            Self::Published(..) => ("published", 0),
        };
        write!(f, "{count} {kind} keys")
    }
}

fn mac(with: &MacKey, message: &Template, context: &Context<'_, '_>) -> Result<hmac::Tag, Gap> {
    let mut mac = hmac::Context::with_key(&with.key);
    let context = Context { key: Some(&with.key), secret: Some(&with.secret), ..*context };
    message.feed(&context, &mut Sink::Mac(&mut mac))?;
    Ok(mac.sign())
}

fn hash(
    algorithm: &'static digest::Algorithm,
    secret: &[u8],
    message: &Template,
    context: &Context<'_, '_>,
) -> Result<digest::Digest, Gap> {
    let mut hash = digest::Context::new(algorithm);
    message.feed(&Context { secret: Some(secret), ..*context }, &mut Sink::Digest(&mut hash))?;
    Ok(hash.finish())
}

fn mac_algorithm(name: &str) -> Result<hmac::Algorithm, CompileError> {
    Ok(match name {
        "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "hmac-sha256" => hmac::HMAC_SHA256,
        "hmac-sha384" => hmac::HMAC_SHA384,
        "hmac-sha512" => hmac::HMAC_SHA512,
        _ => {
            let known = "hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512";
            return Err(CompileError::unknown("MAC algorithm", name, known));
        }
    })
}

fn hash_algorithm(name: &str) -> Result<&'static digest::Algorithm, CompileError> {
    Ok(match name {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &digest::SHA256,
        "sha512" => &digest::SHA512,
        _ => return Err(CompileError::unknown("hash algorithm", name, "sha1, sha256, sha512")),
    })
}
