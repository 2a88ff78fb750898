//! The functions of templates.

use aws_lc_rs::{digest, hmac};

use super::encoding::Encoding;
use super::error::CompileError;
use super::public_url;
use super::source::Gap;
use super::template::Context;

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// The raw SHA-1 digest.
    Sha1,
    /// The raw SHA-256 digest.
    Sha256,
    /// The raw MAC under the receiver's first key.
    Hmac,
    /// Lower-case hex.
    Hex,
    /// Padded base64.
    Base64,
    /// Base64url without padding.
    Base64Url,
    /// CRC-32 (IEEE) in decimal.
    Crc32,
    /// ASCII lower case.
    Lower,
    /// As it stands inside a JSON string.
    Json,
    /// Nothing when the value is absent.
    Optional,
    /// A URL with its default port written out.
    WithPort,
    /// A URL without its default port.
    WithoutPort,
    /// The percent-encoded characters that are harmless in a URL decoded: HubSpot's rule.
    DecodeHarmless,
}

impl Function {
    /// The function of that name.
    pub(super) fn named(name: &str) -> Result<Self, CompileError> {
        Ok(match name {
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "hmac" => Self::Hmac,
            "hex" => Self::Hex,
            "base64" => Self::Base64,
            "base64url" => Self::Base64Url,
            "crc32" => Self::Crc32,
            "lower" => Self::Lower,
            "json" => Self::Json,
            "optional" => Self::Optional,
            "with_port" => Self::WithPort,
            "without_port" => Self::WithoutPort,
            "decode_harmless" => Self::DecodeHarmless,
            _ => return Err(CompileError::unknown("function", name, NAMES)),
        })
    }

    /// The value after it.
    pub(super) fn apply(self, value: Vec<u8>, context: &Context<'_, '_>) -> Result<Vec<u8>, Gap> {
        Ok(match self {
            Self::Sha1 => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &value).as_ref().to_vec(),
            Self::Sha256 => digest::digest(&digest::SHA256, &value).as_ref().to_vec(),
            Self::Hmac => hmac::sign(context.key.ok_or(Gap::Absent)?, &value).as_ref().to_vec(),
            Self::Hex => Encoding::Hex.encode(&value).into_bytes(),
            Self::Base64 => Encoding::Base64.encode(&value).into_bytes(),
            Self::Base64Url => Encoding::Base64UrlUnpadded.encode(&value).into_bytes(),
            Self::Crc32 => crc32(&value).to_string().into_bytes(),
            Self::Lower => value.to_ascii_lowercase(),
            Self::Json => json_string(&value),
            Self::Optional => value,
            Self::WithPort => url(&value, public_url::with_port)?,
            Self::WithoutPort => url(&value, public_url::without_port)?,
            Self::DecodeHarmless => decode_harmless(&value),
        })
    }
}

const NAMES: &str = "sha1, sha256, hmac, hex, base64, base64url, crc32, lower, json, optional, with_port, without_port, decode_harmless";

fn json_string(value: &[u8]) -> Vec<u8> {
    let quoted = serde_json::Value::from(String::from_utf8_lossy(value)).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

fn url(value: &[u8], change: fn(&str) -> Option<String>) -> Result<Vec<u8>, Gap> {
    let text = std::str::from_utf8(value).map_err(|_| Gap::Absent)?;
    change(text).map(String::into_bytes).ok_or(Gap::Absent)
}

/// HubSpot signs the URL with these decoded, and never `?`'s own separator.
fn decode_harmless(url: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(url.len());
    let mut rest = url;
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| byte == b'%').and_then(|hex| Encoding::Hex.decode(hex));
        match escape.as_deref() {
            Some([byte]) if b":/?@!$'()*,;".contains(byte) => {
                decoded.push(*byte);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ CRC_TABLE[usize::from((crc as u8) ^ byte)])
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn decodes_only_what_is_harmless() {
        assert_eq!(decode_harmless(b"/a%3Ab%2f%20?x=%3F%3D%"), b"/a:b/%20?x=?%3D%");
    }

    #[test]
    fn escapes_json() {
        assert_eq!(json_string(b"a\"\\\n"), br#"a\"\\\n"#);
    }
}
