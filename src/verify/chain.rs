//! Certificates of senders (RFC 5280): whether one leads to a root that the system trusts, and is of the name
//! that the row says.

use std::sync::OnceLock;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::admission::Refusal;
use crate::reason::Reason;

/// Certificates in one document.
const CERTIFICATES_MAX: usize = 8;

/// The first certificate of the PEM text, once the others lead it to one of the roots, it is valid now, and it
/// is of one of the names.
pub(super) fn verified<'p>(
    pem: &'p [u8],
    names: &[ServerName<'_>],
    roots: &[TrustAnchor<'_>],
    now: Timestamp,
) -> Result<CertificateDer<'p>, Refusal> {
    let certificates = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX);
    let certificates: Vec<CertificateDer<'_>> = certificates.collect::<Result<_, _>>().map_err(|_| BROKEN)?;
    let (first, intermediates) = certificates.split_first().ok_or(BROKEN)?;
    let certificate = EndEntityCert::try_from(first).map_err(|_| UNTRUSTED)?;
    let seconds = u64::try_from(now.as_second()).map_err(|_| UNTRUSTED)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let usage = KeyUsage::server_auth();
    certificate
        .verify_for_usage(algorithms, roots, intermediates, time, usage, None, None)
        .map_err(|_| UNTRUSTED)?;
    let is_meant = |name: &ServerName<'_>| certificate.verify_is_valid_for_subject_name(name).is_ok();
    if !names.iter().any(is_meant) {
        return Err(OTHER_NAME);
    }
    Ok(first.clone().into_owned())
}

/// What the operating system trusts, read once. Empty when there is nothing.
pub(super) fn system_roots() -> &'static [TrustAnchor<'static>] {
    static ROOTS: OnceLock<Vec<TrustAnchor<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let anchor = |certificate: &CertificateDer<'_>| {
            anchor_from_trusted_cert(certificate).ok().map(|anchor| anchor.to_owned())
        };
        certificates.iter().filter_map(anchor).collect()
    })
}

/// Not the sender's fault: what was fetched is no certificate, or we trust nobody.
const BROKEN: Refusal = Refusal::key_unavailable("what was fetched is no certificate");
const UNTRUSTED: Refusal = Refusal::new(
    Reason::CertificateUntrusted,
    "the certificate leads to no root that is trusted, or is too old",
);
const OTHER_NAME: Refusal =
    Refusal::new(Reason::CertificateUntrusted, "the certificate is of another name than the provider's");

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;
    use crate::verify::encoding::Encoding;

    /// A root, an intermediate, and a certificate of that name, as PEM of the last two.
    fn chain(name: &str) -> (TrustAnchor<'static>, String) {
        let authority = || {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root = CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority(), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &middle).unwrap();
        let anchor = anchor_from_trusted_cert(root.der()).unwrap().to_owned();
        (anchor, format!("{}{}", leaf.pem(), middle.pem()))
    }

    fn judge(pem: &str, roots: &[TrustAnchor<'_>], now: &str) -> Result<(), &'static str> {
        let names = [ServerName::try_from("messages.example.com").unwrap()];
        let verified = verified(pem.as_bytes(), &names, roots, now.parse().unwrap());
        verified.map(drop).map_err(|refusal| refusal.reason.as_str())
    }

    proptest::proptest! {
        #[test]
        fn never_panics(der: Vec<u8>, keep in 0..900_usize) {
            let pem = |der: &[u8]| {
                format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", Encoding::Base64.encode(der))
            };
            let (root, good) = chain("messages.example.com");
            let mut cut = CertificateDer::pem_slice_iter(good.as_bytes()).next().unwrap().unwrap().to_vec();
            cut.truncate(keep);
            for text in [pem(&der), pem(&cut)] {
                proptest::prop_assert!(judge(&text, std::slice::from_ref(&root), "2026-11-24T00:00:00Z").is_err());
            }
        }
    }

    #[test]
    fn only_a_whole_chain_to_a_root_of_the_right_name_is_trusted() {
        let now = "2026-11-24T00:00:00Z";
        let (root, pem) = chain("messages.example.com");
        let (stranger, _) = chain("messages.example.com");
        let (other_root, other) = chain("messages.example.org");
        assert_eq!(judge(&pem, &[stranger.clone(), root.clone()], now), Ok(()));
        assert_eq!(judge(&pem, &[stranger], now), Err("certificate_untrusted"));
        assert_eq!(judge(&pem, &[], now), Err("certificate_untrusted"));
        assert_eq!(judge(&other, &[other_root], now), Err("certificate_untrusted"));
        assert_eq!(
            judge(&pem, std::slice::from_ref(&root), "1969-01-01T00:00:00Z"),
            Err("certificate_untrusted")
        );
        assert_eq!(
            judge(&pem, std::slice::from_ref(&root), "9000-01-01T00:00:00Z"),
            Err("certificate_untrusted")
        );
        let leaf_alone = pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
        assert_eq!(judge(leaf_alone, std::slice::from_ref(&root), now), Err("certificate_untrusted"));
        for broken in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            assert_eq!(judge(broken, std::slice::from_ref(&root), now), Err("key_unavailable"));
        }
    }
}
