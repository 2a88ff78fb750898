//! Where the account's queues are and how it is proved who asks: read from a connection string or a URL.
//!
//! Errors name the part that is wrong, and never its value, which may be a key in the wrong place.

mod connection_string;
#[cfg(test)]
mod tests;

use azure_core::http::Url;
use zeroize::Zeroizing;

use crate::options::OptionsError;

/// An account of Azure Storage.
#[derive(Clone)]
pub(crate) struct Account {
    /// Under which the queues are, without a query.
    pub(crate) endpoint: Url,
    pub(crate) proof: Proof,
}

/// How it is proved who asks.
#[derive(Clone)]
pub(crate) enum Proof {
    /// The account's name and one of its two keys, decoded.
    SharedKey(String, Zeroizing<Vec<u8>>),
    /// A shared access signature: the query, without `?`.
    Sas(Zeroizing<String>),
    /// A token of Entra ID.
    Entra,
}

impl Account {
    pub(crate) fn parse(text: &str) -> Result<Self, OptionsError> {
        let text = text.trim();
        let parsed = if text.is_empty() {
            Err("there is none; give the connection string from the portal's page \"Access keys\", or \
                 https://ACCOUNT.queue.core.windows.net"
                .to_owned())
        } else if is_url(text) {
            Self::from_url(text)
        } else {
            connection_string::parse(text)
        };
        parsed.map_err(|why| OptionsError(format!("the queue's url: {why}")))
    }

    /// An endpoint with a SAS as its query, or without one.
    fn from_url(text: &str) -> Result<Self, String> {
        let mut endpoint = endpoint(text, "it")?;
        let proof = match endpoint.query() {
            None | Some("") => Proof::Entra,
            Some(query) => Proof::Sas(sas(query, "its query")?),
        };
        endpoint.set_query(None);
        if matches!(proof, Proof::Entra) && endpoint.scheme() != "https" {
            return Err("Entra ID needs https; with http there must be a SAS or an account key".into());
        }
        Ok(Self { endpoint, proof })
    }

    /// For the log: neither credentials nor the account's path.
    pub(crate) fn address(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        match self.endpoint.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The endpoint as the client wants it.
    pub(crate) fn service_url(&self) -> Url {
        let mut url = self.endpoint.clone();
        if let Proof::Sas(sas) = &self.proof {
            url.set_query(Some(sas));
        }
        url
    }

    /// When the SAS ends, as it says itself.
    pub(crate) fn sas_ends(&self) -> Option<String> {
        let url = matches!(self.proof, Proof::Sas(_)).then(|| self.service_url())?;
        url.query_pairs().find(|(name, _)| name == "se").map(|(_, value)| value.into_owned())
    }

    /// Whether the service is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let Some(host) = self.endpoint.host_str() else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare == "localhost"
            || bare.ends_with(".localhost")
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// A connection string has `=` before anything that looks like a scheme.
fn is_url(text: &str) -> bool {
    text.find("://").is_some_and(|at| !text[..at].contains('='))
}

/// Reads an endpoint; `what` names it in errors.
fn endpoint(text: &str, what: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("{what} isn't a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{what} must begin with https://, or with http:// for an emulator"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{what} has a user or a password in it; Azure takes an account key, a SAS or Entra ID"
        ));
    }
    // An emulator has the account's name as its path. At Azure a path is most likely the queue's name.
    let azures = url.host_str().is_some_and(|host| host.contains(".queue."));
    if azures && !url.path().trim_matches('/').is_empty() {
        return Err(format!("{what} has a path; the queue's name isn't part of it but an option of its own"));
    }
    if url.host_str().is_some_and(|host| host.contains(".blob.") || host.contains(".table.")) {
        return Err(format!(
            "{what} isn't that of the queues, which is https://ACCOUNT.queue.core.windows.net"
        ));
    }
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
    }
    url.set_fragment(None);
    Ok(url)
}

/// Reads a SAS; `what` names it in errors.
fn sas(text: &str, what: &str) -> Result<Zeroizing<String>, String> {
    let text = text.trim_start_matches('?');
    let has = |name: &str| text.split('&').any(|pair| pair.split('=').next() == Some(name));
    if has("sig") {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    Err(format!("{what} isn't a SAS: it has no `sig`"))
}
