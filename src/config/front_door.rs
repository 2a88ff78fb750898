//! Who may come in and how: `trusted_proxies`, `[tls]`, `[[listeners]]`, rates, `allow`.

use super::ConfigError;
use super::file::{self, At};
use super::resolve::Picker;
use crate::http::forwarded::{ForwardedHeader, TrustedProxies};
use crate::http::rate::Rate;
use crate::networks::Networks;

/// The front door, resolved.
#[derive(Debug)]
pub struct FrontDoorConfig {
    /// Whose word on a client's address counts.
    pub trusted: TrustedProxies,
    /// Requests of one address.
    pub address_rate: Option<Rate>,
    /// Authentic events of one receiver, where it says nothing else.
    pub receiver_rate: Option<Rate>,
    /// Whether connections to `listen` begin with a PROXY header.
    pub proxy_protocol: bool,
}

/// A receiver's part of it.
#[derive(Clone, Debug, Default)]
pub struct ReceiverFrontConfig {
    /// From where its deliveries come; `None` for anywhere.
    pub allow: Option<Networks>,
    /// Its authentic events.
    pub rate: Option<Rate>,
}

/// The file's keys of it, besides those under `[limits]`.
pub(super) struct Keys {
    pub(super) trusted_proxies: At<Networks>,
    pub(super) forwarded_header: At<ForwardedHeader>,
    pub(super) proxy_protocol: At<bool>,
}

/// Resolves it.
///
/// # Errors
/// Names the place of what can't be used, and the way out.
pub(super) fn resolve(
    pick: &mut Picker<'_>,
    keys: Keys,
    limits: &mut file::Limits,
) -> Result<FrontDoorConfig, ConfigError> {
    let networks = pick.file("trusted_proxies", keys.trusted_proxies, Networks::default());
    let header = pick.file("forwarded_header", keys.forwarded_header, ForwardedHeader::default());
    let proxy_protocol = pick.file("proxy_protocol", keys.proxy_protocol, false);
    let address_rate = rate(pick, "limits.address_rate", limits.address_rate.take());
    let receiver_rate = rate(pick, "limits.receiver_rate", limits.receiver_rate.take());
    if proxy_protocol && networks.is_empty() {
        return Err(ConfigError(format!(
            "{}: proxy_protocol needs trusted_proxies, the addresses that may use it; write trusted_proxies = [\"10.0.0.0/8\"]",
            pick.origin_of("proxy_protocol")
        )));
    }
    Ok(FrontDoorConfig {
        trusted: TrustedProxies { networks, header },
        address_rate,
        receiver_rate,
        proxy_protocol,
    })
}

fn rate(pick: &mut Picker<'_>, key: &'static str, file: At<Rate>) -> Option<Rate> {
    if file.is_none() {
        pick.show(key, "none".to_owned(), "default".into());
    }
    pick.in_file(key, file)
}
