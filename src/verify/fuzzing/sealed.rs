//! Properties of what other parsers read: XML, detached signatures, encrypted text, certificates.

use std::sync::LazyLock;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor};
use webpki::anchor_from_trusted_cert;
use zeroize::Zeroizing;

use super::input::{Input, delivery};
use super::{NOW, row};
use crate::delivery::Delivery;
use crate::verify::aes::{self, BLOCK_BYTES};
use crate::verify::encoding::Encoding;
use crate::verify::settings::ReceiverSettings;
use crate::verify::verifier::Verifier;
use crate::verify::{Admission, Mask, chain, mask, public_key, xml};

/// Elements that are masked can't be read any more, and the rest of the body is what it was.
pub fn xml(data: &[u8]) {
    let spans = xml::elements(data, "Id");
    let mut end = 0;
    for span in &spans {
        assert!(end <= span.start && span.start <= span.end && span.end <= data.len());
        let _ = xml::text(&data[span.clone()]);
        end = span.end;
    }
    let Ok(element) = Mask::parse("xml:Id") else { return };
    let masked = mask(&[element], &HeaderMap::new(), "", &Bytes::copy_from_slice(data)).body;
    let after = xml::elements(&masked, "Id");
    // A start tag that begins in another's text, in what isn't XML, goes with that text.
    assert!(after.len() <= spans.len() && after.is_empty() == spans.is_empty());
    assert!(after.iter().all(|span| &masked[span.clone()] == b"***"));
    let starts = std::iter::once(0).chain(spans.iter().map(|span| span.end));
    let ends = spans.iter().map(|span| span.start).chain([data.len()]);
    let rest: Vec<&[u8]> = starts.zip(ends).map(|(start, end)| &data[start..end]).collect();
    assert_eq!(masked, rest.join(&b"***"[..]));
}

/// A detached signature is believed only when it is the one that the key made over this body: neither any other
/// text, nor the right one with some bytes changed.
pub fn jws(data: &[u8]) {
    static SIGNER: LazyLock<(Ed25519KeyPair, Verifier)> = LazyLock::new(signer);
    let mut input = Input(data);
    let is_edited = input.byte() % 2 == 1;
    let (sent, body) = match is_edited {
        false => (input.text(255).into_bytes(), input.0.to_vec()),
        true => {
            let (edits, body) = (input.bytes(16), input.0.to_vec());
            (edited(signed(&SIGNER.0, &body).as_bytes(), edits), body)
        }
    };
    let is_genuine = sent == signed(&SIGNER.0, &body).as_bytes();
    let Ok(sent) = HeaderValue::from_bytes(&sent) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("x-neon-signature", sent);
    headers.insert("x-neon-timestamp", HeaderValue::from_static("0"));
    let delivery = Delivery { headers, body: body.into(), ..delivery(Input(b"")) };
    let is_believed = matches!(SIGNER.1.admit(delivery, NOW), Admission::Event(_));
    assert_eq!(is_believed, is_genuine);
}

fn signer() -> (Ed25519KeyPair, Verifier) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 bytes are a seed");
    let x = Encoding::Base64UrlUnpadded.encode(pair.public_key().as_ref());
    let key = format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}");
    let settings = ReceiverSettings {
        secrets: vec![key.as_str().into()],
        settings: [("auth_url".to_owned(), "https://a.neonauth.b.aws.neon.tech/auth".into())].into(),
        ..ReceiverSettings::default()
    };
    (pair, Verifier::compile(row("neon-auth"), &settings).expect("a public key is its secret"))
}

fn signed(pair: &Ed25519KeyPair, body: &[u8]) -> String {
    let encode = |bytes: &[u8]| Encoding::Base64UrlUnpadded.encode(bytes);
    let protected = encode(br#"{"alg":"EdDSA"}"#);
    let payload = encode(format!("0.{}", encode(body)).as_bytes());
    let signature = pair.sign(format!("{protected}.{payload}").as_bytes());
    format!("{protected}..{}", encode(signature.as_ref()))
}

/// The bytes with each pair of the edits applied: where, and what changes there.
fn edited(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut edited = bytes.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(edit[0]) << 8 | usize::from(edit[1]);
        if let Some(byte) = edited.get_mut(at % bytes.len().max(1)) {
            *byte ^= edit[2];
        }
    }
    edited
}

