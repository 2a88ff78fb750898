//! Sealed answers: encrypted and signed as the sender's own messages are.

use aws_lc_rs::{digest, rand};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::aes::{self, BLOCK_BYTES, Key};
use super::encoding::Encoding;

/// Bytes that the framing `tencent` pads to a multiple of.
pub(super) const PADDED_TO: u8 = 32;

/// Random bytes of a nonce, which is written in hex.
const NONCE_BYTES: usize = 8;

/// What answers are sealed with.
pub(super) struct Seal<'a> {
    pub(super) key: &'a Key,
    /// Stands at the end of the encrypted text.
    pub(super) receiver: &'a [u8],
}

/// The members are DingTalk's.
#[derive(Serialize)]
struct Sealed<'a> {
    msg_signature: String,
    encrypt: &'a str,
    #[serde(rename = "timeStamp")]
    timestamp: &'a str,
    nonce: &'a str,
}

impl Seal<'_> {
    /// The answer, encrypted behind a random prefix and signed with the token as of `now`; `None` when
    /// randomness or cipher can't be had.
    pub(super) fn seal(&self, answer: &[u8], token: &[u8], now: Timestamp) -> Option<Bytes> {
        let encrypted = self.encrypt(answer)?;
        let nonce = Encoding::Hex.encode(&random::<NONCE_BYTES>()?);
        let timestamp = now.as_millisecond().to_string();
        let mut signed = [token, timestamp.as_bytes(), nonce.as_bytes(), encrypted.as_bytes()];
        signed.sort_unstable();
        let signature = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &signed.concat());
        let sealed = Sealed {
            msg_signature: Encoding::Hex.encode(signature.as_ref()),
            encrypt: &encrypted,
            timestamp: &timestamp,
            nonce: &nonce,
        };
        serde_json::to_vec(&sealed).ok().map(Bytes::from)
    }

    /// The text encrypted behind a random prefix, in base64.
    pub(super) fn encrypt(&self, text: &[u8]) -> Option<String> {
        let length = u32::try_from(text.len()).ok()?.to_be_bytes();
        let framed = [&random::<BLOCK_BYTES>()?[..], &length, text, self.receiver].concat();
        let encrypted = aes::encrypt(self.key, self.key.first_chunk()?, &framed, PADDED_TO)?;
        Some(Encoding::Base64.encode(&encrypted))
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::decrypt::{open_tencent, tencent_key};
    use super::super::settings::ReceiverSettings;
    use super::super::vectors::Case;
    use super::super::verifier::Verifier;
    use super::super::{Admission, Secret};
    use super::*;
    use crate::catalog::{self, Row, Vector};

    const ROW: &str = include_str!("../catalog/dingtalk-events.toml");

    /// The vector's answer, under these tokens.
    fn answer(vector: &Vector, tokens: &[&str]) -> Bytes {
        let row = catalog::find("dingtalk-events").unwrap();
        let Case { delivery, now, .. } = Case::new(row, vector).unwrap();
        let settings = vector.settings.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let settings = ReceiverSettings {
            secrets: tokens.iter().map(|token| Secret::from(*token)).collect(),
            settings: settings.collect(),
            ..ReceiverSettings::default()
        };
        match Verifier::compile(row, &settings).unwrap().admit(delivery, now) {
            Admission::Event(verified) => verified.acknowledgement().body.clone(),
            Admission::Answered { reply, .. } => reply.body,
            other => panic!("{other:?}"),
        }
    }

    fn opened(answer: &[u8], vector: &Vector) -> Vec<u8> {
        let answer: Value = serde_json::from_slice(answer).unwrap();
        assert_eq!(answer.as_object().unwrap().len(), 4, "{answer}");
        let member = |name: &str| answer[name].as_str().unwrap();
        let mut signed = [&*vector.secret, member("timeStamp"), member("nonce"), member("encrypt")];
        signed.sort_unstable();
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, signed.concat().as_bytes());
        assert_eq!(member("msg_signature"), Encoding::Hex.encode(digest.as_ref()));
        assert_eq!(member("timeStamp"), format!("{}000", vector.now));
        let key = tencent_key(&vector.settings["aes_key"]).unwrap();
        let sealed = Encoding::Base64.decode(member("encrypt").as_bytes()).unwrap();
        open_tencent(&key, &sealed, vector.settings["app_key"].as_bytes()).unwrap()
    }

    #[test]
    fn answers_decrypt_to_success_and_verify_under_the_token_of_the_request() {
        let row: Row = toml::from_str(ROW).unwrap();
        let taken = |vector: &&Vector| matches!(&*vector.expect, "event" | "answer");
        let vectors: Vec<&Vector> = row.vectors.iter().filter(taken).collect();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            for tokens in [&[&*vector.secret][..], &["a newer one", &vector.secret]] {
                let (first, second) = (answer(vector, tokens), answer(vector, tokens));
                assert_ne!(first, second);
                assert_eq!(opened(&first, vector), b"success");
                assert_eq!(opened(&second, vector), b"success");
            }
        }
    }

    #[test]
    fn what_cannot_seal_is_refused_at_start() {
        let wrong = [
            ("receiver = \"{set:app_key}\", ", ""),
            ("framing = \"tencent\"", "framing = \"lark\""),
            ("verify = \"hash\"\nalgorithm = \"sha1\"", "verify = \"mac\"\nalgorithm = \"hmac-sha256\""),
        ];
        for (from, to) in wrong {
            assert!(ROW.contains(from));
            let row: Row = toml::from_str(&ROW.replacen(from, to, 1)).unwrap();
            let why = Case::new(&row, &row.vectors[0]).unwrap_err();
            assert!(why.contains("sealed"), "{why}");
        }
    }
}
