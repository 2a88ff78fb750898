//! What a connection passes before it may speak HTTP: a place for its address, a PROXY header.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::client::{Client, Origin};
use super::connection;
use super::per_address::{PerAddress, Place};
use super::proxy_protocol::{self, Source};
use super::tls::Tls;
use super::wire::{Shared, Wire};
use crate::app::App;
use crate::reason::Reason;

/// How one listener takes its connections.
#[derive(Debug)]
pub struct Door {
    /// Whether they begin with a PROXY header.
    proxy_protocol: bool,
    /// Whether they begin with a handshake then.
    tls: Option<Arc<Tls>>,
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
    pub fn new(proxy_protocol: bool, tls: Option<Arc<Tls>>, places: Arc<PerAddress>) -> Self {
        Self { proxy_protocol, tls, places }
    }

    /// Whether it can tell a client something before a handshake.
    pub fn speaks_plainly(&self) -> bool {
        self.tls.is_none()
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
        let mut origin = Origin::sender(peer);
        if self.proxy_protocol {
            match read_proxy_header(&mut stream, place.is_none(), deadline).await {
                Ok(Source::Itself) => {}
                Ok(Source::Unknown) => origin = Origin::behind(peer),
                Ok(Source::Address(source)) => {
                    origin = Origin::sender(source);
                    // As without a header: a proxy behind a proxy speaks on behalf of many, too.
                    if !app.live.get().trusted.networks.contain(source) {
                        place = self.places.enter(source);
                        if place.is_none() {
                            let detail = "too many connections of this address";
                            return app.refused_at_the_door(source, Reason::Overloaded, detail);
                        }
                    }
                }
                Err(detail) => return app.refused_at_the_door(peer, Reason::ProxyHeader, &detail),
            }
        }
        let stream = Arc::new(stream);
        let client = Client::new(origin, &stream);
        let stream = Shared::new(stream);
        let wire = match &self.tls {
            None => Wire::Plain(stream),
            Some(tls) => match timeout_at(deadline, tls.accept(stream)).await {
                Ok(Ok(stream)) => Wire::Tls(Box::new(stream)),
                Ok(Err(error)) => return report_handshake(&error, &client, &app),
                Err(_) => {
                    let detail = "the handshake came too slowly";
                    return app.refused_at_the_door(client.origin.address, Reason::TlsHandshake, detail);
                }
            },
        };
        connection::serve(wire, client, app).await;
        drop(place);
    }
}

/// A client that goes away, as a check whether the port is open does, isn't worth a line.
fn report_handshake(error: &io::Error, client: &Client, app: &App) {
    if error.kind() == io::ErrorKind::InvalidData {
        app.refused_at_the_door(client.origin.address, Reason::TlsHandshake, &error.to_string());
    }
}

/// Whom a trusted proxy passes on.
async fn read_proxy_header(
    stream: &mut TcpStream,
    trusted: bool,
    deadline: Instant,
) -> Result<Source, String> {
    if !trusted {
        return Err("the peer is not one of trusted_proxies".into());
    }
    match timeout_at(deadline, proxy_protocol::read(stream)).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the PROXY header came too slowly".into()),
    }
}
