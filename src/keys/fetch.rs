//! One exchange over HTTPS: no redirects, no proxies, public addresses only, bounded in time and size.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_rustls::ConfigBuilderExt;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio::{pin, select};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::is_public;
use crate::bounds::{KEY_ADDRESSES_MAX, KEY_BYTES_MAX, KEY_CONNECT_TIMEOUT, KEY_FETCH_TIMEOUT};

/// Why there is no document.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    /// The address isn't one that may be fetched.
    #[error("the URL is none that may be fetched")]
    Url,
    /// The name has no address.
    #[error("its name can't be resolved")]
    Name,
    /// The name has only addresses of private networks.
    #[error("its name stands for an address that isn't public")]
    NotPublic,
    /// Nobody answers there.
    #[error("it can't be reached")]
    Unreachable,
    /// Its certificate isn't good, or it speaks no TLS.
    #[error("its TLS certificate is not trusted")]
    Tls,
    /// The system has no root certificates.
    #[error("the system's root certificates can't be read")]
    Roots,
    /// Another status than 200, a redirect among them.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// The answer is broken or larger than the bound.
    #[error("its answer is broken or too large")]
    Answer,
    /// It took too long.
    #[error("it takes too long")]
    TooSlow,
    /// There is no token for the client's credentials.
    #[error("the client's credentials give no token")]
    Token,
    /// Too many documents are being fetched.
    #[error("too many keys are being fetched")]
    Busy,
}

/// Fetches documents.
#[derive(Default)]
pub(super) struct Web {
    tls: OnceLock<Option<TlsConnector>>,
    #[cfg(test)]
    is_test: bool,
}

impl Web {
    /// For tests alone: trusts those roots, and calls loopback too.
    #[cfg(test)]
    pub(super) fn trusting(config: ClientConfig) -> Self {
        Self { tls: OnceLock::from(Some(TlsConnector::from(Arc::new(config)))), is_test: true }
    }

    /// The answer's body, as received.
    pub(super) async fn send(&self, url: &str, call: Call) -> Result<Bytes, FetchError> {
        timeout(KEY_FETCH_TIMEOUT, self.exchange(url, call)).await.unwrap_or(Err(FetchError::TooSlow))
    }

    async fn exchange(&self, url: &str, call: Call) -> Result<Bytes, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or(FetchError::Url)?;
        let stream = self.connect(host, uri.port_u16().unwrap_or(443)).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| FetchError::Unreachable)?;
        let answer = async {
            let response = sender.send_request(request(&uri, call)?).await.map_err(|_| FetchError::Answer)?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), KEY_BYTES_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|_| FetchError::Answer)
        };
        pin!(answer, connection);
        // The connection has to be driven; when it ends first, what it read is still to be had.
        select! {
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }

    /// Connects to one of the name's addresses. All must be public: a name that also stands for a private
    /// one is somebody's trick.
    async fn connect(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, FetchError> {
        let tls = self.tls.get_or_init(connector).as_ref().ok_or(FetchError::Roots)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Url)?;
        let addresses = lookup_host((host, port)).await.map_err(|_| FetchError::Name)?;
        let addresses: Vec<SocketAddr> = addresses.take(KEY_ADDRESSES_MAX).collect();
        if !addresses.iter().all(|address| self.may_call(address)) {
            return Err(FetchError::NotPublic);
        }
        for address in addresses {
            if let Ok(Ok(stream)) = timeout(KEY_CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                return tls.connect(name, stream).await.map_err(|_| FetchError::Tls);
            }
        }
        Err(FetchError::Unreachable)
    }

    fn may_call(&self, address: &SocketAddr) -> bool {
        #[cfg(test)]
        if self.is_test && address.ip().is_loopback() {
            return true;
        }
        is_public(address.ip())
    }
}

fn connector() -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = builder.with_native_roots().ok()?.with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

/// What is sent besides the address.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    /// Holds a credential.
    pub(super) authorization: Option<HeaderValue>,
    /// Its content type and itself; with one it is a POST.
    pub(super) body: Option<(&'static str, Bytes)>,
}

fn request(uri: &Uri, call: Call) -> Result<Request<Full<Bytes>>, FetchError> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let method = if call.body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, host)
        .header(USER_AGENT, concat!("sluiced/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*");
    if let Some(credential) = call.authorization {
        request = request.header(AUTHORIZATION, credential);
    }
    let body = match call.body {
        Some((content_type, body)) => {
            request = request.header(CONTENT_TYPE, content_type);
            Full::new(body)
        }
        None => Full::default(),
    };
    request.body(body).map_err(|_| FetchError::Url)
}
