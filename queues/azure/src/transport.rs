//! The HTTP client under Azure's: one connection pool per account, with bounds of ours.

use std::sync::Arc;

use azure_core::http::{ClientOptions, RetryOptions, Transport};

use crate::bounds;
use crate::http::Http;
use crate::options::OptionsError;

/// Whether proxies that the environment names are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxies {
    /// As everybody expects of a program that goes out of the house.
    OfEnvironment,
    /// Never: for this machine, whose services no proxy reaches, and for the metadata service, which answers
    /// only who asks it directly.
    None,
}

/// A client's options: connections as given, and no retries, which are ours to make within a deadline.
pub(crate) fn client_options(connections: usize, proxies: Proxies) -> Result<ClientOptions, OptionsError> {
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(bounds::CONNECT_DEADLINE)
        .read_timeout(bounds::READ_DEADLINE)
        .pool_max_idle_per_host(connections)
        .pool_idle_timeout(bounds::IDLE_CONNECTION)
        .tcp_keepalive(bounds::TCP_KEEPALIVE)
        .tcp_nodelay(true);
    let builder = if proxies == Proxies::None { builder.no_proxy() } else { builder };
    // Names what is wrong with a proxy or the certificates, and holds no URL of ours.
    let client =
        builder.build().map_err(|error| OptionsError(format!("no HTTP client can be made: {error}")))?;
    Ok(ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(Arc::new(Http(client)))),
        ..ClientOptions::default()
    })
}
