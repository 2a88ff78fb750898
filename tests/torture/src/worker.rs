//! A worker beside the daemon: `sluiced work --forward` to an endpoint of ours, killed and started again.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sluiced_test_brokers::Process;
use tokio::time::{sleep, sleep_until};

use crate::bounds::{LOOK_EVERY, STOP_DEADLINE, WORKER_CONCURRENCY, WORKER_YOUNG};
use crate::daemon;
use crate::fault::Fault;
use crate::plan::Step;
use crate::report::Happened;
use crate::sink::Sink;

/// A worker, and what it has handed on.
#[derive(Debug)]
pub struct Worker {
    binary: PathBuf,
    data: PathBuf,
    log: PathBuf,
    sink: Sink,
    /// None while it is down.
    process: Option<Process>,
    started: Instant,
}

const SIGTERM: i32 = 15;

impl Worker {
    /// Starts one on a data directory, whose store is there.
    pub async fn start(binary: &Path, data: PathBuf, log: PathBuf) -> Self {
        let sink = Sink::open().await;
        let process = Some(spawn(binary, &data, &log, &sink));
        Self { binary: binary.to_owned(), data, log, sink, process, started: Instant::now() }
    }

    /// Its steps, one after the other: what happened, and what wasn't as it should be.
    pub async fn suffer(&mut self, start: Instant, steps: &[Step]) -> (Vec<Happened>, Vec<String>) {
        let (mut happened, mut notes) = (Vec::new(), Vec::new());
        for step in steps {
            sleep_until((start + step.at).into()).await;
            let from = Instant::now();
            match step.fault {
                Fault::WorkerKill => self.again(step.lasts).await,
                Fault::WorkerTerm => {
                    notes.extend(self.end().await.err());
                    self.again(step.lasts).await;
                }
                _ => {
                    self.process.iter().for_each(Process::freeze);
                    sleep(step.lasts).await;
                    self.process.iter().for_each(Process::thaw);
                }
            }
            happened.push(Happened { fault: step.fault, from, to: Instant::now() });
        }
        (happened, notes)
    }

    /// Ends it; what it has handed on is added to `into`.
    ///
    /// # Errors
    /// Says how it ended, if not well.
    pub async fn stop(mut self, into: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let ended = self.end().await;
        into.extend(self.sink.taken());
        ended
    }

    /// `kill -9`, if it runs, and a new start after a while.
    async fn again(&mut self, down: Duration) {
        self.process = None;
        sleep(down).await;
        self.process = Some(spawn(&self.binary, &self.data, &self.log, &self.sink));
        self.started = Instant::now();
    }

    /// SIGTERM, and its end.
    async fn end(&mut self) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        if let Some(status) = process.ended() {
            return Err(format!("the worker ended by itself: {status}, see {}", self.log.display()));
        }
        process.terminate();
        let begun = Instant::now();
        while begun.elapsed() < STOP_DEADLINE {
            if let Some(status) = process.ended() {
                // Until a program listens to a signal, the signal ends it; it has nothing in hand then.
                let young = begun - self.started < WORKER_YOUNG && status.signal() == Some(SIGTERM);
                let well = status.success() || young;
                return if well { Ok(()) } else { Err(format!("the worker, after SIGTERM: {status}")) };
            }
            sleep(LOOK_EVERY).await;
        }
        Err(format!("the worker, not ended {STOP_DEADLINE:?} after SIGTERM"))
    }
}

fn spawn(binary: &Path, data: &Path, log: &Path, sink: &Sink) -> Process {
    let mut command = daemon::bare(Command::new(binary));
    command
        .args(["work", "--concurrency", WORKER_CONCURRENCY, "--forward", &sink.url(), "--data-dir"])
        .arg(data);
    Process::spawn("sluiced work", &mut command, log)
}
