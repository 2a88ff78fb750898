//! Azurite: Azure Storage Queue's own emulator.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;
use crate::{programs, socket};

/// The storage account that tests use. The key is made up, in base64 as keys are.
pub const ACCOUNT: &str = "sluicedtest";
/// The account's key.
pub const ACCOUNT_KEY: &str =
    "YSBtYWRlLXVwIGtleSBmb3IgdGVzdHMsIGFuZCBubyBzZWNyZXQgYXQgYWxsIC0gLSAtIC0gLSAtIC0gLSA=";
/// Another key of the account, which is refused until [`Azurite::accept_late_key`].
pub const LATE_KEY: &str =
    "QW5vdGhlciBtYWRlLXVwIGtleSBmb3IgdGVzdHMsIG5vdCBrbm93biBhdCBmaXJzdCAtIC0gLSAtIC0gLSA=";

/// An Azurite of one's own with nothing but queues, up 3 s after its start.
///
/// It can't be killed here, because that would test Azurite: it keeps its messages in memory and saves them every
/// five seconds, so that a killed one loses what the service itself would not. [`Self::stop`] saves them.
#[derive(Debug)]
pub struct Azurite {
    process: Option<Process>,
    port: Port,
    keys: String,
    dir: TempDir,
}

impl Azurite {
    /// A running one.
    ///
    /// # Panics
    /// When it isn't installed or doesn't come up.
    pub async fn start() -> Self {
        let mut this = Self::absent();
        this.restart().await;
        this
    }

    /// One that isn't running yet: its port refuses until [`Self::restart`].
    pub fn absent() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        Self { process: None, port: Port::take(), keys: ACCOUNT_KEY.into(), dir }
    }

    /// Starts it with the same port and files, stopped before that if it is running; it is up on return.
    ///
    /// # Panics
    /// As for [`Self::start`].
    pub async fn restart(&mut self) {
        self.stop().await;
        let mut command = Command::new(programs::node());
        command.arg(programs::azurite()).args(["--queueHost", "127.0.0.1", "--queuePort"]);
        command.arg(self.port.number().to_string()).arg("--location").arg(self.dir.path());
        command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", self.keys));
        let mut process = Process::spawn("azurite", &mut command, &self.dir.path().join("log"));
        let hello = b"GET / HTTP/1.1\r\nHost: azurite\r\nConnection: close\r\n\r\n";
        socket::until_up(&mut process, self.address(), hello, |answer| answer.starts_with(b"HTTP/1.1 "))
            .await;
        self.process = Some(process);
    }

    /// From the next [`Self::restart`] on, [`LATE_KEY`] is good as well.
    pub fn accept_late_key(&mut self) {
        self.keys = format!("{ACCOUNT_KEY}:{LATE_KEY}");
    }

    /// SIGTERM; it has saved its messages and ended on return.
    ///
    /// # Panics
    /// When it doesn't end.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
            socket::until_refused(self.address()).await;
        }
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn freeze(&self) {
        self.process.as_ref().expect("it is running").freeze();
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// When it isn't running.
    pub fn thaw(&self) {
        self.process.as_ref().expect("it is running").thaw();
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The connection string, with [`ACCOUNT`] and [`ACCOUNT_KEY`].
    pub fn connection_string(&self) -> String {
        self.connection_string_at(self.port.number())
    }

    /// The connection string by way of another port: a proxy's.
    pub fn connection_string_at(&self, port: u16) -> String {
        format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};\
             QueueEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        )
    }
}
