//! One attempt to connect.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, mem};

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::AMQPScheme;
use lapin::{Connection, ConnectionProperties};
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::Address;
use crate::bounds;
use crate::fault::Fault;

/// A connection, and a second handle of its socket with which it can be ended whatever state it is in.
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) socket: TcpStream,
}

/// Connects, or says why not within [`bounds::CONNECT_DEADLINE`].
pub(crate) async fn connect(address: &Address, tls: &OwnedTLSConfig, name: &str) -> Result<Connected, Fault> {
    let deadline = Instant::now() + bounds::CONNECT_DEADLINE;
    let attempt = Attempt::default();
    let guard = Guard(attempt.clone());
    let tls = tls.clone();
    let runtime = lapin::runtime::default_runtime().map_err(|error| Fault::of(&error))?;
    let properties = ConnectionProperties::default()
        .with_client_property("product".into(), "sluiced".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
        .with_connection_name(name.into());
    let connecting = Connection::connector(
        address.uri.clone(),
        runtime,
        async move |uri, runtime| {
            let mut plain = uri.clone();
            plain.scheme = AMQPScheme::AMQP;
            let stream = timeout(bounds::CONNECT_DEADLINE, plain.connect_async(&runtime))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            let AsyncTcpStream::Plain(tcp) = &stream else {
                return Err(io::Error::from(io::ErrorKind::Unsupported).into());
            };
            tcp.get_ref().set_nodelay(true)?;
            attempt.keep(tcp.get_ref().as_fd().try_clone_to_owned()?.into())?;
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => Ok(stream.into_tls(&uri.authority.host, tls.as_ref()).await?),
            }
        },
        properties,
    );
    let connection = timeout_at(deadline, connecting)
        .await
        .map_err(|_| Fault::Lost(format!("no connection within {} s", bounds::CONNECT_DEADLINE.as_secs())))?
        .map_err(|error| Fault::of(&error))?;
    let socket = guard.0.take().ok_or_else(|| Fault::Lost("the connection has no socket".into()))?;
    Ok(Connected { connection, socket })
}

/// The socket of an attempt under way. The library's thread waits without end for a peer that accepted and
/// says nothing, as a frozen broker does: an attempt that is given up must take its socket away from it.
#[derive(Clone, Default)]
struct Attempt(Arc<Mutex<Socket>>);

#[derive(Default)]
enum Socket {
    #[default]
    NotYet,
    Open(TcpStream),
    GivenUp,
}

impl Attempt {
    fn keep(&self, socket: TcpStream) -> io::Result<()> {
        let mut kept = self.lock();
        if matches!(*kept, Socket::GivenUp) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *kept = Socket::Open(socket);
        Ok(())
    }

    fn take(&self) -> Option<TcpStream> {
        match mem::take(&mut *self.lock()) {
            Socket::Open(socket) => Some(socket),
            Socket::NotYet | Socket::GivenUp => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Socket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Guard(Attempt);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Socket::Open(socket) = mem::replace(&mut *self.0.lock(), Socket::GivenUp) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
