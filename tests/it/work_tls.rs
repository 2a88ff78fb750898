//! `work --forward` over https: to a server whose certificate is trusted, and to no other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::daemon::sluiced;
use crate::work_common::{Ended, Worker, fill_numbers};

/// Self-signed, for localhost and 127.0.0.1, good until 2126. Made for this test.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/key.pem");

/// Says yes to every request that gets as far as being one.
fn serve() -> SocketAddr {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_file(KEY).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    // On 127.0.0.2 too, which the certificate doesn't name.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            let mut request = [0; 64 << 10];
            if matches!(stream.read(&mut request), Ok(1..)) {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

fn forward(dir: &std::path::Path, url: &str, certificates: &str) -> Ended {
    let mut command = sluiced();
    command.args(["work", "--limit", "1", "--retry-first", "1ms", "--forward", url, "--data-dir"]).arg(dir);
    command.env("SSL_CERT_FILE", certificates).env_remove("SSL_CERT_DIR");
    Worker::spawn(command).wait()
}

#[test]
fn a_trusted_server_gets_the_message_and_another_does_not() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let address = serve();
    let ours = CERTIFICATE;
    let wrong_name = forward(dir.path(), &format!("https://127.0.0.2:{}/", address.port()), ours);
    let why = wrong_name.lines("attempt failed");
    assert!(why.len() == 1 && why[0]["why"].as_str().unwrap().contains("certificate"), "{}", wrong_name.text);
    let trusted = forward(dir.path(), &format!("https://localhost:{}/", address.port()), ours);
    assert_eq!(trusted.count("acknowledged"), 1, "{}", trusted.text);
}

#[test]
fn https_needs_certificates_and_http_does_not() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let none = dir.path().join("none.pem");
    std::fs::write(&none, "").unwrap();
    let none = none.to_str().unwrap();
    assert_eq!(forward(dir.path(), "https://localhost:1/", none).status.code(), Some(2));
    let server = crate::work_server::Server::start(|_| Some(crate::work_server::OK));
    assert_eq!(forward(dir.path(), &server.url("/"), none).count("acknowledged"), 1);
}