/// What was encrypted comes back; what decrypts at all is what this very text decrypts to.
pub fn aes(data: &[u8]) {
    let mut input = Input(data);
    let mut key = Zeroizing::new([0; 32]);
    key.fill(input.byte());
    let (iv, padded_to) = ([input.byte(); BLOCK_BYTES], if input.byte() % 2 == 0 { BLOCK_BYTES } else { 32 });
    let text = input.0;
    if let Some(plain) = aes::decrypt(&key, &iv, text, padded_to) {
        let pad = text.len() - plain.len();
        assert!((1..=padded_to).contains(&pad));
        assert_eq!(encrypt(&key, &iv, plain, pad), text);
    }
    let pad = padded_to - text.len() % padded_to;
    let encrypted = encrypt(&key, &iv, text.to_vec(), pad);
    assert_eq!(aes::decrypt(&key, &iv, &encrypted, padded_to).as_deref(), Some(text));
}

fn encrypt(key: &aes::Key, iv: &[u8; BLOCK_BYTES], mut plain: Vec<u8>, pad: usize) -> Vec<u8> {
    plain.resize(plain.len() + pad, u8::try_from(pad).unwrap_or_default());
    let key = UnboundCipherKey::new(&AES_256, &key[..]).expect("32 bytes are a key");
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    let key = EncryptingKey::cbc(key).expect("AES has a CBC mode");
    key.less_safe_encrypt(&mut plain, context).expect("whole blocks can be encrypted");
    plain
}

/// A certificate's chain leads to the root only as it was issued, whatever changes in its bytes; and no other
/// bytes are a chain to it.
pub fn certificate(data: &[u8]) {
    static ISSUED: LazyLock<Issued> = LazyLock::new(Issued::read);
    let mut input = Input(data);
    let time = if input.byte() % 2 == 0 { "2030-01-01T00:00:00Z" } else { "2300-01-01T00:00:00Z" };
    let time: Timestamp = time.parse().expect("it is a time");
    let chosen = input.byte();
    let mut chain = ISSUED.chain.clone();
    match chosen % 3 {
        0 => chain = vec![input.0.to_vec()],
        which => chain[usize::from(which) - 1] = edited(&chain[usize::from(which) - 1], input.0),
    }
    let is_issued = chain == ISSUED.chain && time.strftime("%Y").to_string() == "2030";
    let text = pem(&chain);
    let verified = chain::verified(&text, &ISSUED.names, &ISSUED.roots, time);
    assert_eq!(verified.is_ok(), is_issued, "{chain:?}");
    for name in ["rsa-sha256", "ecdsa-p256-sha256", "ed25519"] {
        let Ok(algorithm) = public_key::algorithm(name) else { continue };
        let _ = public_key::of_certificate(algorithm, &chain[0]);
        let _ = public_key::parse(algorithm, input.0, &[]);
    }
}

/// A leaf, who issued it, and their root.
struct Issued {
    chain: Vec<Vec<u8>>,
    roots: [TrustAnchor<'static>; 1],
    names: [ServerName<'static>; 1],
}

impl Issued {
    fn read() -> Self {
        let pem = include_bytes!("chain.pem");
        let all: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().expect("they are certificates");
        let root = anchor_from_trusted_cert(&all[2]).expect("the third is a root").to_owned();
        let chain = all[..2].iter().map(|certificate| certificate.to_vec()).collect();
        let name = ServerName::try_from("messages.example.com").expect("it is a name");
        Self { chain, roots: [root], names: [name] }
    }
}

fn pem(chain: &[Vec<u8>]) -> Vec<u8> {
    let of = |der: &Vec<u8>| {
        let lines = Encoding::Base64.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    };
    chain.iter().map(of).collect::<String>().into_bytes()
}
