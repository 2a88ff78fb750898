//! What a connection passes before it may speak HTTP: a place for its address, a PROXY header.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connection;
use super::per_address::{PerAddress, Place};
use super::proxy_protocol;
use crate::app::App;
use crate::config::Config;
use crate::reason::Reason;

/// How one listener takes its connections.
#[derive(Debug)]
pub struct Door {
    /// Whether they begin with a PROXY header.
    proxy_protocol: bool,
    places: Arc<PerAddress>,
}

/// A connection at the door.
#[derive(Debug)]
pub struct Arrival {
    stream: TcpStream,
    peer: IpAddr,
    /// A proxy that speaks on behalf of many has none.
    place: Option<Place>,
}

impl Door {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let half = (limits.connections_max / 2).max(1);
        Self {
            proxy_protocol: config.front_door.proxy_protocol,
            places: PerAddress::new(limits.connections_per_address_max.unwrap_or(half)),
        }
    }

    /// Gives a connection its place.
    ///
    /// # Errors
    /// The connection, when its address has no place left.
    pub fn arrive(&self, stream: TcpStream, peer: IpAddr, app: &App) -> Result<Arrival, TcpStream> {
        let place = if app.live.get().trusted.networks.contain(peer) {
            None
        } else {
            match self.places.enter(peer) {
                Some(place) => Some(place),
                None => return Err(stream),
            }
        };
        Ok(Arrival { stream, peer, place })
    }

    /// Takes a connection in and serves it to its end.
    pub async fn take(&self, arrival: Arrival, app: Arc<App>) {
        let Arrival { mut stream, peer, mut place } = arrival;
        // A webhook's answer is one small packet: waiting to fill it would be all the latency there is.
        let _ = stream.set_nodelay(true);
        let deadline = Instant::now() + app.limits.header_timeout;
        let mut client = peer;
        if self.proxy_protocol {
            match read_proxy_header(&mut stream, place.is_none(), deadline).await {
                Ok(None) => {}
                Ok(Some(source)) => {
                    client = source;
                    place = self.places.enter(source);
                    if place.is_none() {
                        let detail = "too many connections of this address";
                        return app.refused_at_the_door(client, Reason::Overloaded, detail);
                    }
                }
                Err(detail) => return app.refused_at_the_door(peer, Reason::ProxyHeader, &detail),
            }
        }
        connection::serve(stream, client, app).await;
        drop(place);
    }
}

/// The address that a trusted proxy names; `None` when it speaks for itself.
async fn read_proxy_header(
    stream: &mut TcpStream,
    trusted: bool,
    deadline: Instant,
) -> Result<Option<IpAddr>, String> {
    if !trusted {
        return Err("the peer is not one of trusted_proxies".into());
    }
    match timeout_at(deadline, proxy_protocol::read(stream)).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the PROXY header came too slowly".into()),
    }
}
