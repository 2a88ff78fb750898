//! Certificates of TLS connections: whom to trust, and who we are.

use std::fs;
use std::io::Read;
use std::path::Path;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

use crate::bounds;
use crate::options::{Options, OptionsError};

/// Reads the files. They are read once: a changed one counts from the next start on.
pub(crate) fn read(options: &Options) -> Result<OwnedTLSConfig, OptionsError> {
    // The process's default; whoever has chosen one already is right.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cert_chain = match &options.ca_file {
        Some(file) => Some(text("ca_file", file, "-----BEGIN CERTIFICATE-----")?),
        None => None,
    };
    let identity = match (&options.client_cert_file, &options.client_key_file) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: text("client_cert_file", cert, "-----BEGIN CERTIFICATE-----")?.into_bytes(),
            key: text("client_key_file", key, "PRIVATE KEY-----")?.into_bytes(),
        }),
        _ => None,
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

fn text(key: &str, file: &Path, must_have: &str) -> Result<String, OptionsError> {
    let wrong = |why: &str| OptionsError(format!("{key}: {}: {why}", file.display()));
    let mut text = String::new();
    let opened = fs::File::open(file).map_err(|error| wrong(&error.to_string()))?;
    let read = opened.take(bounds::PEM_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| wrong(&error.to_string()))?;
    if bytes as u64 > bounds::PEM_BYTES_MAX {
        return Err(wrong("too long for a file with certificates"));
    }
    match text.contains(must_have) {
        true => Ok(text),
        false => Err(wrong(&format!("not a PEM file with `{must_have}` in it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        fs::write(&file, "not a certificate").unwrap();
        let options = Options { ca_file: Some(file), ..Options::default() };
        let error = read(&options).unwrap_err().to_string();
        assert!(error.contains("ca_file") && error.contains("ca.pem") && error.contains("PEM"), "{error}");
        let endless = Options { ca_file: Some("/dev/zero".into()), ..Options::default() };
        assert!(read(&endless).unwrap_err().to_string().contains("too long"));
        let options = Options { ca_file: Some(dir.path().join("none.pem")), ..Options::default() };
        assert!(read(&options).unwrap_err().to_string().contains("none.pem"));
    }
}
