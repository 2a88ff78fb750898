//! SIGTERM and SIGINT: the first asks to stop, the second insists.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for both signals.
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Starts listening; from here on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When the runtime can't listen.
    pub fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("can't listen for signals: {e}"));
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    /// Waits for the next signal and gives its name and the exit code of being forced out by it.
    pub async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.term.recv() => ("SIGTERM", 143),
            _ = self.int.recv() => ("SIGINT", 130),
        }
    }

    /// Waits for a second signal and ends the process at once: somebody insists. Nothing acknowledged
    /// is lost by it, since that is durable already.
    pub async fn force(&mut self) {
        let (_, code) = self.next().await;
        exit_at_once(code);
    }
}

/// SIGHUP, which from here on no longer ends the process.
///
/// # Errors
/// When the runtime can't listen.
pub fn hangups() -> Result<Signal, String> {
    signal(SignalKind::hangup()).map_err(|e| format!("can't listen for SIGHUP: {e}"))
}

/// Ends the process without running anything more.
pub fn exit_at_once(code: i32) -> ! {
    #[allow(clippy::disallowed_methods)]
    std::process::exit(code);
}
