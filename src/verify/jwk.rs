//! Public keys as a JSON Web Key or a set of them (RFC 7517), which many providers publish.

use serde_json::Value;

use super::encoding::Encoding;

/// Keys of a set that are looked at.
const KEYS_MAX: usize = 32;

/// The keys as an algorithm's library takes them: RSA in PKCS #1, points uncompressed, Ed25519 raw. Keys of
/// other kinds are passed over; `None` when the text is neither a key nor a set.
pub(super) fn keys(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    keys_of(text, None)
}

/// The same, only of that id where one is given.
pub(super) fn keys_of(text: &[u8], id: Option<&str>) -> Option<Vec<Vec<u8>>> {
    let json: Value = serde_json::from_slice(text).ok()?;
    let keys = match (json.get("keys"), json.get("key")) {
        (Some(set), _) => set.as_array()?.clone(),
        (None, Some(one)) => vec![one.clone()],
        (None, None) => vec![json],
    };
    let is_meant = |jwk: &&Value| {
        let named = jwk.get("kid").and_then(Value::as_str);
        id.is_none_or(|id| named.is_some_and(|named| named.eq(id)))
            && jwk.get("use").is_none_or(|purpose| purpose == "sig")
            // Plaid says so of keys that it doesn't use any more.
            && jwk.get("expired_at").is_none_or(Value::is_null)
    };
    Some(keys.iter().take(KEYS_MAX).filter(is_meant).filter_map(key).collect())
}

/// The text of a key that comes within JSON, as `{"key": "-----BEGIN…"}`.
pub(super) fn enclosed(text: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(text).ok()?;
    json.get("key")?.as_str().map(str::to_owned)
}

fn key(jwk: &Value) -> Option<Vec<u8>> {
    let member = |name: &str| Encoding::Base64UrlUnpadded.decode(jwk.get(name)?.as_str()?.as_bytes());
    match jwk.get("kty")?.as_str()? {
        "RSA" => Some(sequence(&[integer(&member("n")?), integer(&member("e")?)])),
        "EC" => Some([vec![0x04], member("x")?, member("y")?].concat()),
        "OKP" => member("x"),
        _ => None,
    }
}

/// A DER INTEGER of an unsigned number.
fn integer(number: &[u8]) -> Vec<u8> {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    let digits = &number[leading.min(number.len().saturating_sub(1))..];
    let is_high = digits.first().is_none_or(|byte| *byte >= 0x80);
    let content = if is_high { [&[0], digits].concat() } else { digits.to_vec() };
    element(0x02, &content)
}

fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let header = match content.len() {
        short @ 0..0x80 => vec![tag, short as u8],
        _ => [&[tag, 0x80 | significant.len() as u8], significant].concat(),
    };
    [header, content.to_vec()].concat()
}
