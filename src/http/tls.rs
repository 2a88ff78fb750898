//! TLS of a listener: its certificate, whom it asks for one, and how both are exchanged while it runs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::{read_certificates, read_key, validity};
use super::wire::Shared;
use crate::bounds::CERTIFICATE_EXPIRY_WARNING;
use crate::config::front_door::{ClientCertificates, TlsConfig};
use crate::live::Swap;

/// TLS of one listener.
#[derive(Debug)]
pub struct Tls {
    files: Mutex<(TlsConfig, Stamp)>,
    current: Swap<ServerConfig>,
}

/// A certificate and its key, read and found to fit.
#[derive(Debug)]
pub struct Loaded {
    files: TlsConfig,
    stamp: Stamp,
    config: ServerConfig,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

/// What a change of a file changes.
type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

impl Tls {
    /// With what was loaded.
    pub fn new(loaded: Loaded) -> Arc<Self> {
        let (files, config) = ((loaded.files, loaded.stamp), loaded.config);
        Arc::new(Self { files: Mutex::new(files), current: Swap::new(config) })
    }

    /// Makes a handshake. Its deadline is the caller's.
    ///
    /// # Errors
    /// When there is none.
    pub async fn accept(&self, stream: Shared) -> io::Result<TlsStream<Shared>> {
        TlsAcceptor::from(self.current.get()).accept(stream).await
    }

    /// Uses what was loaded for new connections. Sessions of the old certificates can't be resumed.
    pub fn exchange(&self, loaded: Loaded) {
        *self.lock() = (loaded.files, loaded.stamp);
        self.current.set(loaded.config);
    }

    /// The files, if one of them is another than at the last look.
    pub fn changed(&self) -> Option<TlsConfig> {
        let mut files = self.lock();
        let stamp = stamp(&files.0);
        let changed = stamp != files.1;
        files.1 = stamp;
        changed.then(|| files.0.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (TlsConfig, Stamp)> {
        self.files.lock().expect("nothing panics under this lock")
    }
}

/// Reads certificate, key and the certificates of those that may sign clients'.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn load(files: &TlsConfig) -> Result<Loaded, String> {
    // Before reading: what changes meanwhile is looked at again.
    let stamp = stamp(files);
    let certificates = read_certificates(&files.cert_file)?;
    let (key, key_warning) = read_key(&files.key_file)?;
    let mut warnings: Vec<String> = key_warning.into_iter().collect();
    warnings.extend(certificates.first().and_then(|first| expiry(&files.cert_file, validity(first)?.1)));
    let builder = ServerConfig::builder();
    let builder = match &files.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, files.client_certificates)?),
    };
    let certified = certified(certificates, &key).map_err(|e| {
        let (certificate, key) = (files.cert_file.display(), files.key_file.display());
        format!("the certificate of {certificate} and the key of {key} can't be used: {e}")
    })?;
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { files: files.clone(), stamp, config, warnings })
}

/// The key is zeroed by the caller; the cryptography keeps a copy that it zeroes itself.
fn certified(
    certificates: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'_>,
) -> Result<CertifiedKey, rustls::Error> {
    let certified = CertifiedKey::new(certificates, any_supported_type(key)?);
    certified.keys_match()?;
    Ok(certified)
}

fn verifier(
    path: &Path,
    wanted: ClientCertificates,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let mut builder = WebPkiClientVerifier::builder(roots.into());
    if wanted == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|e| format!("{}: {e}", path.display()))
}

/// A warning about a certificate that ends soon, or has.
fn expiry(path: &Path, until: Timestamp) -> Option<String> {
    let left = until.duration_since(Timestamp::now());
    let path = path.display();
    if left.is_negative() {
        return Some(format!("the certificate of {path} has expired at {until}; senders will refuse it"));
    }
    (left.unsigned_abs() < CERTIFICATE_EXPIRY_WARNING).then(|| {
        let days = left.as_hours() / 24;
        format!("the certificate of {path} expires at {until}, in {days} days")
    })
}

fn stamp(files: &TlsConfig) -> Stamp {
    let paths = [Some(&files.cert_file), Some(&files.key_file), files.client_ca_file.as_ref()];
    let of = |path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.mtime(), facts.mtime_nsec(), facts.len(), facts.ino()))
    };
    paths.into_iter().flatten().map(of).collect()
}
