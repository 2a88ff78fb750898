//! Commands in process groups of their own, so that a command is ended together with all that it started.

use std::collections::HashSet;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep};

use crate::bounds::{WORK_KILL_GRACE, WORK_KILL_LOOK};

/// The groups that are running now.
#[derive(Clone, Debug, Default)]
pub struct Groups(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    running: HashSet<Pid>,
    closed: bool,
}

impl Groups {
    /// Starts a command as the leader of a new group.
    ///
    /// # Errors
    /// When the system can't, and after [`Groups::kill_all`].
    pub fn start(&self, command: &mut Command) -> io::Result<Running> {
        // Under the lock, so that `kill_all` misses nobody.
        let mut table = self.table();
        if table.closed {
            return Err(io::Error::other("the worker is ending"));
        }
        let child = command.process_group(0).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        table.running.extend(group);
        Ok(Running { child, group, groups: self.clone() })
    }

    /// Kills all that run, and starts nothing more.
    pub fn kill_all(&self) {
        let mut table = self.table();
        table.closed = true;
        table.running.drain().for_each(kill);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// A running command. Dropped, its whole group is killed.
pub struct Running {
    child: Child,
    /// `None` once it has ended: its number may be somebody else's by now.
    group: Option<Pid>,
    groups: Groups,
}

impl Running {
    /// The command's stdin, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the command's end. What it leaves running in the background is its own affair.
    ///
    /// # Errors
    /// When the system can't say.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.forget();
        Ok(status)
    }

    /// Ends the whole group: SIGTERM, a moment to clear up, SIGKILL.
    pub async fn stop(mut self) {
        let Some(group) = self.group else { return };
        // An error means that nobody is left in it.
        let _ = kill_process_group(group, Signal::TERM);
        let until = Instant::now() + WORK_KILL_GRACE;
        while Instant::now() < until && self.is_anyone_left(group) {
            sleep(WORK_KILL_LOOK).await;
        }
        kill(group);
        // Killed for good; only its status is still to be collected.
        let _ = self.child.wait().await;
        self.forget();
    }

    /// The leader counts until its status is collected, so that is done first.
    fn is_anyone_left(&mut self, group: Pid) -> bool {
        let _ = self.child.try_wait();
        test_kill_process_group(group).is_ok()
    }

    fn forget(&mut self) {
        if let Some(group) = self.group.take() {
            self.groups.table().running.remove(&group);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            kill(group);
        }
        self.forget();
    }
}

fn kill(group: Pid) {
    // An error means that nobody is left in it.
    let _ = kill_process_group(group, Signal::KILL);
}
