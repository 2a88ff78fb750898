//! The HTTP client of `send` and of `work --forward`.

use std::error::Error;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::bounds::CLIENT_IDLE;

/// Speaks HTTP/1.1, follows no redirects, and keeps connections for the next request.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client for this URL, which keeps up to `idle_max` unused connections. Only an `https` URL needs the
/// system's root certificates to be there.
///
/// # Errors
/// When they can't be read.
pub fn client(url: &Uri, idle_max: usize) -> Result<HttpClient, String> {
    let builder = HttpsConnectorBuilder::new();
    let builder = if url.scheme_str() == Some("https") {
        builder.with_native_roots().map_err(|e| format!("can't read the system's root certificates: {e}"))?
    } else {
        let no_roots = RootCertStore::empty();
        builder
            .with_tls_config(ClientConfig::builder().with_root_certificates(no_roots).with_no_client_auth())
    };
    let connector = builder.https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(CLIENT_IDLE)
        .pool_max_idle_per_host(idle_max)
        .build(connector))
}

/// A URL that the client can take: `http` or `https`, and a host.
pub fn web_url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    web.then_some(uri)
}

/// An error with all that caused it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
