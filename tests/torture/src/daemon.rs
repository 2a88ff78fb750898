//! The daemon in a round: started, killed, started again when it ended by itself, replaced by a second one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sluiced_test_brokers::{Port, Process};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::bounds::{LOOK_EVERY, OPS_DEADLINE, RESTART_AFTER, START_DEADLINE, STOP_DEADLINE};
use crate::disk::Disk;
use crate::ops;
use crate::random::Random;
use crate::shims::Shims;
use crate::webhook::SECRET;

/// What every start of the daemon in a round has in common.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its program.
    pub binary: &'a Path,
    /// The libraries before it.
    pub shims: &'a Shims,
    /// Its disk.
    pub disk: Disk,
    /// Where it writes its log.
    pub log: PathBuf,
    /// The queue's flags.
    pub queue: Vec<String>,
    /// Whether the store in the data directory is a spool.
    pub spools: bool,
}

impl Setup<'_> {
    /// A command of the program on its disk: with nothing of this process's settings.
    pub fn sluiced(&self, arguments: &[&str]) -> Command {
        let mut command = bare(self.disk.command(self.binary));
        command.args(arguments);
        command
    }

    /// Whether there is anything in it.
    pub fn has_store(&self, data: &Path) -> bool {
        let mut command = self.disk.command(Path::new("test"));
        command.arg("-e").arg(self.store(data).join("queue.db")).status().is_ok_and(|status| status.success())
    }

    /// A data directory's store.
    pub fn store(&self, data: &Path) -> PathBuf {
        if self.spools { data.join("spool") } else { data.to_owned() }
    }
}

/// A command of the program without settings of this process.
pub fn bare(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLUICED_") {
            command.env_remove(name);
        }
    }
    command
}

/// One process of the daemon.
#[derive(Debug)]
struct Instance {
    process: Process,
    /// Which of the two data directories it has.
    slot: usize,
}

/// The data directories: a second daemon needs one of its own.
const SLOTS: [&str; 2] = ["a", "b"];

/// The daemon.
#[derive(Debug)]
pub struct Daemon<'a> {
    /// What all starts have in common.
    pub setup: Setup<'a>,
    port: Port,
    /// Handed over to each process, if there is one.
    socket: Option<TcpListener>,
    ops: [Port; 2],
    current: Option<Instance>,
    random: Random,
    /// How often it ended by itself.
    pub exits: usize,
}

impl<'a> Daemon<'a> {
    /// Starts one.
    pub async fn start(setup: Setup<'a>, handed_over: bool, seed: u64) -> Self {
        let port = Port::take();
        let socket =
            handed_over.then(|| TcpListener::bind(port.address()).expect("our own port can be listened on"));
        for slot in SLOTS {
            let store = setup.disk.data(slot);
            let mut command = setup.disk.command(Path::new("mkdir"));
            let made = command.args(["-p", "-m", "700"]).args([&store, &setup.store(&store)]).status();
            assert!(made.is_ok_and(|status| status.success()), "{} can be made", store.display());
        }
        let ops = [Port::take(), Port::take()];
        let random = Random::new(seed ^ 0xdae3);
        let mut this = Self { setup, port, socket, ops, current: None, random, exits: 0 };
        this.up(0).await;
        this
    }

