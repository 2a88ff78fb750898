//! `sluiced work`: consumes the queue, and prints, executes or forwards each message.

use std::pin::pin;
use std::sync::Arc;

use clap::ArgMatches;
use clap::parser::ValueSource;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::signals::{Signals, exit_at_once};
use crate::cli::WorkFlags;
use crate::config::{QueueConfig, resolve_work};
use crate::log::Logger;
use crate::work::WorkError;
use crate::work::attempt::Action;
use crate::work::backoff::Backoff;
use crate::work::engine::Engine;
use crate::work::exec::Exec;
use crate::work::forward::Forward;
use crate::work::group::Groups;
use crate::work::intake::Intake;
use crate::work::print::print;
use crate::work::report::Report;
use crate::work::worker::Worker;

/// Consumes the queue until the limit, until it is empty, or until a signal. A second signal ends everything
/// at once, commands included.
///
/// # Errors
/// [`Failure::Usage`] unless it is said in one way what to do; [`Failure::Running`] when stdout is closed or
/// the queue can't be used.
pub async fn run(flags: &WorkFlags, matches: &ArgMatches) -> Result<(), Failure> {
    let (config, format, level) = resolve_work(flags, matches)?;
    let groups = Groups::default();
    let way = way(flags, matches, &groups)?;
    let mut signals = Signals::new().map_err(Failure::Running)?;
    let logger = Logger::start_on(std::io::stderr(), format, level);
    let report = Arc::new(Report::new(logger.clone()));
    let stop = CancellationToken::new();
    let mut work = pin!(work(flags, &config, way, report.clone(), &stop));
    let result = tokio::select! {
        result = &mut work => result,
        (signal, _) = signals.next() => {
            tracing::info!(signal, "stopping");
            stop.cancel();
            tokio::select! {
                result = work => result,
                (_, code) = signals.next() => {
                    groups.kill_all();
                    exit_at_once(code)
                }
            }
        }
    };
    report.summary();
    // The log's last lines go out on a thread of their own; waiting for it blocks only the end.
    let _ = tokio::task::spawn_blocking(move || logger.close()).await;
    Ok(result?)
}

/// What is done with messages.
enum Way {
    Print,
    Act(Action),
}

async fn work(
    flags: &WorkFlags,
    config: &QueueConfig,
    way: Way,
    report: Arc<Report>,
    stop: &CancellationToken,
) -> Result<(), WorkError> {
    let opening = Intake::open(config, report);
    let Some(intake) = stop.run_until_cancelled(opening).await.transpose()? else { return Ok(()) };
    let action = match way {
        Way::Print => return print(intake, flags.limit, flags.exit_when_empty, stop).await,
        Way::Act(action) => action,
    };
    announce(flags, config, &action);
    let worker = Worker {
        queue: intake.queue(),
        action,
        timeout: flags.timeout.0,
        attempts_max: flags.max_attempts,
        backoff: Backoff { first: flags.retry_first.0, cap: flags.retry_cap.0 },
    };
    let engine = Engine {
        intake,
        worker: Arc::new(worker),
        concurrency: slots(flags),
        limit: flags.limit,
        exit_when_empty: flags.exit_when_empty,
    };
    engine.run(stop).await
}

fn announce(flags: &WorkFlags, config: &QueueConfig, action: &Action) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        backend = config.backend.as_str(),
        queue = config.name.as_str(),
        action = action.describe(),
        concurrency = flags.concurrency,
        timeout = %flags.timeout,
        max_attempts = flags.max_attempts,
        "working"
    );
}

/// `--print`, `--exec` or `--forward`: exactly one on the command line, or else exactly one in the environment.
fn way(flags: &WorkFlags, matches: &ArgMatches, groups: &Groups) -> Result<Way, Failure> {
    check_times(flags)?;
    let set = [("print", flags.print), ("exec", flags.exec.is_some()), ("forward", flags.forward.is_some())];
    let given = |source| {
        let here = move |(id, set): &(&str, bool)| *set && matches.value_source(id) == Some(source);
        set.iter().filter(|way| here(way)).map(|(id, _)| *id).collect::<Vec<_>>()
    };
    let mut ways = given(ValueSource::CommandLine);
    if ways.is_empty() {
        ways = given(ValueSource::EnvVariable);
    }
    match (ways.as_slice(), &flags.exec, &flags.forward) {
        (["print"], ..) => Ok(Way::Print),
        (["exec"], Some(words), _) => Ok(Way::Act(Action::Exec(Exec::new(words, groups.clone())))),
        (["forward"], _, Some(url)) => {
            let forward = Forward::new(url, slots(flags));
            let forward = forward.map_err(|why| Failure::Usage(format!("--forward: {why}")))?;
            Ok(Way::Act(Action::Forward(Box::new(forward))))
        }
        ([], ..) => Err(Failure::Usage(
            "say what to do with each message: --print, --exec CMD… or --forward URL".into(),
        )),
        _ => Err(Failure::Usage(format!("--{} exclude each other; keep one", ways.join(" and --")))),
    }
}

fn check_times(flags: &WorkFlags) -> Result<(), Failure> {
    if flags.timeout.0.is_zero() {
        return Err(Failure::Usage("--timeout 0s: nothing could ever be done within it".into()));
    }
    if flags.retry_first.0 > flags.retry_cap.0 {
        return Err(Failure::Usage(format!(
            "--retry-first {} is more than --retry-cap {}",
            flags.retry_first, flags.retry_cap
        )));
    }
    Ok(())
}

fn slots(flags: &WorkFlags) -> usize {
    // Bounded by clap.
    usize::try_from(flags.concurrency).unwrap_or(1)
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Config(error) => Self::Config(error),
            other => Self::Running(other.to_string()),
        }
    }
}
