//! Who a request comes from when it passed proxies: told by trusted proxies, and by nobody else.
//!
//! A proxy appends the address that it took the request from. So the list is read from its right end, and
//! only for as long as whoever wrote the entry is trusted: the first address that is no trusted proxy is the
//! client, and what stands to the left of it was written by the client itself. Where that can't be read, the
//! client is somebody behind the last proxy that is known: not that proxy.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use serde::Deserialize;

use super::client::Origin;
use crate::bounds::FORWARDED_HOPS_MAX;
use crate::networks::Networks;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Which header the trusted proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// Whichever is there. Where both are and differ, one of them came through from the sender, and nobody
    /// can tell which: then neither is believed.
    #[default]
    Either,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

impl std::fmt::Display for ForwardedHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Either => "either",
            Self::Forwarded => "forwarded",
            Self::XForwardedFor => "x-forwarded-for",
        })
    }
}

/// The proxies that are believed, and in what.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Their addresses.
    pub networks: Networks,
    /// What they write.
    pub header: ForwardedHeader,
}

impl TrustedProxies {
    /// Who a request comes from that came over a connection from there.
    pub fn client(&self, connection: Origin, headers: &HeaderMap) -> Origin {
        let peer = connection.address;
        // What somebody unknown sends through a proxy that doesn't read it says nothing.
        if !connection.is_senders || !self.networks.contain(peer) {
            return connection;
        }
        let forwarded = || self.walk(peer, &elements(headers, &FORWARDED, true), forwarded_for);
        let x_forwarded_for = || self.walk(peer, &elements(headers, &X_FORWARDED_FOR, false), node);
        match self.header {
            ForwardedHeader::Forwarded => forwarded(),
            ForwardedHeader::XForwardedFor => x_forwarded_for(),
            ForwardedHeader::Either => {
                match (headers.contains_key(FORWARDED), headers.contains_key(&X_FORWARDED_FOR)) {
                    (true, true) if forwarded() == x_forwarded_for() => forwarded(),
                    (true, false) => forwarded(),
                    (false, true) => x_forwarded_for(),
                    (true, true) => Origin::behind(peer),
                    (false, false) => connection,
                }
            }
        }
    }

    /// From the right end to the first address that isn't trusted. Where an entry can't be read, the proxy
    /// that wrote it is the last that is known.
    fn walk(&self, peer: IpAddr, entries: &[&str], read: impl Fn(&str) -> Option<IpAddr>) -> Origin {
        let mut known = peer;
        for entry in entries.iter().rev().take(FORWARDED_HOPS_MAX) {
            let Some(address) = read(entry) else { return Origin::behind(known) };
            known = address;
            if !self.networks.contain(address) {
                return Origin::sender(known);
            }
        }
        if entries.len() > FORWARDED_HOPS_MAX { Origin::behind(known) } else { Origin::sender(known) }
    }
}

/// The elements of a header's values in order; a value that isn't text is one that can't be read. A quote
/// that never ends makes all that follows it in its value one such element.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName, quotes: bool) -> Vec<&'h str> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    values.flat_map(|value| split(value, ',', quotes)).collect()
}

