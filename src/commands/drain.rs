//! `sluiced drain`: empties a data directory's spool into its broker.

use clap::ArgMatches;
use sluiced_queue::spool::Left;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Failure;
use super::signals::Signals;
use crate::backend;
use crate::backend::remote::{Remote, describe};
use crate::bounds::DRAIN_PATIENCE;
use crate::cli::DrainFlags;
use crate::config::resolve_drain;
use crate::log::Logger;

/// Drains until nothing is left, until the broker has taken nothing for [`DRAIN_PATIENCE`], or until a signal.
///
/// # Errors
/// [`Failure::Config`] while `serve` has the spool; [`Failure::Running`], with the count, when something is
/// left.
pub async fn run(flags: &DrainFlags, matches: &ArgMatches) -> Result<(), Failure> {
    let (config, handlers, format, level) = resolve_drain(flags, matches)?;
    let logger = Logger::start_on(std::io::stderr(), format, level);
    let mut signals = Signals::new().map_err(Failure::Running)?;
    let Some(remote) = backend::open_to_drain(&config, &handlers, flags.all).await? else {
        println!("There is no spool in {}.", config.data_dir.display());
        return Ok(());
    };
    let result = tokio::select! {
        result = drain(&remote) => result,
        (signal, _) = signals.next() => Err(format!("{signal}: {}", left(&remote).await)),
    };
    remote.close(Instant::now() + DRAIN_PATIENCE / 10).await;
    // The log's last lines go out on a thread of their own; waiting for it blocks only the end.
    let _ = tokio::task::spawn_blocking(move || logger.close()).await;
    let drained = result.map_err(Failure::Running)?;
    if !remote.foreign().is_empty() {
        return Err(Failure::Running(format!(
            "drained {drained}; there are {} besides, which isn't configured: use the flags or the file that they \
             were spooled with, or --all",
            describe(remote.foreign())
        )));
    }
    println!("The spool is empty; {drained} went to the broker.");
    Ok(())
}

/// How many went to the broker; or what is left, and why.
async fn drain(remote: &Remote) -> Result<u64, String> {
    let mut draining = JoinSet::new();
    for spooled in remote.spools() {
        let spooled = spooled.clone();
        // Each to its end: one that is stuck must not cut the others short.
        draining.spawn(async move { spooled.drained(DRAIN_PATIENCE).await });
    }
    let (mut total, mut stuck) = (0, None);
    while let Some(ended) = draining.join_next().await {
        match ended.map_err(|panicked| panicked.to_string())? {
            Ok(drained) => total += drained,
            Err(Left { why, .. }) => stuck = Some(why.unwrap_or_else(|| "it confirms nothing".into())),
        }
    }
    match stuck {
        None => Ok(total),
        Some(why) => {
            let patience = DRAIN_PATIENCE.as_secs();
            Err(format!("the broker took nothing for {patience} s ({why}): {}", left(remote).await))
        }
    }
}

async fn left(remote: &Remote) -> String {
    let mut messages = 0;
    for spooled in remote.spools() {
        use sluiced_queue::WebHookQueueHandler;
        messages += spooled.depth().await.unwrap_or_default().messages;
    }
    format!("{messages} messages are left in the spool")
}
