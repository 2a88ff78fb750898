//! AES-256 in CBC mode, as some providers encrypt what they send.
//!
//! CBC protects nothing by itself. Whoever calls this has verified a signature over the encrypted text, or
//! gives one and the same refusal whatever goes wrong here: else the padding would be an oracle.

use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

/// A key.
pub(super) type Key = Zeroizing<[u8; 32]>;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 16;

/// What was encrypted, its padding (PKCS #7, of blocks up to that many bytes) taken off; `None` when it can't
/// be anything.
pub(super) fn decrypt(key: &Key, iv: &[u8; BLOCK_BYTES], text: &[u8], padded_to: usize) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(BLOCK_BYTES) {
        return None;
    }
    let key = UnboundCipherKey::new(&AES_256, &key[..]).ok()?;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let mut plain = text.to_vec();
    DecryptingKey::cbc(key).ok()?.decrypt(&mut plain, context).ok()?;
    let pad = usize::from(*plain.last()?);
    let kept = plain.len().checked_sub(pad).filter(|_| (1..=padded_to).contains(&pad))?;
    let is_padding = plain[kept..].iter().all(|byte| usize::from(*byte) == pad);
    plain.truncate(kept);
    is_padding.then_some(plain)
}

/// The text, padded to a multiple of that many bytes and encrypted; `None` when the library can't.
pub(super) fn encrypt(key: &Key, iv: &[u8; BLOCK_BYTES], text: &[u8], pad_to: u8) -> Option<Vec<u8>> {
    let key = UnboundCipherKey::new(&AES_256, &key[..]).ok()?;
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    let past = u8::try_from(text.len() % usize::from(pad_to)).ok()?;
    let pad = pad_to - past;
    let mut sealed = text.to_vec();
    sealed.extend(std::iter::repeat_n(pad, usize::from(pad)));
    EncryptingKey::cbc(key).ok()?.less_safe_encrypt(&mut sealed, context).ok()?;
    Some(sealed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics(text: Vec<u8>, key: [u8; 32], iv: [u8; 16]) {
            let _ = decrypt(&Zeroizing::new(key), &iv, &text, 32);
        }

        #[test]
        fn decrypts_what_it_encrypted(text: Vec<u8>, key: [u8; 32], iv: [u8; 16]) {
            let key = Zeroizing::new(key);
            let sealed = encrypt(&key, &iv, &text, 32).unwrap();
            prop_assert_eq!(sealed.len() % 32, 0);
            prop_assert_eq!(decrypt(&key, &iv, &sealed, 32), Some(text));
        }
    }
}