/// Splits at a character, but for those in quoted strings. Empty parts are none (RFC 9110, section 5.6.1).
fn split(value: &str, at: char, quotes: bool) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quotes => quoted = !quoted,
            _ if c == at && !quoted => {
                parts.push(&value[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The `for` of an element of `Forwarded`; `None` without exactly one, or if it is no address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';', true) {
        let (name, value) = pair.split_once('=')?;
        if name.trim_end().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = found?;
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    node(unquoted)
}

/// An address, with or without a port, which may be a made-up name: `192.0.2.7`, `192.0.2.7:80`,
/// `192.0.2.7:_p`, `2001:db8::7`, `[2001:db8::7]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.rsplit_once(":_").map_or(text, |(address, _)| address);
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = text.parse().ok().or_else(bare).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(header: ForwardedHeader, peer: &str, headers: &[(&HeaderName, &str)]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:10::/48"].map(|n| n.parse().unwrap());
        let trusted = TrustedProxies { networks: networks.into_iter().collect(), header };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let Origin { address, is_senders } = trusted.client(Origin::sender(peer.parse().unwrap()), &map);
        if is_senders { address.to_string() } else { format!("behind {address}") }
    }

    #[test]
    fn the_rightmost_address_that_is_no_trusted_proxy_is_the_client() {
        let xff = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| (&X_FORWARDED_FOR, *value)).collect();
            client(ForwardedHeader::Either, "10.0.0.1", &headers)
        };
        assert_eq!(xff(&[]), "10.0.0.1");
        assert_eq!(xff(&["203.0.113.7"]), "203.0.113.7");
        assert_eq!(xff(&["198.51.100.1, 203.0.113.7"]), "203.0.113.7", "the left one may be made up");
        assert_eq!(xff(&["198.51.100.1, 203.0.113.7, 10.0.0.2"]), "203.0.113.7");
        assert_eq!(xff(&["198.51.100.1", "203.0.113.7", "10.0.0.2"]), "203.0.113.7", "several headers");
        assert_eq!(xff(&["203.0.113.7", "10.0.0.2", ""]), "203.0.113.7", "empty elements are none");
        assert_eq!(xff(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "nobody but proxies");
        assert_eq!(xff(&["203.0.113.7:4711"]), "203.0.113.7");
        assert_eq!(xff(&["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(xff(&["::ffff:203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        for header in [ForwardedHeader::Either, ForwardedHeader::Forwarded, ForwardedHeader::XForwardedFor] {
            let spoofed = [(&X_FORWARDED_FOR, "198.51.100.1"), (&FORWARDED, "for=198.51.100.1")];
            assert_eq!(client(header, "203.0.113.7", &spoofed), "203.0.113.7");
        }
    }

    #[test]
    fn what_cant_be_read_ends_at_the_proxy_that_wrote_it() {
        for odd in
            ["unknown", "_hidden", "203.0.113.7.", "999.1.1.1", "\"203.0.113.7", "a b", "203.0.113.7 x"]
        {
            let list = format!("198.51.100.1, {odd}, 10.0.0.2");
            let read = client(ForwardedHeader::Either, "10.0.0.1", &[(&X_FORWARDED_FOR, &list)]);
            assert_eq!(read, "behind 10.0.0.2", "{odd}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        let read = |value: &str| client(ForwardedHeader::Either, "10.0.0.1", &[(&FORWARDED, value)]);
        assert_eq!(read("for=203.0.113.7"), "203.0.113.7");
        assert_eq!(read("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(read("for=192.0.2.43, for=203.0.113.7;proto=https;by=10.0.0.1"), "203.0.113.7");
        assert_eq!(read("proto=https;FOR=203.0.113.7 , for=10.0.0.9"), "203.0.113.7");
        assert_eq!(read("for=203.0.113.7;host=\"a,for=198.51.100.1\""), "203.0.113.7", "a comma in quotes");
        assert_eq!(read("for=203.0.113.7, proto=https"), "behind 10.0.0.1", "an element without `for`");
        assert_eq!(read("for=198.51.100.1;for=203.0.113.7"), "behind 10.0.0.1", "two in one element");
        assert_eq!(read("for=_hidden"), "behind 10.0.0.1");
        assert_eq!(read("for=unknown"), "behind 10.0.0.1");
        assert_eq!(read("for=\"203.0.113.7:_p\""), "203.0.113.7");
        assert_eq!(read("for=\"[2001:db8::17]:_p.7\""), "2001:db8::17");
        assert_eq!(read("for=\"203.0.113.7, for=198.51.100.1"), "behind 10.0.0.1", "a quote that never ends");
    }

    #[test]
    fn a_header_that_the_proxy_doesnt_write_is_not_believed() {
        let both = [(&FORWARDED, "for=198.51.100.1"), (&X_FORWARDED_FOR, "203.0.113.7")];
        assert_eq!(client(ForwardedHeader::Either, "10.0.0.1", &both), "behind 10.0.0.1", "they differ");
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &both), "203.0.113.7");
        assert_eq!(client(ForwardedHeader::Forwarded, "10.0.0.1", &both), "198.51.100.1");
        let same = [(&FORWARDED, "for=203.0.113.7"), (&X_FORWARDED_FOR, "203.0.113.7")];
        assert_eq!(client(ForwardedHeader::Either, "10.0.0.1", &same), "203.0.113.7");
        assert_eq!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &both[..1]), "10.0.0.1");
    }

    #[test]
    fn what_somebody_unknown_sends_names_nobody() {
        let networks = ["10.0.0.0/8".parse().unwrap()].into_iter().collect();
        let trusted = TrustedProxies { networks, header: ForwardedHeader::Either };
        let headers =
            HeaderMap::from_iter([(X_FORWARDED_FOR.clone(), HeaderValue::from_static("203.0.113.7"))]);
        let unknown = Origin::behind([10, 0, 0, 1].into());
        assert_eq!(trusted.client(unknown, &headers), unknown);
    }

    #[test]
    fn a_chain_without_end_is_walked_for_so_long() {
        let list = vec!["10.0.0.2"; 2 * FORWARDED_HOPS_MAX].join(",");
        let list = format!("203.0.113.7,{list}");
        let read = client(ForwardedHeader::Either, "10.0.0.1", &[(&X_FORWARDED_FOR, &list)]);
        assert_eq!(read, "behind 10.0.0.2");
    }
}
