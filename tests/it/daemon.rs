//! The daemon under test: a process of its own on ports that the kernel picks.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Whatever is waited for here comes much sooner, or never.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test: the one that was built with the tests, or the one that
/// `SLUICED_TEST_BINARY` names, for figures of a release build.
pub fn binary() -> PathBuf {
    std::env::var_os("SLUICED_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_sluiced").into(), PathBuf::from)
}

/// Serves on ports that the kernel picks.
pub const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

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
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it with a data directory and further arguments, and waits until it listens.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self::try_start(dir, args).unwrap_or_else(|log| panic!("the daemon didn't start:\n{log}"))
    }

    /// Starts it with a configuration file besides.
    pub fn with_config(dir: &Path, config: &str, args: &[&str]) -> Self {
        let path = dir.join("sluiced.toml");
        std::fs::write(&path, config).unwrap();
        let flag = format!("--config={}", path.display());
        Self::start(dir, &[&[flag.as_str()], args].concat())
    }

    /// Starts it; the log when it ended instead of listening.
    pub fn try_start(dir: &Path, args: &[&str]) -> Result<Self, String> {
        let mut command = sluiced();
        command.args(SERVE).args(["--log-format", "json", "--data-dir"]).arg(dir).args(args);
        Self::spawn(command)
    }

    /// Starts a command that was put together elsewhere.
    pub fn spawn(mut command: Command) -> Result<Self, String> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), log.clone()),
            collect(child.stderr.take().unwrap(), log.clone()),
        ];
        let mut daemon = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            ops: ([127, 0, 0, 1], 0).into(),
            log,
            readers,
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
            if daemon.child.try_wait().unwrap().is_some() {
                let status = daemon.wait();
                return Err(format!("{status}\n{}", daemon.text()));
            }
            assert!(Instant::now() < deadline, "neither listening nor ended:\n{}", daemon.text());
            pause();
        }
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
        self.wait_for_line(|line| line["msg"] == "delivery" && wanted(line))
    }

    /// Waits for a line for which `wanted` holds.
    pub fn wait_for_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().into_iter().find(&wanted) {
                return line;
            }
            assert!(Instant::now() < deadline, "no such line in the log:\n{}", self.text());
            pause();
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end, and for the last line of its log.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("its end", || self.child.try_wait().unwrap().is_some());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.child.wait().unwrap()
    }

    /// Stops it as a service manager would, and expects that to go well.
    pub fn stop(self) -> String {
        self.signal("TERM");
        self.stop_after_signal()
    }

    /// The same when the signal was sent already.
    pub fn stop_after_signal(mut self) -> String {
        let status = self.wait();
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

/// What the daemon says that bodies take.
pub fn memory_in_use(daemon: &Daemon) -> u64 {
    let metrics = String::from_utf8(crate::client::get(daemon.ops, "/metrics").body).unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("sluiced_body_memory_bytes "));
    line.expect("the gauge").parse().unwrap()
}

/// A number from the environment, for longer runs of the same test.
pub fn environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Waits for a condition, within [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        pause();
    }
}

/// A moment between two looks at a condition.
#[allow(clippy::disallowed_methods)]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn collect(from: impl std::io::Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // Not `lines`, which would end in silence at a byte that isn't UTF-8.
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            into.lock()
                .unwrap()
                .push(String::from_utf8(line).expect("whatever a sender says, UTF-8 is written"));
        }
    })
}
