//! The daemon's disk in a round, and what is wrong with it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sluiced_test_brokers::{Process, until_within};

use crate::bounds::{COMMAND_DEADLINE, SMALL_DISK};
use crate::fault;
use crate::shims::Shims;

/// The disk of one round: its directory, and the daemon's surroundings.
#[derive(Debug)]
pub struct Disk {
    kind: fault::Disk,
    dir: PathBuf,
    /// Keeps the mount namespace while no daemon does.
    holder: Option<Process>,
}

impl Disk {
    /// Makes one in a directory of the round.
    pub async fn make(kind: fault::Disk, round: &Path) -> Self {
        let dir = round.join("disk");
        fs::create_dir(&dir).expect("a directory can be made");
        let holder = match kind {
            fault::Disk::Small => Some(hold(&dir, round).await),
            _ => None,
        };
        let disk = Self { kind, dir, holder };
        disk.jump(0);
        disk
    }

    /// Whether calls on it fail now and then.
    pub fn fails(&self) -> bool {
        self.kind == fault::Disk::Failing
    }

    /// A data directory on it.
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command that sees the disk.
    pub fn command(&self, program: &Path) -> Command {
        let Some(holder) = &self.holder else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        if !is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--target", &holder.pid().to_string(), "--"]).arg(program);
        command
    }

    /// Puts the libraries into the environment of a daemon with a store in this directory. `dice` decides what of
    /// it survives a loss of power.
    pub fn load(&self, shims: &Shims, command: &mut Command, store: &Path, dice: u64) {
        shims.load_clock(command, &self.beside("clock"));
        match self.kind {
            fault::Disk::Failing => shims.load_failing(command, &self.beside("rules")),
            // The library watches a directory that is there.
            fault::Disk::Power if store.is_dir() => {
                shims.load_power(command, store, &self.beside("power"), dice);
            }
            _ => {}
        }
    }

    /// Sets the daemon's wall clock off by so many seconds.
    pub fn jump(&self, seconds: i64) {
        self.replace("clock", &seconds.to_string());
    }

    /// What happens to calls on the store's files from now on; see the library's source.
    pub fn rule(&self, rules: &str) {
        self.replace("rules", rules);
    }

    /// The power goes at one of the next calls, or is back.
    pub fn power(&self, goes: bool) {
        if goes {
            self.replace("power", "");
        } else {
            let _ = fs::remove_file(self.beside("power"));
        }
    }

    /// Fills what is left of it.
    pub fn fill(&self) {
        let Ok(mut filler) = File::create(self.seen().join("filler")) else { return };
        for size in [256 << 10, 4 << 10, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Makes room again.
    pub fn empty(&self) {
        let _ = fs::remove_file(self.seen().join("filler"));
    }

    /// Makes it read-only or writable. Nobody may have a file of it open for writing.
    pub async fn remount(&self, writable: bool) {
        let how = if writable { "remount,rw" } else { "remount,ro" };
        let mut command = self.command(Path::new("mount"));
        command.args(["-o", how]).arg(&self.dir);
        let mut command = tokio::process::Command::from(command);
        // A daemon that was just killed may still be on its way out.
        until_within(COMMAND_DEADLINE, "the disk is remounted", async || {
            command.status().await.is_ok_and(|status| status.success())
        })
        .await;
    }

    fn seen(&self) -> PathBuf {
        let Some(holder) = &self.holder else { return self.dir.clone() };
        let root = PathBuf::from(format!("/proc/{}/root", holder.pid()));
        root.join(self.dir.strip_prefix("/").unwrap_or(&self.dir))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.dir.with_file_name(name)
    }

    /// Renamed into place: nobody must read half of it.
    fn replace(&self, name: &str, text: &str) {
        let new = self.beside(&format!("{name}.new"));
        fs::write(&new, text).expect("a file can be written");
        fs::rename(new, self.beside(name)).expect("a file can be renamed");
    }
}

async fn hold(dir: &Path, round: &Path) -> Process {
    let script =
        format!("mount -t tmpfs -o size={SMALL_DISK},mode=700 tmpfs \"$1\"; : >\"$2\"; exec sleep 86400");
    let ready = round.join("mounted");
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-ec", &script, "sh"]).args([dir, &ready]);
    let mut holder = Process::spawn("unshare", &mut command, &round.join("disk.log"));
    until_within(COMMAND_DEADLINE, "a tmpfs is mounted in a mount namespace", async || {
        assert!(holder.ended().is_none(), "no tmpfs can be mounted in a mount namespace, see disk.log");
        ready.exists()
    })
    .await;
    holder
}

fn is_root() -> bool {
    // What a process makes is its own user's.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}
