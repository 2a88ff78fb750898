//! Paddle Classic: RSA with SHA-1 over the form's fields as PHP serialises them.
//!
//! The rule (developer.paddle.com/classic, "Verifying webhooks"): take every field but `p_signature`, sort by
//! name, and `serialize()` the map of strings. PHP writes `a:COUNT:{s:BYTES:"NAME";s:BYTES:"VALUE";…}`.

use aws_lc_rs::signature::ParsedPublicKey;
use jiff::Timestamp;

use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::encoding::Encoding;
use crate::verify::source::Gap;
use crate::verify::verdict::Verdict;
use crate::verify::view::View;
use crate::verify::{form, public_key, signed};

const SIGNATURE: &str = "p_signature";

#[derive(Debug)]
struct PaddleClassic {
    keys: Vec<ParsedPublicKey>,
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let algorithm = public_key::algorithm("rsa-sha1")?;
    let keys = public_key::parse_all(algorithm, parts.secrets, &[]);
    Ok(keys.map(|keys| Box::new(PaddleClassic { keys }) as Box<dyn Named>))
}

impl Named for PaddleClassic {
    fn verify(&self, view: &View<'_>, _now: Timestamp) -> Verdict {
        let mut fields = form::fields(view).map_err(signed::refuse)?;
        let (signatures, signed): (Vec<_>, Vec<_>) =
            fields.drain(..).partition(|(name, _)| name.as_ref().eq(SIGNATURE));
        let signature = match signatures.as_slice() {
            [] => return Err(signed::refuse(Gap::Absent).into()),
            [(_, one)] => one,
            _ => return Err(signed::refuse(Gap::Repeated).into()),
        };
        let signature = Encoding::Base64.decode(signature.as_bytes()).ok_or(NOT_BASE64)?;
        let message = serialize(signed).ok_or(REPEATED)?;
        let is_signed = self.keys.iter().any(|key| key.verify_sig(&message, &signature).is_ok());
        is_signed.then_some(None).ok_or(MISMATCH.into())
    }
}

const NOT_BASE64: Refusal = Refusal::new(Reason::SignatureMalformed, "p_signature is not base64");
const REPEATED: Refusal =
    Refusal::new(Reason::SignatureMalformed, "a field is repeated, and PHP would see the last one only");
const MISMATCH: Refusal = Refusal::new(Reason::SignatureMismatch, "no key gives this signature");

/// The fields as PHP's `serialize(ksort(…))` writes them; `None` when a name is repeated.
fn serialize(mut fields: Vec<form::Field<'_>>) -> Option<Vec<u8>> {
    fields.sort();
    if fields.windows(2).any(|pair| pair[0].0.eq(&pair[1].0)) {
        return None;
    }
    let mut text = format!("a:{}:{{", fields.len());
    for part in fields.iter().flat_map(|(name, value)| [name, value]) {
        text.push_str(&format!("s:{}:\"{part}\";", part.len()));
    }
    text.push('}');
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_bytes() {
        let fields = vec![("b".into(), "ä".into()), ("a".into(), "\"".into())];
        let text = "a:2:{s:1:\"a\";s:1:\"\"\";s:1:\"b\";s:2:\"ä\";}";
        assert_eq!(serialize(fields), Some(text.as_bytes().to_vec()));
        assert_eq!(serialize(vec![("a".into(), "1".into()), ("a".into(), "2".into())]), None);
    }
}
