//! A server under measurement.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use sluiced_benches::bounds;
use sluiced_test_brokers::{Port, Process};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::Failure;

/// A running one. Dropped, it is killed.
pub(crate) struct Server {
    process: Process,
    port: Port,
    start_ms: f64,
}

impl Server {
    /// Starts it; it listens, and its connections are up, on return. Its output goes to the file `log`.
    pub(crate) async fn start(
        name: &'static str,
        mut command: Command,
        port: Port,
        log: &Path,
    ) -> Result<Self, Failure> {
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("SLUICED_") {
                command.env_remove(variable);
            }
        }
        let mut process = Process::spawn(name, &mut command, log);
        let begun = Instant::now();
        let until = begun + bounds::START_DEADLINE;
        while TcpStream::connect(port.address()).await.is_err() {
            if process.ended().is_some() || Instant::now() > until {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{name} doesn't listen: {said}").into());
            }
            sleep(bounds::POLL).await;
        }
        let start_ms = begun.elapsed().as_secs_f64() * 1e3;
        sleep(bounds::SETTLE).await;
        Ok(Self { process, port, start_ms })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// From its start until it listened.
    pub(crate) fn start_ms(&self) -> f64 {
        self.start_ms
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.process.terminate();
        let until = Instant::now() + bounds::STOP_DEADLINE;
        while self.process.ended().is_none() {
            if Instant::now() > until {
                return Err("a server doesn't end after SIGTERM".into());
            }
            sleep(bounds::POLL).await;
        }
        Ok(())
    }
}
