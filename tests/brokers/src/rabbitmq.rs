//! RabbitMQ.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;
use crate::{bounds, programs, socket};

/// A RabbitMQ node of one's own, up about 8 s after its start.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped in this order: the port mapper would outlive its node otherwise.
    process: Option<Process>,
    epmd: Option<Process>,
    port: Port,
    epmd_port: Port,
    dist_port: Port,
    ctl_port: Port,
    config: String,
    dir: TempDir,
}

impl RabbitMq {
    /// A running one.
    ///
    /// # Panics
    /// When it isn't installed or doesn't come up.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// A running one with more of its configuration: lines of `rabbitmq.conf`.
    ///
    /// # Panics
    /// As for [`Self::start`].
    pub async fn with(config: &str) -> Self {
        let mut this = Self::absent(config);
        this.restart().await;
        this
    }

    /// One that isn't running yet: its port refuses until [`Self::restart`].
    pub fn absent(config: &str) -> Self {
        Self {
            process: None,
            epmd: None,
            port: Port::take(),
            epmd_port: Port::take(),
            dist_port: Port::take(),
            ctl_port: Port::take(),
            config: config.to_owned(),
            dir: tempfile::tempdir().expect("a directory can be made"),
        }
    }

    /// Starts it with the same ports and files, killed before that if it is running; it is up on return.
    ///
    /// # Panics
    /// As for [`Self::start`].
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start_epmd();
        let dir = self.dir.path();
        let config = format!("listeners.tcp.local = {}\n{}\n", self.address(), self.config);
        write(&dir.join("rabbitmq.conf"), &config);
        write(&dir.join("enabled_plugins"), "[].\n");
        let mut command = self.command("rabbitmq-server");
        // The script then becomes the Erlang VM, as under systemd, instead of waiting for it: the child's pid
        // is the broker's.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        let mut process = Process::spawn("rabbitmq-server", &mut command, &dir.join("log"));
        // `connection.start` is a method frame, whose first byte is 1.
        let is_up = |answer: &[u8]| answer.first() == Some(&1);
        socket::until_up(&mut process, self.address(), b"AMQP\0\0\x09\x01", is_up).await;
        self.process = Some(process);
    }

    /// SIGKILL; the port refuses on return.
    ///
    /// # Panics
    /// When the port doesn't.
    pub async fn kill(&mut self) {
        if self.process.take().is_some() {
            socket::until_refused(self.address()).await;
            socket::until_refused(self.dist_port.address()).await;
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

    /// Sets off the memory alarm, which blocks every connection that publishes, or ends it. Takes about 3 s.
    ///
    /// # Panics
    /// When the broker says no.
    pub async fn memory_alarm(&self, on: bool) {
        let watermark: &[&str] = if on { &["absolute", "1MB"] } else { &["0.4"] };
        self.ctl(&[&["set_vm_memory_high_watermark"], watermark].concat()).await;
    }

    /// `rabbitmqctl` with these arguments; gives its output. Takes about 3 s.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::from(self.command("rabbitmqctl"));
        command.arg("--quiet").args(arguments).kill_on_drop(true);
        let output = tokio::time::timeout(bounds::CTL_DEADLINE, command.output()).await;
        let output = output.expect("rabbitmqctl ends in time").expect("rabbitmqctl can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?} failed: {text}{errors}");
        text
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL, with the credentials that every fresh node has for loopback, and the virtual host `/`.
    pub fn url(&self) -> String {
        self.url_at(self.port.number())
    }

    /// Its URL by way of another port: a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// As a child of ours: started by the node itself it would be nobody's, and stay behind.
    fn start_epmd(&mut self) {
        if self.epmd.is_none() {
            let mut command = Command::new(programs::epmd());
            command.args(["-port", &self.epmd_port.number().to_string(), "-address", "127.0.0.1"]);
            self.epmd = Some(Process::spawn("epmd", &mut command, &self.dir.path().join("epmd.log")));
        }
    }

    /// One of its scripts in its own environment, and with nothing of ours that would change it.
    fn command(&self, script: &str) -> Command {
        let dir = self.dir.path();
        let mut command = Command::new(programs::rabbitmq_scripts().join(script));
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy();
            if ours.starts_with("RABBITMQ_") || ours.starts_with("ERL_") || ours == "NOTIFY_SOCKET" {
                command.env_remove(&name);
            }
        }
        let (dist, ctl) = (self.dist_port.number().to_string(), self.ctl_port.number().to_string());
        command
            .env("HOME", dir)
            .env("ERL_EPMD_PORT", self.epmd_port.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("sluiced{}@localhost", self.port.number()))
            .env("RABBITMQ_DIST_PORT", &dist)
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("RABBITMQ_CTL_DIST_PORT_MIN", &ctl)
            .env("RABBITMQ_CTL_DIST_PORT_MAX", &ctl)
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("logs"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_PID_FILE", dir.join("pid"));
        command
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file can be written");
}
