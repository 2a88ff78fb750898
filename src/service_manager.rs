//! The service manager above us, systemd or one that speaks as it does: the sockets that it hands over, and
//! what it wants to be told. Without one, nothing here does anything.

use std::net::TcpListener as StdListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::http::listener::bind;

/// The listening sockets that were handed over (`LISTEN_FDS`): the first is for webhooks, the second for the
/// ops listener, further ones for those under `[[listeners]]`. They stay open between two runs, so that a restart refuses no connection.
pub struct Sockets {
    handed_over: ListenFd,
    next: usize,
}

impl Sockets {
    /// Takes what was handed over to this process.
    pub fn take() -> Self {
        Self { handed_over: ListenFd::from_env(), next: 0 }
    }

    /// The next socket that was handed over; with none left, one bound to this address.
    ///
    /// # Errors
    /// Names what is wrong with the socket, or with the address and its flag.
    pub async fn next_or_bind(&mut self, address: &str, flag: &str) -> Result<TcpListener, String> {
        let (number, wrong) = (self.next + 1, |why: &dyn std::fmt::Display| {
            format!(
                "{why}; as sockets the service manager hands over listening TCP ones alone, the first for \
                 webhooks, the second for --ops-listen, further ones for [[listeners]]"
            )
        });
        self.next = number;
        let taken = self.handed_over.take_tcp_listener(number - 1).map_err(|e| wrong(&e))?;
        let Some(socket) = taken else { return bind(address, flag).await };
        match socket_acceptconn(&socket) {
            Ok(true) => adopt(socket).map_err(|e| wrong(&e)),
            Ok(false) => Err(wrong(&format!("socket {number} that was handed over doesn't listen"))),
            Err(e) => Err(wrong(&e)),
        }
    }
}

fn adopt(socket: StdListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Tells that webhooks are taken from now on.
pub fn ready() {
    drop(tell(NotifyState::Ready));
}

/// Tells that this process is about to end by itself or was told to.
pub fn stopping() {
    drop(tell(NotifyState::Stopping));
}

/// Keeps the service manager's watchdog quiet for as long as the runtime schedules tasks, to the very end.
#[allow(clippy::disallowed_methods, reason = "it ends with the process, and nothing is lost with it")]
pub fn keep_watchdog_quiet() {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else { return };
    tokio::spawn(async move {
        // Half of what it waits for, as sd_watchdog_enabled(3) recommends.
        let mut tick = interval(patience / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let told = tell(NotifyState::Watchdog);
            let _ = told.await;
        }
    });
}

/// On a thread of its own: the socket blocks as soon as its reader has ten datagrams to read, and a service
/// manager that is stuck must hold up no webhook.
fn tell(state: NotifyState<'static>) -> JoinHandle<()> {
    spawn_blocking(move || {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(error = %error, "can't tell the service manager");
        }
    })
}
