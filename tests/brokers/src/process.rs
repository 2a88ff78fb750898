//! A broker's process, as a child that can't outlive its test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::bounds;
use crate::wait::until_within;

/// A child process. Dropped, it is killed; and a watchdog kills it if this process dies before that.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    watchdog: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that stays in the foreground; its output is added to the file `log`.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn spawn(name: &'static str, command: &mut Command, log: &Path) -> Self {
        Self::spawn_with(name, command, Stdio::null(), log)
    }

    /// The same with something to read, which may be a socket to hand over.
    ///
    /// # Panics
    /// As for [`Self::spawn`].
    pub fn spawn_with(name: &'static str, command: &mut Command, stdin: Stdio, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("a log file can be made");
        let err = out.try_clone().expect("a file handle can be copied");
        command.stdin(stdin).stdout(out).stderr(err);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let watchdog = watch(&child);
        Self { name, child, watchdog, log: log.to_owned() }
    }

    /// Its process id, ours until this value is dropped.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as it is, connections open: SIGSTOP. All its threads stand still on return.
    ///
    /// # Panics
    /// When they don't.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let began = Instant::now();
        while !self.stands_still() {
            assert!(began.elapsed() < bounds::STOP_DEADLINE, "{} goes on after SIGSTOP", self.name);
            // Threads that run notice at their next interrupt.
            std::thread::yield_now();
        }
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end: SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the kernel doesn't say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let what = format!("{} ends after SIGTERM", self.name);
        until_within(bounds::STOP_DEADLINE, &what, async || self.has_ended()).await;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    /// The end of its output, for a panic.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(bounds::LOG_TAIL_BYTES);
        String::from_utf8_lossy(&log[from..]).into_owned()
    }

    /// Threads notice the signal one after the other, and one may end while it is looked at.
    fn stands_still(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a child has threads");
        let mut stats =
            threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        // The state follows the name, which stands in parentheses.
        stats.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    }

    /// A pid stays ours until the child has been waited for, so nobody else can be hit.
    fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.unwrap_or_else(|error| panic!("{} can't be sent {signal:?}: {error}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog first: it must not kill a pid that isn't ours any more. Whether either has ended by
        // itself meanwhile makes no difference.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a pipe that only this process holds, then kills the child.
fn watch(child: &Child) -> Child {
    Command::new("sh")
        .args(["-c", "read -r line; kill -KILL \"$1\"", "sh", &child.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh can be started")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::until;

    fn sleeper(dir: &Path) -> Process {
        Process::spawn("sleep", Command::new("sleep").arg("600"), &dir.join("log"))
    }

    fn runs(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn what_is_dropped_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let process = sleeper(dir.path());
        let pid = process.pid();
        process.freeze();
        drop(process);
        assert!(!runs(pid));
    }

    #[tokio::test]
    async fn the_watchdog_kills_what_its_owner_leaves_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleeper(dir.path());
        // As the kernel does when this process dies.
        drop(process.watchdog.stdin.take());
        until("the child is killed", async || process.has_ended()).await;
    }

    #[tokio::test]
    async fn one_that_is_asked_to_ends() {
        let dir = tempfile::tempdir().unwrap();
        let process = sleeper(dir.path());
        let pid = process.pid();
        process.stop().await;
        assert!(!runs(pid));
    }
}
