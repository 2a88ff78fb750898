//! One run of each, daemon and floor, under the same load.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sluiced_benches::bounds;
use sluiced_benches::report::Report;
use sluiced_test_brokers::Port;
use tempfile::TempDir;

use crate::Failure;
use crate::backend::Backend;
use crate::broker::Broker;
use crate::results::Pair;
use crate::server::Server;

/// Made up.
const SECRET: &str = "it-is-only-a-benchmark's-secret";

/// How webhooks are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) connections: u16,
    /// Webhooks a second; without it as many as are answered.
    pub(crate) rate: Option<u64>,
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

    async fn daemon(&self, backend: Backend, broker: &Broker, dir: &Path) -> Result<Server, Failure> {
        let (port, ops) = (Port::take(), Port::take());
        let secret = dir.join("secret");
        std::fs::write(&secret, SECRET)?;
        let mut command = Command::new(&self.daemon);
        command.args(["serve", "--listen", &port.address().to_string()]);
        command.args(["--ops-listen", &ops.address().to_string(), "--data-dir"]).arg(dir.join("data"));
        command.arg(format!("--receiver=github=file:{}", secret.display()));
        command.args(backend.daemon_flags(&broker.url()));
        Server::start("sluiced", command, port, &dir.join("log")).await
    }

    async fn floor(&self, backend: Backend, broker: &Broker, dir: &Path) -> Result<Server, Failure> {
        let port = Port::take();
        let mut command = Command::new(&self.floor);
        command.args(["--listen", &port.address().to_string(), "--secret", SECRET]);
        command.args(backend.floor_flags(&broker.url(), dir));
        Server::start("floor", command, port, &dir.join("log")).await
    }

    fn fresh_dir(&self) -> Result<TempDir, Failure> {
        Ok(tempfile::Builder::new().prefix("run-").tempdir_in(&self.dir)?)
    }

    async fn load(
        &self,
        server: &Server,
        backend: Backend,
        (size, load, seconds): Amount,
    ) -> Result<Report, Failure> {
        let mut command = tokio::process::Command::new(&self.load);
        command.args(["--to", &server.address().to_string(), "--secret", SECRET]);
        command.args(["--size", &size.to_string(), "--connections", &load.connections.to_string()]);
        command.args(["--seconds", &seconds.to_string(), "--pid", &server.pid().to_string()]);
        command.args(load.rate.map(|rate| format!("--rate={rate}")));
        if backend == Backend::Refuse {
            command.arg("--forge");
        }
        let output = command.kill_on_drop(true).output().await?;
        if !output.status.success() {
            return Err(format!("load: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Bytes of a body, how they are sent, and seconds.
type Amount = (usize, Load, f64);

/// Has the daemon make its queue, and gives that the time which a new one needs (a daemon spools meanwhile).
pub(crate) async fn declare(programs: &Programs, backend: Backend, broker: &Broker) -> Result<(), Failure> {
    if matches!(broker, Broker::None) {
        return Ok(());
    }
    let dir = programs.fresh_dir()?;
    let daemon = programs.daemon(backend, broker, dir.path()).await?;
    broker.wait_for_destination().await?;
    tokio::time::sleep(bounds::NEW_QUEUE).await;
    daemon.stop().await
}

/// Daemon and floor, the one or the other first.
pub(crate) async fn pair(
    programs: &Programs,
    (backend, broker): (Backend, &Broker),
    amount: Amount,
    turn: usize,
) -> Result<Pair, Failure> {
    let floor = async || -> Result<Report, Failure> {
        broker.empty().await?;
        let dir = programs.fresh_dir()?;
        let server = programs.floor(backend, broker, dir.path()).await?;
        let report = programs.load(&server, backend, amount).await?;
        server.stop().await?;
        Ok(report)
    };
    let daemon = async || -> Result<Report, Failure> {
        broker.empty().await?;
        let dir = programs.fresh_dir()?;
        let server = programs.daemon(backend, broker, dir.path()).await?;
        let report = programs.load(&server, backend, amount).await?;
        server.stop().await?;
        Ok(report)
    };
    if turn.is_multiple_of(2) {
        let floor = floor().await?;
        Ok(Pair { floor, daemon: daemon().await? })
    } else {
        let daemon = daemon().await?;
        Ok(Pair { floor: floor().await?, daemon })
    }
}
