//! All listeners of the daemon, each with its door.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::door::Door;
use super::per_address::PerAddress;
use super::tls::{self, Loaded, Tls};
use crate::config::front_door::Entrance;
use crate::config::{Config, ConfigError};
use crate::service_manager::Sockets;

/// A listener that is bound.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// How its connections begin.
    pub door: Arc<Door>,
}

impl Listening {
    /// The address that it has, for people.
    pub fn address(&self) -> String {
        self.listener.local_addr().map_or_else(|e| e.to_string(), |address| address.to_string())
    }
}

/// Which listener: its place in the configuration, and the address that it has there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    position: usize,
    /// As configured.
    pub address: String,
}

/// TLS of the listeners that have it.
pub type AllTls = Vec<(Which, Arc<Tls>)>;

/// What was loaded for them.
pub type Certificates = Vec<(Which, Loaded)>;

/// What `listen` and `[[listeners]]` say, in that order.
fn configured(config: &Config) -> impl Iterator<Item = (Which, &Entrance)> {
    let further = config.front_door.listeners.iter().map(|l| (&l.listen, &l.entrance));
    let all = std::iter::once((&config.listen, &config.front_door.entrance)).chain(further);
    all.enumerate()
        .map(|(position, (address, entrance))| (Which { position, address: address.clone() }, entrance))
}

/// Reads the certificates of every listener that has some.
///
/// # Errors
/// Names the listener, the file, and what is wrong with it.
pub fn load_certificates(config: &Config) -> Result<Certificates, ConfigError> {
    let with_tls = configured(config).filter_map(|(which, entrance)| Some((which, entrance.tls.as_ref()?)));
    with_tls
        .map(|(which, files)| match tls::load(files) {
            Ok(loaded) => Ok((which, loaded)),
            Err(error) => Err(ConfigError(format!("TLS of {}: {error}", which.address))),
        })
        .collect()
}

/// What is bound.
#[derive(Debug)]
pub struct Bound {
    /// Those for webhooks, the one of `listen` first.
    pub listeners: Vec<Listening>,
    /// The one of `ops_listen`.
    pub ops: Option<TcpListener>,
}

/// Binds every listener, or takes the socket that was handed over for it: `listen`, `ops_listen`, and those
/// under `[[listeners]]`, in that order.
///
/// # Errors
/// As [`Sockets::next_or_bind`].
pub async fn bind_all(config: &Config, tls: &AllTls, sockets: &mut Sockets) -> Result<Bound, String> {
    let limits = &config.limits;
    let half = (limits.connections_max / 2).max(1);
    let places = PerAddress::new(limits.connections_per_address_max.unwrap_or(half));
    let mut bound = Bound { listeners: Vec::new(), ops: None };
    for (which, entrance) in configured(config) {
        let first = bound.listeners.is_empty();
        let flag = if first { "--listen" } else { "listen under [[listeners]]" };
        let listener = sockets.next_or_bind(&which.address, flag).await?;
        let tls = tls.iter().find(|(of, _)| *of == which).map(|(_, tls)| tls.clone());
        let door = Arc::new(Door::new(entrance.proxy_protocol, tls, places.clone()));
        bound.listeners.push(Listening { listener, door });
        if let Some(address) = config.ops_listen.as_ref().filter(|_| first) {
            bound.ops = Some(sockets.next_or_bind(address, "--ops-listen").await?);
        }
    }
    Ok(bound)
}
