//! Floods the daemon with signed webhooks, breaks it, its broker, its disk and its clock on a schedule that a seed
//! decides, and counts what was acknowledged and isn't there afterwards. In reading order:
//!
//! * [`options`]: the command line. [`bounds`]: every limit, with its reason.
//! * [`round`]: one round, top to bottom.
//! * [`fault`], [`plan`], [`random`]: what can happen, and what happens when, as a seed has it.
//! * [`webhook`], [`load`]: what is sent, and the senders.
//! * [`daemon`], [`disk`], [`shims`], [`ops`]: the daemon and what it stands on.
//! * [`broker`], [`front`], [`jetstream`]: the broker and the way to it. [`worker`], [`sink`]: a worker and the
//!   service behind it.
//! * [`reader`], [`ledger`]: what came out of the queue, and the count. [`report`], [`record`], [`summary`]: the
//!   words on a round, what is kept of it, and the count over many.
//! * [`mod@caught`]: panics as errors.
//!
//! It shares no code with the daemon. A helper that can't go on panics and says why; the round is then
//! begun once more.

pub mod bounds;
pub mod broker;
pub mod caught;
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
pub mod record;
pub mod report;
pub mod round;
pub mod shims;
pub mod sink;
pub mod summary;
pub mod webhook;
pub mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bounds::{BROKER_STARTS_MAX, JUDGEMENTS_MAX};
use crate::broker::Broker;
use crate::caught::caught;
use crate::options::{Options, Queue};
use crate::plan::Plan;
use crate::record::Record;
use crate::round::Rig;
use crate::shims::Shims;
use crate::summary::Summary;

/// Runs the rounds, and prints a line for each and a summary; says whether every promise was kept.
///
/// # Errors
/// When it can't be done, or a round couldn't be judged: says why.
pub async fn run(options: &Options) -> Result<bool, String> {
    if !options.count.is_empty() {
        return count(options);
    }
    let first = options.seed.unwrap_or_else(now);
    let plans = (0..options.rounds).map(|round| Plan::new(options, first.wrapping_add(round)));
    if options.plan {
        plans.for_each(|plan| println!("seed {}: {plan}", plan.seed));
        return Ok(true);
    }
    let binary = binary(options.binary.as_deref())?;
    let version = version(&binary)?;
    let libraries = directory(None)?;
    let shims = Shims::compile(libraries.path())?;
    println!("{} ({version}) in front of {:?}, from seed {first}", binary.display(), options.queue);
    let mut rigs = Rigs { options, binary, shims, ready: None };
    let mut summary = Summary::default();
    let mut unjudged = Vec::new();
    for plan in plans {
        let Some(round) = rigs.judge(&plan, &version).await? else {
            unjudged.push(plan.seed.to_string());
            continue;
        };
        if let Some(file) = &options.record {
            round.append(file)?;
        }
        summary.add(round);
    }
    summary.print(options.duplicates);
    if !unjudged.is_empty() {
        return Err(format!("not judged, twice each: the rounds of the seeds {}", unjudged.join(", ")));
    }
    Ok(summary.is_good(options.duplicates))
}

/// Counts the rounds of earlier runs.
fn count(options: &Options) -> Result<bool, String> {
    let mut summary = Summary::default();
    for file in &options.count {
        Record::read(file)?.into_iter().for_each(|round| summary.add(round));
    }
    summary.print(options.duplicates);
    Ok(summary.is_good(options.duplicates))
}

/// A rig, and whatever makes another when a round has broken it.
struct Rigs<'a> {
    options: &'a Options,
    binary: PathBuf,
    shims: Shims,
    ready: Option<Rig>,
}

impl Rigs<'_> {
    /// One round, and once more if something that isn't the daemon prevents the judgement. `None` when that does so
    /// again.
    async fn judge(&mut self, plan: &Plan, version: &str) -> Result<Option<Record>, String> {
        let mut before = Vec::new();
        for _ in 0..JUDGEMENTS_MAX {
            let mut rig = match self.ready.take() {
                Some(rig) => rig,
                None => self.start().await?,
            };
            let dir = directory(self.options.keep.as_deref())?;
            match caught(round::run(&mut rig, &self.binary, &self.shims, plan, dir.path())).await {
                Ok(round) => {
                    self.ready = Some(rig);
                    let mut round = round?;
                    round.notes.append(&mut before);
                    println!("{}", round.line(&format!("{:?}, {plan}", plan.ack).to_lowercase()));
                    if round.is_wrong() {
                        println!("  its files are in {}", dir.keep().display());
                    }
                    return Ok(Some(round.record(self.options.queue, plan, version)));
                }
                // Whatever state the broker is in, the next one has another.
                Err(why) => {
                    let kept = dir.keep();
                    println!(
                        "seed {}: NOT JUDGED: {why}; its files are in {}; {plan}",
                        plan.seed,
                        kept.display()
                    );
                    before.push(format!("not judged the time before: {why}"));
                }
            }
        }
        Ok(None)
    }

    async fn start(&self) -> Result<Rig, String> {
        let queue = self.options.queue;
        let mut why = String::new();
        for _ in 0..BROKER_STARTS_MAX {
            match caught(Broker::start(queue)).await {
                Ok(broker) => {
                    let rate = self.options.rate.unwrap_or(if queue == Queue::Azure { 60 } else { 300 });
                    return Ok(Rig { broker, rate, senders: self.options.senders });
                }
                Err(panic) => {
                    println!("the broker doesn't come up: {panic}");
                    why = panic;
                }
            }
        }
        Err(format!("the broker came up at none of {BROKER_STARTS_MAX} starts: {why}"))
    }
}

/// What the daemon says of itself.
fn version(binary: &Path) -> Result<String, String> {
    let failed = |why: String| format!("{} --version: {why}", binary.display());
    let output = Command::new(binary).arg("--version").output().map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
    if output.status.success() { Ok(text) } else { Err(failed(output.status.to_string())) }
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
