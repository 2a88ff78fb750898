//! Certificates and keys out of PEM files, and until when a certificate is valid.

use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::bounds::{PEM_BYTES_MAX, PEM_ROOM_BYTES};
use crate::config::source::readable_by_others;

/// The certificates of a file, the first one's first.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|e| format!("{}: {e}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("{} holds no certificate in PEM", path.display()));
    }
    Ok(certificates)
}

/// The first private key of a file, and a warning when others can read it.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_key(path: &Path) -> Result<(Zeroizing<PrivateKeyDer<'static>>, Option<String>), String> {
    let text = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|e| format!("{} holds no private key in PEM: {e}", path.display()))?;
    Ok((Zeroizing::new(key), readable_by_others(path)))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let cant = |e: std::io::Error| format!("{} can't be read: {e}", path.display());
    let file = std::fs::File::open(path).map_err(cant)?;
    // Room for all of it, and then some: a buffer that grows, or one on the stack, would leave parts of a key.
    let length = file.metadata().map_or(0, |facts| facts.len()).min(PEM_BYTES_MAX);
    let mut text = Zeroizing::new(Vec::with_capacity(2 * length as usize + PEM_ROOM_BYTES));
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut text).map_err(cant)?;
    if text.len() as u64 > PEM_BYTES_MAX {
        return Err(format!("{} is longer than {PEM_BYTES_MAX} bytes", path.display()));
    }
    Ok(text)
}

/// When a certificate is valid (RFC 5280, section 4.1): from its second moment on until its last. `None` when
/// its form isn't known.
pub fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    // The version is left out of those of version 1.
    if let Some((_, behind)) = element(fields, VERSION) {
        fields = behind;
    }
    // Serial number, algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = element(fields, tag)?.1;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (from, behind) = time(validity)?;
    Some((from, time(behind)?.0))
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The content of the element that comes first, if it has this tag, and what stands behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        // More than any certificate has.
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn time(der: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (digits, rest) = match element(der, UTC_TIME) {
        Some((text, rest)) => {
            let text = std::str::from_utf8(text).ok()?;
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            (format!("{century}{text}"), rest)
        }
        None => {
            let (text, rest) = element(der, GENERALIZED_TIME)?;
            (std::str::from_utf8(text).ok()?.to_owned(), rest)
        }
    };
    let moment = DateTime::strptime("%Y%m%d%H%M%S", digits.strip_suffix('Z')?).ok()?;
    Some((TimeZone::UTC.to_timestamp(moment).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn validity_is_read_of_either_form_of_time() {
        let moment = |text: &str| text.parse::<Timestamp>().unwrap();
        for (until, text) in
            [((2027, 3, 1), "2027-03-01T00:00:00Z"), ((2099, 12, 31), "2099-12-31T00:00:00Z")]
        {
            let (from, to) = validity(&certificate((1999, 1, 2), until)).unwrap();
            assert_eq!((from, to), (moment("1999-01-02T00:00:00Z"), moment(text)));
        }
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let whole = certificate((2020, 1, 1), (2030, 1, 1));
        for length in 0..whole.len().min(300) {
            let _ = validity(&CertificateDer::from(whole[..length].to_vec()));
        }
        assert_eq!(validity(&CertificateDer::from(whole[..60].to_vec())), None);
        assert_eq!(validity(&CertificateDer::from(vec![])), None);
    }

    #[test]
    fn files_without_what_is_sought_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pem");
        assert!(read_key(&path).unwrap_err().contains("x.pem can't be read"));
        std::fs::write(&path, "nothing\n").unwrap();
        assert!(read_certificates(&path).unwrap_err().contains("x.pem holds no certificate"));
        assert!(read_key(&path).unwrap_err().contains("x.pem holds no private key"));
        std::fs::write(&path, vec![b'x'; PEM_BYTES_MAX as usize + 1]).unwrap();
        assert!(read_certificates(&path).unwrap_err().contains("longer"));
    }
}
