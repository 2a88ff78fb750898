//! Certificates of TLS connections: whom to trust, and who we are.

use std::fs;
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
    let bytes = fs::metadata(file).map_err(|error| wrong(&error.to_string()))?.len();
    if bytes > bounds::PEM_BYTES_MAX {
        return Err(wrong("too long for a file with certificates"));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
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
        let options = Options { ca_file: Some(file.clone()), ..Options::default() };
        let error = read(&options).unwrap_err().to_string();
        assert!(error.contains("ca_file") && error.contains("ca.pem") && error.contains("PEM"), "{error}");
        let options = Options { ca_file: Some(dir.path().join("none.pem")), ..Options::default() };
        assert!(read(&options).unwrap_err().to_string().contains("none.pem"));
    }
}
