//! Encrypted bodies: what is inside, once the signature over the outside is right.

use aws_lc_rs::digest;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::admission::Refusal;
use super::aes::{self, BLOCK_BYTES, Key};
use super::compare;
use super::encoding::{self, Encoding};
use super::error::CompileError;
use super::json::Document;
use super::key::Problem;
use super::seal::{PADDED_TO, Seal};
use super::secret::Secret;
use super::settings::Scope;
use super::signed;
use super::source::{Gap, Source};
use super::verdict::Inside;
use super::view::View;
use crate::catalog::{self, Framing};
use crate::reason::Reason;

/// A compiled rule.
pub(super) struct Decrypt {
    pub(super) source: Source,
    framing: Framing,
    keys: Vec<Key>,
    receiver: Vec<u8>,
    seals_answers: bool,
}

impl Decrypt {
    /// Compiles a row's rule with the receiver's secrets.
    pub(super) fn compile(
        rule: &catalog::Decrypt,
        scope: &Scope<'_>,
        secrets: &[Secret],
    ) -> Result<Result<Self, Problem>, CompileError> {
        let keys = match rule.framing {
            Framing::Lark => secrets.iter().map(lark_key).collect(),
            Framing::Tencent => match tencent_key(&scope.expand(&rule.key)?) {
                Some(key) => vec![key],
                None => {
                    return Ok(Err("the AES key is not the 43 characters that the provider shows".into()));
                }
            },
        };
        let source = Source::parse(&rule.from)?;
        let receiver = scope.expand(&rule.receiver)?.into_owned().into_bytes();
        let seals_answers = rule.seals_answers;
        if seals_answers && (rule.framing != Framing::Tencent || receiver.is_empty()) {
            let problem = "answers are sealed by framing tencent only, and for a receiver";
            return Err(CompileError::Incomplete { problem });
        }
        Ok(Ok(Self { source, framing: rule.framing, keys, receiver, seals_answers }))
    }

    /// What answers are sealed with, where they are.
    pub(super) fn seal(&self) -> Option<Seal<'_>> {
        let key = self.keys.first().filter(|_| self.seals_answers)?;
        Some(Seal { key, receiver: &self.receiver })
    }

    /// What is inside; nothing where nothing is encrypted.
    pub(super) fn open(&self, view: &View<'_>) -> Result<Inside, Refusal> {
        let text = match self.source.one(view) {
            Err(Gap::Absent) => return Ok(None),
            text => text.map_err(signed::refuse)?,
        };
        let bytes = Encoding::Base64.decode(&text).ok_or(SEALED)?;
        let opened = self.keys.iter().find_map(|key| match self.framing {
            Framing::Lark => open_lark(key, &bytes),
            Framing::Tencent => open_tencent(key, &bytes, &self.receiver),
        });
        opened.map(Bytes::from).map(Some).ok_or(SEALED)
    }
}

impl std::fmt::Debug for Decrypt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {} keys", self.framing, self.keys.len())
    }
}

/// One refusal whatever went wrong: where it went wrong would tell of the text.
const SEALED: Refusal = Refusal::new(Reason::SignatureMismatch, "no key opens what is encrypted");

fn lark_key(secret: &Secret) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(digest::digest(&digest::SHA256, secret.bytes()).as_ref());
    key
}

pub(super) fn tencent_key(text: &str) -> Option<Key> {
    let bytes = Zeroizing::new(encoding::key_of_loose_base64(text.trim().as_bytes())?);
    Some(Zeroizing::new(<[u8; 32]>::try_from(&bytes[..]).ok()?))
}

fn open_lark(key: &Key, bytes: &[u8]) -> Option<Vec<u8>> {
    let (iv, text) = bytes.split_first_chunk::<BLOCK_BYTES>()?;
    let plain = aes::decrypt(key, iv, text, BLOCK_BYTES)?;
    Document::parse(&plain)?;
    Some(plain)
}

pub(super) fn open_tencent(key: &Key, bytes: &[u8], receiver: &[u8]) -> Option<Vec<u8>> {
    let iv = key.first_chunk::<BLOCK_BYTES>()?;
    let plain = aes::decrypt(key, iv, bytes, usize::from(PADDED_TO))?;
    let (length, rest) = plain.get(BLOCK_BYTES..)?.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, id) = rest.split_at_checked(length)?;
    (receiver.is_empty() || compare::same(id, receiver)).then(|| text.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, key: [u8; 32], text: String) {
            let key = Zeroizing::new(key);
            let _ = (open_lark(&key, &bytes), open_tencent(&key, &bytes, b""), tencent_key(&text));
        }
    }
}
