//! GitHub's signature: `X-Hub-Signature-256: sha256=` and the HMAC-SHA256 of the body in hex.

use aws_lc_rs::hmac;

/// The header's name.
pub const SIGNATURE: &str = "x-hub-signature-256";

const SCHEME: &str = "sha256=";

/// A key for [`sign`] and [`verify`].
pub fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

/// The header's value for a body.
pub fn sign(key: &hmac::Key, body: &[u8]) -> String {
    use std::fmt::Write;
    let mut value = SCHEME.to_owned();
    for byte in hmac::sign(key, body).as_ref() {
        write!(value, "{byte:02x}").expect("a String takes everything");
    }
    value
}

/// Whether the header's value is that of the body; compared in constant time.
pub fn verify(key: &hmac::Key, body: &[u8], value: &[u8]) -> bool {
    let tag = value.strip_prefix(SCHEME.as_bytes()).and_then(decode_hex);
    tag.is_some_and(|tag| hmac::verify(key, body, &tag).is_ok())
}

fn decode_hex(text: &[u8]) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    if text.len() != 2 * tag.len() {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(tag)
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let key = key("it-is-only-a-benchmark's-secret");
        let value = sign(&key, b"{}");
        assert!(verify(&key, b"{}", value.as_bytes()));
        assert!(!verify(&key, b"{ }", value.as_bytes()));
        assert!(!verify(&key, b"{}", value.replace("sha256=", "").as_bytes()));
        assert!(!verify(&key, b"{}", &value.as_bytes()[..value.len() - 2]));
        assert!(!verify(&key, b"{}", &[value.as_bytes(), b"00"].concat()));
    }
}
