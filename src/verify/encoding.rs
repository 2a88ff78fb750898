//! Hex and base64 as signatures are written: one text for one value, nothing lenient.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};

use super::error::CompileError;

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Either case, two digits a byte.
    Hex,
    /// Standard alphabet, padded.
    Base64,
    /// Standard alphabet, without padding.
    Base64Unpadded,
    /// URL-safe alphabet, padded.
    Base64Url,
    /// URL-safe alphabet, without padding.
    Base64UrlUnpadded,
    /// Either alphabet, padding or none: what some senders of old do.
    Base64Any,
}

impl Encoding {
    /// The encoding of that name.
    pub(super) fn named(name: &str) -> Result<Self, CompileError> {
        Ok(match name {
            "hex" | "" => Self::Hex,
            "base64" => Self::Base64,
            "base64-unpadded" => Self::Base64Unpadded,
            "base64url" => Self::Base64Url,
            "base64url-unpadded" => Self::Base64UrlUnpadded,
            "base64-any" => Self::Base64Any,
            _ => return Err(CompileError::unknown("encoding", name, NAMES)),
        })
    }

    /// The bytes; `None` when the text isn't exactly what encoding them would give, but for the case of hex.
    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => unhex(text),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Base64Unpadded => STANDARD_UNPADDED.decode(text).ok(),
            Self::Base64Url => URL.decode(text).ok(),
            Self::Base64UrlUnpadded => URL_UNPADDED.decode(text).ok(),
            Self::Base64Any => STANDARD_ANY.decode(text).or_else(|_| URL_ANY.decode(text)).ok(),
        }
    }

    /// The text; hex in lower case.
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex(bytes),
            Self::Base64 | Self::Base64Any => STANDARD.encode(bytes),
            Self::Base64Unpadded => STANDARD_UNPADDED.encode(bytes),
            Self::Base64Url => URL.encode(bytes),
            Self::Base64UrlUnpadded => URL_UNPADDED.encode(bytes),
        }
    }
}

/// Bytes of a key in base64 without padding whose last bits are anything: some providers draw the text's
/// characters at random, and ignore what is left over.
pub(super) fn key_of_loose_base64(text: &[u8]) -> Option<Vec<u8>> {
    const LOOSE: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, UNPADDED.with_decode_allow_trailing_bits(true));
    LOOSE.decode(text).ok()
}

const NAMES: &str = "hex, base64, base64-unpadded, base64url, base64url-unpadded, base64-any";

// Trailing bits must be zero: else several texts would stand for one signature.
const STRICT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(false)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const UNPADDED: GeneralPurposeConfig =
    STRICT.with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::RequireNone);
const ANY: GeneralPurposeConfig = STRICT.with_decode_padding_mode(DecodePaddingMode::Indifferent);

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, STRICT);
const STANDARD_UNPADDED: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, UNPADDED);
const STANDARD_ANY: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, STRICT);
const URL_UNPADDED: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, UNPADDED);
const URL_ANY: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Encoding; 6] = [
        Encoding::Hex,
        Encoding::Base64,
        Encoding::Base64Unpadded,
        Encoding::Base64Url,
        Encoding::Base64UrlUnpadded,
        Encoding::Base64Any,
    ];

    #[test]
    fn refuses_what_encoding_would_not_give() {
        assert_eq!(Encoding::Hex.decode(b"0g"), None);
        assert_eq!(Encoding::Hex.decode(b"abc"), None);
        assert_eq!(Encoding::Hex.decode(b"aB"), Some(vec![0xab]));
        assert_eq!(Encoding::Base64.decode(b"QQ=="), Some(b"A".to_vec()));
        assert_eq!(Encoding::Base64.decode(b"QR=="), None, "trailing bits");
        assert_eq!(Encoding::Base64.decode(b"QQ"), None, "no padding");
        assert_eq!(Encoding::Base64.decode(b"QQ==\n"), None);
        assert_eq!(Encoding::Base64Unpadded.decode(b"QQ=="), None);
        assert_eq!(Encoding::Base64Any.decode(b"-_8"), Encoding::Base64Any.decode(b"+/8="));
    }

    proptest! {
        #[test]
        fn round_trips(bytes: Vec<u8>) {
            for encoding in ALL {
                prop_assert_eq!(encoding.decode(encoding.encode(&bytes).as_bytes()), Some(bytes.clone()));
            }
        }

        #[test]
        fn one_text_for_one_value(text in "[A-Za-z0-9+/_=-]{0,12}") {
            for encoding in [Encoding::Base64, Encoding::Base64Unpadded, Encoding::Base64Url] {
                if let Some(bytes) = encoding.decode(text.as_bytes()) {
                    prop_assert_eq!(encoding.encode(&bytes), text.clone());
                }
            }
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            for encoding in ALL {
                let _ = encoding.decode(&text);
            }
        }
    }
}
