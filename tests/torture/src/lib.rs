//! Floods the daemon with signed webhooks, breaks it, its broker, its disk and its clock on a schedule that a seed
//! decides, and counts what was acknowledged and isn't there afterwards. In reading order:
//!
//! * [`options`]: the command line. [`bounds`]: every limit, with its reason.
//! * [`round`]: one round, top to bottom.
//! * [`fault`], [`plan`], [`random`]: what can happen, and what happens when, as a seed has it.
//! * [`webhook`], [`load`]: what is sent, and the senders.
//! * [`daemon`], [`disk`], [`shims`], [`ops`]: the daemon and what it stands on.
//! * [`broker`], [`front`], [`jetstream`]: the broker and the way to it.
//! * [`reader`], [`ledger`], [`report`]: what came out of the queue, the count, and the words on it.
//!
//! It shares no code with the daemon. What it can't do is a panic that says why.

pub mod bounds;
pub mod broker;
pub mod daemon;
pub mod disk;
pub mod fault;
pub mod front;
pub mod jetstream;
pub mod ledger;
pub mod load;
pub mod ops;
pub mod options;
pub mod plan;
pub mod random;
pub mod reader;
pub mod report;
pub mod round;
pub mod shims;
pub mod webhook;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::broker::Broker;
use crate::options::{Options, Queue};
use crate::plan::Plan;
use crate::report::Summary;
use crate::round::Rig;
use crate::shims::Shims;

/// Runs the rounds, and prints a line for each and a summary; says whether every promise was kept.
///
/// # Errors
/// When it can't be done: says what is missing.
///
/// # Panics
/// When a part of it doesn't do what it must, the daemon's not starting among that.
pub async fn run(options: &Options) -> Result<bool, String> {
    let first = options.seed.unwrap_or_else(now);
    let plans = (0..options.rounds).map(|round| Plan::new(options, first.wrapping_add(round)));
    if options.plan {
        plans.for_each(|plan| println!("seed {}: {plan}", plan.seed));
        return Ok(true);
    }
    let binary = binary(options.binary.as_deref())?;
    let libraries = directory(None)?;
    let mut rig = Rig {
        binary,
        shims: Shims::compile(libraries.path())?,
        broker: Broker::start(options.queue).await,
        rate: options.rate.unwrap_or(if options.queue == Queue::Azure { 60 } else { 300 }),
        senders: options.senders,
    };
    println!("{} in front of {:?}, from seed {first}", rig.binary.display(), options.queue);
    let mut summary = Summary::default();
    for plan in plans {
        let dir = directory(options.keep.as_deref())?;
        let round = round::run(&mut rig, &plan, dir.path()).await?;
        println!("{}", round.line(&format!("{:?}, {plan}", plan.ack).to_lowercase()));
        if round.is_wrong() {
            println!("  its files are in {}", dir.keep().display());
        }
        summary.add(round);
    }
    summary.print(options.duplicates);
    Ok(summary.is_good(options.duplicates))
}

/// What is broken may depend on the file system, so it is the one that the caller names.
fn directory(parent: Option<&Path>) -> Result<tempfile::TempDir, String> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("torture-");
    let made = match parent {
        Some(parent) => std::fs::create_dir_all(parent).and_then(|()| builder.tempdir_in(parent)),
        None => builder.tempdir(),
    };
    made.map_err(|error| format!("no directory for the rounds can be made: {error}"))
}

/// The daemon's program: given, or beside this one.
fn binary(given: Option<&Path>) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let found = given.map_or_else(|| own.with_file_name("sluiced"), Path::to_owned);
    let found = std::path::absolute(&found).unwrap_or(found);
    if found.is_file() {
        return Ok(found);
    }
    Err(format!(
        "{} isn't there: build the daemon (`cargo build`), or name it with --binary",
        found.display()
    ))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
