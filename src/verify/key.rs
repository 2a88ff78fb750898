//! Keys: what a scheme computes with, made of a secret by the row's rule.

use aws_lc_rs::digest;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::encoding::Encoding;
use super::error::CompileError;
use super::secret::Secret;
use super::settings::Scope;
use crate::catalog::KeyRule;

/// A compiled rule.
#[derive(Clone, Debug)]
pub(super) struct Derivation {
    strip_prefix: Vec<String>,
    decode: Decode,
    hash: Option<&'static digest::Algorithm>,
    suffix: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Decode {
    Utf8,
    Nfkd,
    Hex,
    Base64,
}

/// Why a secret makes no key; never holds the secret.
pub(super) type Problem = String;

impl Derivation {
    /// Compiles a row's rule.
    pub(super) fn compile(rule: &KeyRule, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let decode = match scope.expand(&rule.decode)?.as_ref() {
            "" | "utf8" => Decode::Utf8,
            "nfkd" => Decode::Nfkd,
            "hex" => Decode::Hex,
            "base64" | "base64url" => Decode::Base64,
            other => {
                return Err(CompileError::unknown(
                    "key encoding",
                    other,
                    "utf8, nfkd, hex, base64, base64url",
                ));
            }
        };
        let hash = match rule.hash.as_str() {
            "" => None,
            "sha1" => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            "sha256" => Some(&digest::SHA256),
            other => return Err(CompileError::unknown("key hash", other, "sha1, sha256")),
        };
        let suffix = scope.expand(&rule.suffix)?.into_owned().into_bytes();
        Ok(Self { strip_prefix: scope.expand_all(&rule.strip_prefix)?, decode, hash, suffix })
    }

    /// The key that the secret stands for.
    pub(super) fn key(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let bytes = secret.bytes();
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        let (stripped, bare) = self.strip(bytes);
        let mut key = Zeroizing::new(match self.decode {
            Decode::Utf8 => bare.to_vec(),
            Decode::Nfkd => {
                let text = std::str::from_utf8(bare).map_err(|_| self.problem(stripped, bare, "text"))?;
                text.nfkd().collect::<String>().into_bytes()
            }
            Decode::Hex => Encoding::Hex.decode(bare).ok_or_else(|| self.problem(stripped, bare, "hex"))?,
            Decode::Base64 => {
                Encoding::Base64Any.decode(bare).ok_or_else(|| self.problem(stripped, bare, "base64"))?
            }
        });
        if key.is_empty() {
            return Err("nothing of it is left as a key".to_owned());
        }
        if let Some(algorithm) = self.hash {
            key = Zeroizing::new(digest::digest(algorithm, &key).as_ref().to_vec());
        }
        key.extend_from_slice(&self.suffix);
        Ok(key)
    }

    fn strip<'s>(&self, secret: &'s [u8]) -> (Option<&str>, &'s [u8]) {
        let stripped = self.strip_prefix.iter().find_map(|prefix| {
            secret.strip_prefix(prefix.as_bytes()).map(|bare| (Some(prefix.as_str()), bare))
        });
        stripped.unwrap_or((None, secret))
    }

    fn problem(&self, stripped: Option<&str>, bare: &[u8], wanted: &str) -> Problem {
        let subject = match stripped {
            Some(prefix) => format!("what follows {prefix} is not {wanted}"),
            None => format!("it is not {wanted}"),
        };
        let hint = if bare.trim_ascii().len() < bare.len() {
            "there is white space or a line end around it"
        } else {
            "paste it whole, exactly as the provider shows it"
        };
        format!("{subject}; {hint}")
    }
}
