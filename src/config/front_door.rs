//! Who may come in and how: `trusted_proxies`, `[tls]`, `[[listeners]]`, rates, `allow`.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::ConfigError;
use super::file::{self, At, Text};
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
    /// How connections to `listen` begin.
    pub entrance: Entrance,
    /// Further listeners.
    pub listeners: Vec<ListenerConfig>,
}

/// How a listener's connections begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entrance {
    /// With a PROXY header.
    pub proxy_protocol: bool,
    /// With a handshake.
    pub tls: Option<TlsConfig>,
}

/// A listener besides `listen`.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Where webhooks come in.
    pub listen: String,
    /// How its connections begin.
    pub entrance: Entrance,
    /// Where it was configured, for errors.
    pub origin: String,
}

/// The files of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Its certificate and those between it and the root, in PEM.
    pub cert_file: PathBuf,
    /// The certificate's key, in PEM.
    pub key_file: PathBuf,
    /// The roots of clients' certificates, in PEM; without it clients aren't asked for any.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client must have one.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// Whether a client must have a certificate, where there are roots for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// No connection without one.
    #[default]
    Required,
    /// One that is shown must be right.
    Optional,
}

/// `[[listeners]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    listen: String,
    #[serde(default)]
    proxy_protocol: bool,
    tls: Option<TlsConfig>,
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
    pub(super) tls: At<TlsConfig>,
    pub(super) listeners: Vec<Spanned<Listener>>,
}

/// Resolves it.
///
/// # Errors
/// Names the place of what can't be used, and the way out.
pub(super) fn resolve(
    pick: &mut Picker<'_>,
    keys: Keys,
    limits: &mut file::Limits,
    text: Option<&Text>,
) -> Result<FrontDoorConfig, ConfigError> {
    let networks = pick.file("trusted_proxies", keys.trusted_proxies, Networks::default());
    let header = pick.file("forwarded_header", keys.forwarded_header, ForwardedHeader::default());
    let proxy_protocol = pick.file("proxy_protocol", keys.proxy_protocol, false);
    let address_rate = rate(pick, "limits.address_rate", limits.address_rate.take());
    let receiver_rate = rate(pick, "limits.receiver_rate", limits.receiver_rate.take());
    let needs_proxies = |origin: &str| {
        ConfigError(format!(
            "{origin}: proxy_protocol needs trusted_proxies, the addresses that may use it; write trusted_proxies = [\"10.0.0.0/8\"]"
        ))
    };
    if proxy_protocol && networks.is_empty() {
        return Err(needs_proxies(pick.origin_of("proxy_protocol")));
    }
    let tls = keys.tls.map(|tls| show_tls(pick, tls, text));
    let mut listeners = Vec::new();
    for listener in keys.listeners {
        let listener = ListenerConfig::new(listener, text)?;
        if listener.entrance.proxy_protocol && networks.is_empty() {
            return Err(needs_proxies(&listener.origin));
        }
        pick.show("listeners", listener.describe(), listener.origin.clone());
        listeners.push(listener);
    }
    Ok(FrontDoorConfig {
        trusted: TrustedProxies { networks, header },
        address_rate,
        receiver_rate,
        entrance: Entrance { proxy_protocol, tls },
        listeners,
    })
}

fn show_tls(pick: &mut Picker<'_>, tls: Spanned<TlsConfig>, text: Option<&Text>) -> TlsConfig {
    let origin = text.map_or_else(String::new, |text| text.place(tls.span().start));
    let tls = tls.into_inner();
    let files = [("tls.cert_file", Some(&tls.cert_file)), ("tls.key_file", Some(&tls.key_file))];
    let clients = [("tls.client_ca_file", tls.client_ca_file.as_ref())];
    for (key, path) in files.into_iter().chain(clients) {
        if let Some(path) = path {
            pick.show(key, path.display().to_string(), origin.clone());
        }
    }
    tls
}

impl ListenerConfig {
    fn new(listener: Spanned<Listener>, text: Option<&Text>) -> Result<Self, ConfigError> {
        let origin = text.map_or_else(String::new, |text| text.place(listener.span().start));
        let Listener { listen, proxy_protocol, tls } = listener.into_inner();
        super::resolve::checked_address(&listen, "listen", &origin)?;
        Ok(Self { listen, entrance: Entrance { proxy_protocol, tls }, origin })
    }

    fn describe(&self) -> String {
        let tls = if self.entrance.tls.is_some() { "+tls" } else { "" };
        let proxy = if self.entrance.proxy_protocol { "+proxy_protocol" } else { "" };
        format!("{}{tls}{proxy}", self.listen)
    }
}

fn rate(pick: &mut Picker<'_>, key: &'static str, file: At<Rate>) -> Option<Rate> {
    if file.is_none() {
        pick.show(key, "none".to_owned(), "default".into());
    }
    pick.in_file(key, file)
}
