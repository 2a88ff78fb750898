//! Public keys as providers publish them: raw in hex or base64, DER, PEM, inside a
//! certificate, or as JSON Web Keys.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};

use super::encoding::Encoding;
use super::error::CompileError;
use super::jwk;
use super::key::Problem;
use super::secret::Secret;

/// The algorithm of that name.
pub(super) fn algorithm(name: &str) -> Result<&'static dyn VerificationAlgorithm, CompileError> {
    Ok(match name {
        "ed25519" => &signature::ED25519,
        "ecdsa-p256-sha1" => &signature::ECDSA_P256_SHA1_ASN1,
        "ecdsa-p256-sha256" => &signature::ECDSA_P256_SHA256_ASN1,
        "rsa-sha1" => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        "rsa-sha256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "rsa-sha512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => {
            let known = "ed25519, ecdsa-p256-sha1, ecdsa-p256-sha256, rsa-sha1, rsa-sha256, rsa-sha512";
            return Err(CompileError::unknown("public-key algorithm", name, known));
        }
    })
}

/// The keys in the text, checked to be of the algorithm: one, or those of a JSON Web Key set.
pub(super) fn parse(
    algorithm: &'static dyn VerificationAlgorithm,
    text: &[u8],
    strip_prefix: &[String],
) -> Result<Vec<ParsedPublicKey>, Problem> {
    let text = text.trim_ascii();
    let bare = strip_prefix.iter().find_map(|prefix| text.strip_prefix(prefix.as_bytes())).unwrap_or(text);
    let candidates = match bare.first() {
        Some(b'{') => jwk::keys(bare).ok_or("it is no JSON Web Key and no set of them")?,
        _ => vec![bytes(bare)?],
    };
    let keys = candidates.iter().filter_map(|bytes| ParsedPublicKey::new(algorithm, bytes).ok());
    let keys: Vec<ParsedPublicKey> = keys.collect();
    if keys.is_empty() { Err("it is no public key of the scheme's algorithm".to_owned()) } else { Ok(keys) }
}

/// The keys in all of these secrets, each of which must have one.
pub(super) fn parse_all(
    algorithm: &'static dyn VerificationAlgorithm,
    secrets: &[Secret],
    strip_prefix: &[String],
) -> Result<Vec<ParsedPublicKey>, Problem> {
    let keys = secrets.iter().map(|secret| parse(algorithm, secret.bytes(), strip_prefix));
    Ok(keys.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The keys of a published document, of that algorithm and id; none of them is no problem, no document is.
pub(super) fn published(
    algorithm: &'static dyn VerificationAlgorithm,
    text: &[u8],
    id: Option<&str>,
) -> Result<Vec<ParsedPublicKey>, Problem> {
    let enclosed = jwk::enclosed(text);
    let text = enclosed.as_deref().map_or(text, str::as_bytes).trim_ascii();
    let candidates = match text.first() {
        Some(b'{') => jwk::keys_of(text, id).ok_or("it is no JSON Web Key and no set of them")?,
        _ => vec![bytes(text)?],
    };
    Ok(candidates.iter().filter_map(|bytes| ParsedPublicKey::new(algorithm, bytes).ok()).collect())
}

/// The key in a certificate; `None` when it is none of the algorithm.
pub(super) fn of_certificate(
    algorithm: &'static dyn VerificationAlgorithm,
    der: &[u8],
) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(algorithm, subject_key(der)?).ok()
}

fn bytes(text: &[u8]) -> Result<Vec<u8>, Problem> {
    if let Some(rest) = text.strip_prefix(b"-----BEGIN ") {
        let is_certificate = rest.starts_with(b"CERTIFICATE");
        let der = pem(text).ok_or("its PEM is broken")?;
        return match is_certificate {
            true => {
                subject_key(&der).map(<[u8]>::to_vec).ok_or_else(|| "its certificate is broken".to_owned())
            }
            false => Ok(der),
        };
    }
    // Ed25519 keys are given in hex, and 64 hex digits are never the base64 of a key.
    let hex = (text.len() == 64).then(|| Encoding::Hex.decode(text)).flatten();
    let bytes = hex.or_else(|| Encoding::Base64Any.decode(text));
    bytes.ok_or_else(|| "it is neither PEM nor hex nor base64".to_owned())
}

fn pem(text: &[u8]) -> Option<Vec<u8>> {
    // eBay's is one line.
    let (_, rest) = std::str::from_utf8(text).ok()?.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (inside, _) = rest.split_once("-----END")?;
    let digits: String = inside.split_ascii_whitespace().collect();
    Encoding::Base64.decode(digits.as_bytes())
}

/// The SubjectPublicKeyInfo of a certificate (RFC 5280, 4.1). Nothing else of it is looked at: the operator
/// vouches for it.
fn subject_key(certificate: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2; // the version
    }
    for _serial_algorithm_issuer_validity_subject in 0..5 {
        rest = element(rest)?.2;
    }
    Some(element(rest)?.0)
}

/// A DER element: whole, its content, and what follows.
fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*der.get(1)?);
    let (header, length) = if first < 0x80 {
        (2, first)
    } else {
        let octets = der.get(2..2 + (first & 0x7f)).filter(|octets| octets.len() <= 3)?;
        (2 + octets.len(), octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)))
    };
    let content = der.get(header..header + length)?;
    Some((&der[..header + length], content, &der[header + length..]))
}
