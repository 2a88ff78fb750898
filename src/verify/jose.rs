//! JSON Object Signing and Encryption: what tokens and detached signatures have in common.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, VerificationAlgorithm};
use serde_json::{Map, Value};

use super::encoding::Encoding;
use super::error::CompileError;

/// An algorithm of JSON Web Algorithms (RFC 7518).
#[derive(Clone, Copy, Debug)]
pub(super) enum Algorithm {
    Mac(&'static str, hmac::Algorithm),
    Public(&'static str, &'static dyn VerificationAlgorithm),
}

impl Algorithm {
    /// The algorithm of that name.
    pub(super) fn named(name: &str) -> Result<Self, CompileError> {
        Ok(match name {
            "HS256" => Self::Mac("HS256", hmac::HMAC_SHA256),
            "HS384" => Self::Mac("HS384", hmac::HMAC_SHA384),
            "HS512" => Self::Mac("HS512", hmac::HMAC_SHA512),
            "RS256" => Self::Public("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
            "RS384" => Self::Public("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
            "RS512" => Self::Public("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
            "ES256" => Self::Public("ES256", &signature::ECDSA_P256_SHA256_FIXED),
            "EdDSA" => Self::Public("EdDSA", &signature::ED25519),
            _ => {
                let known = "HS256, HS384, HS512, RS256, RS384, RS512, ES256, EdDSA";
                return Err(CompileError::unknown("JWT algorithm", name, known));
            }
        })
    }
}

/// A token taken apart; its claims are not parsed before the signature is known to be right.
pub(super) struct Parts<'t> {
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
    pub(super) claims: &'t [u8],
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// Takes a compact token apart.
    pub(super) fn split(compact: &'t [u8]) -> Option<Self> {
        let last = memchr::memrchr(b'.', compact)?;
        let signed = &compact[..last];
        let first = memchr::memchr(b'.', signed)?;
        let header = object(&signed[..first])?;
        // An extension that must be understood, and none is (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return None;
        }
        let algorithm = header.get("alg")?.as_str()?.to_owned();
        let signature = Encoding::Base64UrlUnpadded.decode(&compact[last + 1..])?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        Some(Self { algorithm, key_id, claims: &signed[first + 1..], signed, signature })
    }
}

/// A JSON object in base64url.
pub(super) fn object(encoded: &[u8]) -> Option<Map<String, Value>> {
    let json = Encoding::Base64UrlUnpadded.decode(encoded)?;
    match serde_json::from_slice(&json).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, 4.1.11: what isn't understood and must be is refused.
    #[test]
    fn a_token_with_an_extension_that_must_be_understood_is_none() {
        let splits = |header: &str| {
            let compact = format!("{}.e30.AAAA", Encoding::Base64UrlUnpadded.encode(header.as_bytes()));
            Parts::split(compact.as_bytes()).is_some()
        };
        assert!(splits(r#"{"alg":"HS256"}"#));
        assert!(!splits(r#"{"alg":"HS256","crit":["exp"]}"#));
        assert!(!splits(r#"{"alg":"HS256","crit":[]}"#));
    }
}
