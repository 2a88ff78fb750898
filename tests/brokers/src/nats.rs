//! NATS with JetStream.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;
use crate::{programs, socket};

/// What a test may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest payload in bytes, headers included; the server's default is 1 MiB.
    pub max_payload: Option<usize>,
    /// `always`, or a duration in the server's spelling; the server's default is two minutes. Versions before
    /// 2.10 don't know it.
    pub sync_interval: Option<String>,
    /// Without it there are no streams.
    pub jetstream: bool,
    /// More of the server's configuration, verbatim: `authorization { … }`, `tls { … }`, `accounts { … }`.
    pub config: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_payload: None, sync_interval: None, jetstream: true, config: String::new() }
    }
}

/// A NATS server of one's own, up 50 ms after its start.
#[derive(Debug)]
pub struct Nats {
    process: Option<Process>,
    port: Port,
    options: Options,
    dir: TempDir,
}

impl Nats {
    /// A running one.
    ///
    /// # Panics
    /// When it isn't installed or doesn't come up.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// A running one with settings.
    ///
    /// # Panics
    /// As for [`Self::start`].
    pub async fn with(options: Options) -> Self {
        let mut this = Self::absent(options);
        this.restart().await;
        this
    }

    /// One that isn't running yet: its port refuses until [`Self::restart`].
    pub fn absent(options: Options) -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        Self { process: None, port: Port::take(), options, dir }
    }

    /// Starts it with the same port and files, killed before that if it is running; it is up on return.
    ///
    /// # Panics
    /// As for [`Self::start`].
    pub async fn restart(&mut self) {
        self.kill().await;
        let config = self.dir.path().join("nats.conf");
        std::fs::write(&config, self.config()).expect("a file can be written");
        let mut command = Command::new(programs::nats());
        command.arg("--config").arg(&config);
        let mut process = Process::spawn("nats-server", &mut command, &self.dir.path().join("log"));
        let wanted: &[u8] = if self.options.jetstream { b"\"jetstream\":true" } else { b"INFO {" };
        let is_up = |answer: &[u8]| answer.windows(wanted.len()).any(|window| window == wanted);
        socket::until_up(&mut process, self.address(), b"", is_up).await;
        self.process = Some(process);
    }

    /// SIGKILL; the port refuses on return.
    ///
    /// # Panics
    /// When the port doesn't.
    pub async fn kill(&mut self) {
        if self.process.take().is_some() {
            socket::until_refused(self.address()).await;
        }
    }

    /// SIGTERM; it has ended on return.
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

    /// Settings for the next [`Self::restart`].
    pub fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        self.url_at(self.port.number())
    }

    /// Its URL by way of another port: a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        format!("nats://127.0.0.1:{port}")
    }

    fn config(&self) -> String {
        let Options { max_payload, sync_interval, jetstream, config } = &self.options;
        let mut text = format!("listen: \"{}\"\nserver_name: \"sluiced-test\"\n", self.address());
        if let Some(bytes) = max_payload {
            text += &format!("max_payload: {bytes}\n");
        }
        if *jetstream {
            let dir = self.dir.path().join("jetstream");
            text += &format!("jetstream {{\n store_dir: \"{}\"\n", dir.display());
            text += " max_memory_store: 256MB\n max_file_store: 4GB\n";
            if let Some(interval) = sync_interval {
                text += &format!(" sync_interval: \"{interval}\"\n");
            }
            text += "}\n";
        }
        text + config
    }
}
