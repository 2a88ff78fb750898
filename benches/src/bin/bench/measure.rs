//! Runs of daemon and floor under one load.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use sluiced_benches::bounds;
use sluiced_benches::report::Report;
use sluiced_test_brokers::Port;
use tempfile::TempDir;

use crate::Failure;
use crate::backend::Backend;
use crate::broker::Broker;
use crate::results::{Load, Pair};
use crate::server::Server;

/// Made up.
const SECRET: &str = "it-is-only-a-benchmark's-secret";

/// The two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Floor,
    Daemon,
}

/// The programs, and a directory on the disk that they are on.
pub(crate) struct Programs {
    daemon: PathBuf,
    floor: PathBuf,
    load: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Programs {
    /// The others are built into the directory of this one.
    pub(crate) fn find(daemon: Option<PathBuf>) -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let beside = |name: &str| own.with_file_name(name);
        let target = own.parent().and_then(Path::parent).ok_or("this program isn't in a target directory")?;
        let dir = target.join("bench");
        std::fs::create_dir_all(&dir)?;
        let daemon = daemon.unwrap_or_else(|| beside("sluiced")).canonicalize();
        let daemon = daemon.map_err(|error| format!("--daemon: {error}"))?;
        Ok(Self { daemon, floor: beside("floor"), load: beside("load"), dir })
    }

    /// Gone with the value.
    pub(crate) fn fresh_dir(&self) -> Result<TempDir, Failure> {
        Ok(tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir)?)
    }
}

/// What is sent, how, and for how long.
#[derive(Clone)]
pub(crate) struct Amount {
    /// Bytes of a body.
    pub(crate) size: usize,
    pub(crate) load: Load,
    pub(crate) seconds: f64,
    pub(crate) warm_up: f64,
    pub(crate) path: String,
}

impl Default for Amount {
    fn default() -> Self {
        Self {
            size: 1024,
            load: Load { connections: bounds::CONNECTIONS_CLOSED, rate: None },
            seconds: 4.0,
            warm_up: 1.0,
            path: "/api/webhooks/incoming/github".to_owned(),
        }
    }
}

/// What a run has besides: variables, and flags of the daemon.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    pub(crate) flags: Vec<String>,
}

/// Where runs take place.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) backend: Backend,
    pub(crate) broker: &'a Broker,
}

impl Site<'_> {
    /// Starts one of the two, with everything of its own in `dir`.
    pub(crate) async fn start(&self, who: Who, dir: &Path, extras: &Extras) -> Result<Server, Failure> {
        let port = Port::take();
        let (name, command, _ops) = match who {
            Who::Floor => ("floor", self.floor(&port, dir), None),
            Who::Daemon => {
                let ops = Port::take();
                ("sluiced", self.daemon(&port, &ops, dir, extras)?, Some(ops))
            }
        };
        let mut command = command;
        command.envs(extras.variables.iter().map(|(name, value)| (name, value)));
        Server::start(name, command, port, &log(dir)).await
    }

    fn floor(&self, port: &Port, dir: &Path) -> Command {
        let mut command = Command::new(&self.programs.floor);
        command.args(["--listen", &port.address().to_string(), "--secret", SECRET]);
        command.args(self.backend.floor_flags(&self.broker.url(), dir));
        command
    }

    fn daemon(&self, port: &Port, ops: &Port, dir: &Path, extras: &Extras) -> Result<Command, Failure> {
        let mut command = Command::new(&self.programs.daemon);
        command.args(["serve", "--listen", &port.address().to_string()]);
        command.args(["--ops-listen", &ops.address().to_string(), "--data-dir"]).arg(dir.join("data"));
        command.args(self.backend.daemon_flags(&self.broker.url()));
        if extras.flags.is_empty() {
            command.arg(format!("--receiver=github=file:{}", secret_file(dir)?.display()));
        }
        command.args(&extras.flags);
        Ok(command)
    }

    /// Has the load sent to a server.
    pub(crate) async fn load(&self, server: &Server, amount: &Amount) -> Result<Report, Failure> {
        let Amount { size, load, seconds, warm_up, path } = amount;
        let mut command = tokio::process::Command::new(&self.programs.load);
        command.args(["--to", &server.address().to_string(), "--path", path, "--secret", SECRET]);
        command.args(["--size", &size.to_string(), "--connections", &load.connections.to_string()]);
        command.args(["--seconds", &seconds.to_string(), "--warm-up", &warm_up.to_string()]);
        command.args(["--pid", &server.pid().to_string()]);
        command.args(load.rate.map(|rate| format!("--rate={rate}")));
        if self.backend == Backend::Refuse {
            command.arg("--forge");
        }
        let output = command.kill_on_drop(true).output().await?;
        if !output.status.success() {
            return Err(format!("load: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Has the daemon make its queue, and gives that the time which a new one needs.
    pub(crate) async fn declare(&self) -> Result<(), Failure> {
        if matches!(self.broker, Broker::None) {
            return Ok(());
        }
        let dir = self.programs.fresh_dir()?;
        let daemon = self.start(Who::Daemon, dir.path(), &Extras::default()).await?;
        self.broker.wait_for_destination().await?;
        tokio::time::sleep(bounds::NEW_QUEUE).await;
        daemon.stop().await
    }

    /// One run of each, right after the other; who is first changes with the turn.
    pub(crate) async fn pair(&self, amount: &Amount, turn: usize) -> Result<Pair, Failure> {
        if turn.is_multiple_of(2) {
            let (floor, _) = self.run(Who::Floor, amount).await?;
            let (daemon, spooled) = self.run(Who::Daemon, amount).await?;
            Ok(Pair { floor, daemon, spooled })
        } else {
            let (daemon, spooled) = self.run(Who::Daemon, amount).await?;
            let (floor, _) = self.run(Who::Floor, amount).await?;
            Ok(Pair { floor, daemon, spooled })
        }
    }

    /// The report, and how many webhooks went to a spool.
    async fn run(&self, who: Who, amount: &Amount) -> Result<(Report, u64), Failure> {
        self.broker.empty().await?;
        let dir = self.programs.fresh_dir()?;
        let server = self.start(who, dir.path(), &Extras::default()).await?;
        let report = self.load(&server, amount).await?;
        server.stop().await?;
        Ok((report, spooled(&log(dir.path()))?))
    }
}

/// A file with the secret that the load signs with.
pub(crate) fn secret_file(dir: &Path) -> Result<PathBuf, Failure> {
    let file = dir.join("secret");
    std::fs::write(&file, SECRET)?;
    Ok(file)
}

fn log(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// The log has a line for each webhook.
fn spooled(log: &Path) -> Result<u64, Failure> {
    let mut count = 0;
    for line in BufReader::new(File::open(log)?).split(b'\n') {
        let word = br#""durable":"spool""#;
        count += u64::from(line?.windows(word.len()).any(|window| window == word));
    }
    Ok(count)
}
