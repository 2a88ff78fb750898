//! Binds, accepts, and closes when stopping.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection;
use super::door::Door;
use crate::app::App;
use crate::bounds::{ACCEPT_PAUSE, BACKLOG};
use crate::reason::Reason;

/// Binds a listener.
///
/// # Errors
/// Names the address, the reason, and the flag to change it by.
pub async fn bind(address: &str, flag: &str) -> Result<TcpListener, String> {
    let wrong = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::AddrInUse => {
                format!("another process listens there; stop it, or choose another port with {flag}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 need a privilege; choose another with {flag}")
            }
            _ => format!("write HOST:PORT, e.g. {flag} 127.0.0.1:8080"),
        };
        format!("can't listen on {address}: {e}; {hint}")
    };
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address).await.map_err(wrong)?.collect();
    let first = *resolved.first().ok_or_else(|| wrong(io::ErrorKind::NotFound.into()))?;
    let socket = if first.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(wrong)?;
    socket.set_reuseaddr(true).map_err(wrong)?;
    socket.bind(first).map_err(wrong)?;
    socket.listen(BACKLOG).map_err(wrong)
}

/// Accepts and serves until told to stop, then takes what the kernel holds already and closes.
pub struct Acceptor {
    app: Arc<App>,
    connections: TaskTracker,
    permits: Arc<Semaphore>,
    rejecting: Arc<AtomicUsize>,
}

impl Acceptor {
    /// Serves with this application; connections are tasks of the tracker.
    pub fn new(app: Arc<App>, connections: TaskTracker) -> Self {
        let permits = usize::try_from(app.limits.connections_max).unwrap_or(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { app, connections, permits, rejecting: Arc::default() }
    }

    /// Takes a listener's connections in by its door, until `stop`.
    pub async fn run(&self, listener: TcpListener, door: Arc<Door>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => self.start(&door, stream, peer),
                Err(error) => pause(&error).await,
            }
        }
        self.take_backlog(&door, listener);
    }

    fn start(&self, door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
        let client = peer.ip().to_canonical();
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.reject(door, stream, client, "too many connections");
        };
        let arrival = match door.arrive(stream, client, &self.app) {
            Ok(arrival) => arrival,
            Err(stream) => return self.reject(door, stream, client, "too many connections of this address"),
        };
        let (app, door) = (self.app.clone(), door.clone());
        self.connections.spawn(async move {
            door.take(arrival, app).await;
            drop(permit);
        });
    }

    /// Past the bound a client is told so, and past a second bound it is dropped.
    fn reject(&self, door: &Door, stream: TcpStream, client: IpAddr, detail: &str) {
        self.app.refused_at_the_door(client, Reason::Overloaded, detail);
        if self.rejecting.fetch_add(1, Ordering::Relaxed) as u64 >= self.app.limits.rejections_max {
            self.rejecting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // A client that expects a handshake can't be told anything else.
        if !door.speaks_plainly() {
            self.rejecting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let rejecting = self.rejecting.clone();
        self.connections.spawn(async move {
            connection::reject(stream).await;
            rejecting.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// What the kernel has accepted for us would be reset by closing.
    fn take_backlog(&self, door: &Arc<Door>, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.start(door, stream, peer);
            }
        }
    }
}

/// Out of file descriptors or memory: waiting a moment is all that helps. A client that went away
/// between the handshake and accept is no reason to wait.
async fn pause(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(error = %error, "can't accept a connection now");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
