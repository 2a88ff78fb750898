//! The client at the other end of a connection.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Where something comes from, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The sender's address; or else that of the last proxy that is known.
    pub address: IpAddr,
    /// Whether it is the sender's. Otherwise a proxy passes something on and doesn't say for whom.
    pub is_senders: bool,
}

impl Origin {
    /// From a sender with this address.
    pub fn sender(address: IpAddr) -> Self {
        Self { address, is_senders: true }
    }

    /// From somebody behind the proxy with this address.
    pub fn behind(address: IpAddr) -> Self {
        Self { address, is_senders: false }
    }
}

/// Who sends, and whether it is still there.
#[derive(Clone, Debug)]
pub struct Client {
    /// What is known of it.
    pub origin: Origin,
    stream: Weak<TcpStream>,
}

impl Client {
    /// The client of a connection.
    pub fn new(origin: Origin, stream: &Arc<TcpStream>) -> Self {
        Self { origin, stream: Arc::downgrade(stream) }
    }

    /// The client on whose behalf a proxy at the other end sends.
    pub fn on_behalf_of(&self, origin: Origin) -> Self {
        Self { origin, stream: self.stream.clone() }
    }

    /// Whether it has closed its side, or the connection is gone. It may have said that it will send no
    /// more and still wait for its answer; nobody can tell.
    ///
    /// Costs a system call only when something came in since the socket was last read empty, which isn't so
    /// for nearly all.
    pub fn has_hung_up(&self) -> bool {
        let Some(stream) = self.stream.upgrade() else { return true };
        let peek = || Ok(recv(&*stream, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?);
        match stream.try_io(Interest::READABLE, peek) {
            Ok((_, received)) => received == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}
