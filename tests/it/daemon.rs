//! The daemon under test: a process of its own on ports that the kernel picks.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Whatever is waited for here comes much sooner, or never.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_sluiced"))
}

/// A command of the binary under test with an environment of its own.
pub fn sluiced() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars() {
        if name.starts_with("SLUICED_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running daemon. Dropped, it is killed.
pub struct Daemon {
    child: Child,
    /// Where webhooks come in.
    pub address: SocketAddr,
    /// Where it is asked how it is.
    pub ops: SocketAddr,
    dir: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts it with a data directory and further arguments, and waits until it listens.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self::try_start(dir, args).unwrap_or_else(|log| panic!("the daemon didn't start:\n{log}"))
    }

    /// Starts it; the log when it ended instead of listening.
    pub fn try_start(dir: &Path, args: &[&str]) -> Result<Self, String> {
        let mut command = sluiced();
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ]);
        command.arg("--data-dir").arg(dir).args(args);
        Self::spawn(command, dir)
    }

    /// Starts a command that was put together elsewhere.
    pub fn spawn(mut command: Command, dir: &Path) -> Result<Self, String> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().unwrap(), log.clone());
        collect(child.stderr.take().unwrap(), log.clone());
        let mut daemon = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            ops: ([127, 0, 0, 1], 0).into(),
            dir: dir.to_owned(),
            log,
        };
        let listening = |lines: &[Value], msg: &str| {
            lines.iter().find(|l| l["msg"] == msg).and_then(|l| l["address"].as_str()?.parse().ok())
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = daemon.log();
            if let Some(address) = listening(&lines, "listening") {
                daemon.address = address;
                daemon.ops = listening(&lines, "ops listening").unwrap_or(daemon.ops);
                return Ok(daemon);
            }
            if let Some(status) = daemon.child.try_wait().unwrap() {
                pause();
                return Err(format!("{status}\n{}", daemon.text()));
            }
            assert!(Instant::now() < deadline, "neither listening nor ended:\n{}", daemon.text());
            pause();
        }
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines so far that are JSON.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All lines so far as they are.
    pub fn text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The lines of deliveries so far.
    pub fn deliveries(&self) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["msg"] == "delivery").collect()
    }

    /// Waits for a line of a delivery for which `wanted` holds.
    pub fn wait_for_delivery(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.deliveries().into_iter().find(|line| wanted(line)) {
                return line;
            }
            assert!(Instant::now() < deadline, "no such delivery in the log:\n{}", self.text());
            pause();
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it doesn't end:\n{}", self.text());
            pause();
        }
    }

    /// Stops it as a service manager would, and expects that to go well.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        let status = self.wait();
        pause();
        let text = self.text();
        assert!(status.success(), "{status}\n{text}");
        text
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A moment between two looks at a condition.
#[allow(clippy::disallowed_methods)]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn collect(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            into.lock().unwrap().push(line);
        }
    });
}
