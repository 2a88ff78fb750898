//! Workers under test: processes of their own on a queue that a daemon has filled.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{GITHUB, connect, github_request, read_answer};
use crate::daemon::{Daemon, PATIENCE, pause, sluiced};

/// Puts bodies into the queue, through a daemon that has ended afterwards. Delivery ids are `d0`, `d1`, …
pub fn fill(dir: &Path, bodies: &[&[u8]]) {
    let daemon = Daemon::start(dir, &[GITHUB]);
    send_all(&daemon, bodies);
    daemon.stop();
}

/// Sends bodies, and sees each acknowledged.
pub fn send_all(daemon: &Daemon, bodies: &[&[u8]]) {
    use std::io::Write;
    let mut stream = connect(daemon.address);
    for (number, body) in bodies.iter().enumerate() {
        stream.write_all(&github_request(&format!("d{number}"), body)).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    }
}

/// `fill` with so many small bodies, `{"n":0}` and so on.
pub fn fill_numbers(dir: &Path, count: usize) {
    let bodies: Vec<String> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
    fill(dir, &bodies.iter().map(|body| body.as_bytes()).collect::<Vec<_>>());
}

/// A running `sluiced work`. Dropped, it is killed.
pub struct Worker {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    out: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Starts it on a data directory with further arguments.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        let mut command = sluiced();
        command.args(["work", "--data-dir"]).arg(dir).args(args);
        Self::spawn(command)
    }

    /// Starts a command that was put together elsewhere.
    pub fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (log, out) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (stderr, stdout) = (child.stderr.take().unwrap(), child.stdout.take().unwrap());
        let (lines, bytes) = (log.clone(), out.clone());
        let readers = vec![
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            }),
            std::thread::spawn(move || {
                let mut stdout = stdout;
                let mut chunk = [0; 4096];
                while let Ok(n @ 1..) = stdout.read(&mut chunk) {
                    bytes.lock().unwrap().extend_from_slice(&chunk[..n]);
                }
            }),
        ];
        Self { child, log, out, readers }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All lines on stderr so far that are JSON.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// All lines on stderr so far.
    pub fn text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for a line.
    pub fn wait_for(&self, msg: &str) -> Value {
        wait_until(|| self.log().into_iter().find(|line| line["msg"] == msg), || self.text())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub fn wait(self) -> Ended {
        self.wait_for_so_long(PATIENCE)
    }

    /// The same, for one that may have to wait for a lease's end.
    pub fn wait_for_so_long(mut self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it doesn't end:\n{}", self.text());
            pause();
        };
        // Whatever else has its output must have ended with it.
        let read = || self.readers.iter().all(JoinHandle::is_finished).then_some(());
        wait_until(read, || "something else still has its output".into());
        Ended { status, log: self.log(), text: self.text(), out: self.out.lock().unwrap().clone() }
    }

    /// Waits for its end without waiting for its output's: a command it left behind may hold that.
    pub fn status(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_until(|| child.try_wait().unwrap(), || "it doesn't end".into())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A worker that has ended.
pub struct Ended {
    pub status: ExitStatus,
    /// The lines on stderr that are JSON.
    pub log: Vec<Value>,
    /// All of stderr.
    pub text: String,
    /// All of stdout.
    pub out: Vec<u8>,
}

impl Ended {
    /// The lines with this message.
    pub fn lines(&self, msg: &str) -> Vec<&Value> {
        self.log.iter().filter(|line| line["msg"] == msg).collect()
    }

    /// A count of the summary.
    pub fn count(&self, key: &str) -> u64 {
        self.lines("work ended")[0][key].as_u64().unwrap()
    }
}

/// Runs `work` to its end.
pub fn run(dir: &Path, args: &[&str]) -> Ended {
    Worker::start(dir, args).wait()
}

/// The lines of a file that commands append to; none while it isn't there.
pub fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A shell script for `--exec`. `$DIR` is a directory for what it writes.
pub fn script(dir: &Path, body: &str) -> PathBuf {
    let path = dir.join("handle.sh");
    std::fs::write(&path, format!("#!/bin/sh\nDIR='{}'\n{body}\n", dir.display())).unwrap();
    path
}

/// Looks again and again; fails with `state` when it takes too long.
pub fn wait_until<T>(mut look: impl FnMut() -> Option<T>, state: impl Fn() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "it never came:\n{}", state());
        pause();
    }
}

/// Waits until a condition holds.
pub fn wait_that(condition: impl Fn() -> bool, what: &str) {
    wait_until(|| condition().then_some(()), || what.to_owned());
}