    /// Where webhooks come in.
    pub fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }

    /// Lets time pass. A daemon that ends by itself meanwhile is started again, as a service manager would.
    pub async fn tend(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.revive().await;
            sleep(LOOK_EVERY.min(end - Instant::now().min(end))).await;
        }
    }

    /// `kill -9`, and nothing until so much later.
    pub async fn kill(&mut self, down: Duration) {
        let slot = self.slot();
        self.current = None;
        sleep(down).await;
        self.up(slot).await;
    }

    /// `kill -9`, and no new start.
    pub fn put_down(&mut self) -> usize {
        let slot = self.slot();
        self.current = None;
        slot
    }

    /// SIGSTOP for a while.
    pub async fn freeze(&mut self, time: Duration) {
        self.revive().await;
        let Some(instance) = &self.current else { return };
        instance.process.freeze();
        sleep(time).await;
        instance.process.thaw();
    }

    /// SIGTERM, its end waited for, and a new start.
    ///
    /// # Errors
    /// Says how it ended, if not well.
    pub async fn replace(&mut self, down: Duration) -> Result<(), String> {
        self.revive().await;
        let slot = self.slot();
        let ended = self.stop().await;
        sleep(down).await;
        self.up(slot).await;
        ended
    }

    /// A second daemon on the same socket and a directory of its own; both take connections for so long, and then the
    /// first gets SIGTERM.
    ///
    /// # Errors
    /// Says how the first ended, if not well.
    pub async fn roll(&mut self, together: Duration) -> Result<(), String> {
        self.revive().await;
        let first = self.current.take();
        let slot = first.as_ref().map_or(0, |instance| 1 - instance.slot);
        self.up(slot).await;
        sleep(together).await;
        match first {
            Some(mut first) => end(&mut first.process, self.setup.disk.fails()).await,
            None => Ok(()),
        }
    }

    /// Waits until it has ended by itself, or kills it; then starts it again.
    pub async fn await_end(&mut self, patience: Duration, before_start: impl FnOnce(&Disk)) {
        let begun = Instant::now();
        while begun.elapsed() < patience
            && self.current.as_mut().is_some_and(|instance| instance.process.ended().is_none())
        {
            sleep(LOOK_EVERY).await;
        }
        let slot = self.put_down();
        before_start(&self.setup.disk);
        self.up(slot).await;
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// Says how it ended, if not well.
    pub async fn stop(&mut self) -> Result<(), String> {
        match self.current.take() {
            Some(mut instance) => end(&mut instance.process, self.setup.disk.fails()).await,
            None => Ok(()),
        }
    }

    /// Starts it if it has ended by itself.
    pub async fn revive(&mut self) {
        let Some(instance) = &mut self.current else { return self.up(0).await };
        if instance.process.ended().is_some() {
            self.exits += 1;
            let slot = self.put_down();
            self.up(slot).await;
        }
    }

    /// One start, which need not succeed: the disk may be read-only. What comes of it lives for so long.
    pub async fn try_on(&mut self, slot: usize, time: Duration) {
        let mut process = self.spawn(slot);
        let end = Instant::now() + time;
        while Instant::now() < end && process.ended().is_none() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// The data directories that something may be in: those of daemons that ran.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        SLOTS.map(|slot| self.setup.disk.data(slot)).to_vec()
    }

    /// Starts it, again and again until it listens.
    ///
    /// # Panics
    /// When it doesn't in time.
    pub async fn up(&mut self, slot: usize) {
        let begun = Instant::now();
        loop {
            let mut process = self.spawn(slot);
            if self.listens(&mut process, slot).await {
                self.current = Some(Instance { process, slot });
                return;
            }
            self.exits += 1;
            drop(process);
            assert!(
                begun.elapsed() < START_DEADLINE,
                "the daemon doesn't start within {START_DEADLINE:?}, see {}",
                self.setup.log.display()
            );
            sleep(RESTART_AFTER).await;
        }
    }

    /// A figure of its metrics, summed up; `None` when it doesn't answer.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let metrics = ops::get(self.ops[self.slot()].address(), "/metrics").await?;
        let of = |line: &str| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "));
        let values: Vec<&str> =
            metrics.lines().filter(|line| of(line)).filter_map(|line| line.rsplit(' ').next()).collect();
        (!values.is_empty()).then(|| values.iter().filter_map(|value| value.parse::<u64>().ok()).sum())
    }

    fn slot(&self) -> usize {
        self.current.as_ref().map_or(0, |instance| instance.slot)
    }

    async fn listens(&self, process: &mut Process, slot: usize) -> bool {
        let begun = Instant::now();
        while process.ended().is_none() && begun.elapsed() < START_DEADLINE {
            // A socket that was handed over takes connections before anybody is there to accept them.
            let ops = timeout(OPS_DEADLINE, TcpStream::connect(self.ops[slot].address())).await;
            let open = self.socket.is_some()
                || matches!(timeout(OPS_DEADLINE, TcpStream::connect(self.address())).await, Ok(Ok(_)));
            if open && matches!(ops, Ok(Ok(_))) {
                return true;
            }
            sleep(LOOK_EVERY).await;
        }
        false
    }

    fn spawn(&mut self, slot: usize) -> Process {
        let data = self.setup.disk.data(SLOTS[slot]);
        let mut command = match &self.socket {
            Some(_) => {
                // The listener comes as stdin, and goes on as the third descriptor, where it is looked for.
                let script = "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"";
                let mut shell = self.setup.disk.command(Path::new("sh"));
                shell.args(["-c", script, "sh"]).arg(self.setup.binary);
                shell
            }
            None => self.setup.sluiced(&[]),
        };
        let (listen, ops) = (self.address().to_string(), self.ops[slot].address().to_string());
        command.args(["serve", "--listen", &listen, "--ops-listen", &ops, "--log-format", "json"]);
        command.arg(format!("--receiver=github=text:{SECRET}")).arg("--data-dir").arg(&data);
        command.args(&self.setup.queue);
        let dice = self.random.number();
        self.setup.disk.load(self.setup.shims, &mut command, &self.setup.store(&data), dice);
        let stdin = match &self.socket {
            Some(socket) => {
                Stdio::from(std::os::fd::OwnedFd::from(socket.try_clone().expect("a socket can be copied")))
            }
            None => Stdio::null(),
        };
        Process::spawn_with("sluiced", &mut command, stdin, &self.setup.log)
    }
}

/// How a daemon may end whose disk has failed: by itself, or forced out by what was the second word to it then.
const AFTER_FAILURE: [i32; 2] = [1, 143];

/// SIGTERM, and how it ends. One whose disk `fails` may have been ending by itself already.
async fn end(process: &mut Process, fails: bool) -> Result<(), String> {
    process.terminate();
    let begun = Instant::now();
    while begun.elapsed() < STOP_DEADLINE {
        if let Some(status) = process.ended() {
            let well =
                status.success() || fails && status.code().is_some_and(|code| AFTER_FAILURE.contains(&code));
            return if well { Ok(()) } else { Err(format!("after SIGTERM: {status}")) };
        }
        sleep(LOOK_EVERY).await;
    }
    Err(format!("not ended {STOP_DEADLINE:?} after SIGTERM"))
}
