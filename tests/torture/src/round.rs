//! One round, top to bottom: a daemon, load, what its plan says, quiet, and a count.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use crate::bounds::{CALM, LOOK_EVERY, QUIET_DEADLINE, READS_MAX};
use crate::broker::Broker;
use crate::daemon::{Daemon, Setup};
use crate::disk::Disk;
use crate::fault::Fault;
use crate::ledger::{Verdict, judge};
use crate::load::Load;
use crate::plan::{Plan, Step};
use crate::reader::lines;
use crate::report::{Happened, Round};
use crate::shims::Shims;
use crate::worker::Worker;

/// What rounds have in common, until one breaks it.
#[derive(Debug)]
pub struct Rig {
    /// The broker, if there is one.
    pub broker: Option<Broker>,
    /// Webhooks a second.
    pub rate: u32,
    /// Senders at once.
    pub senders: u32,
}

/// Runs one in a directory of its own, which is there afterwards.
///
/// # Errors
/// When it can't be begun.
///
/// # Panics
/// When a part of the rig doesn't do what it must, or the daemon doesn't start.
pub async fn run(
    rig: &mut Rig,
    binary: &Path,
    shims: &Shims,
    plan: &Plan,
    dir: &Path,
) -> Result<Round, String> {
    let begun = Instant::now();
    let queue = match &mut rig.broker {
        Some(broker) => broker.flags(plan.ack, plan.exchange, dir).await?,
        None => Vec::new(),
    };
    let name = format!("s{}-", plan.seed);
    let setup = Setup {
        binary,
        shims,
        disk: Disk::make(plan.disk, dir).await,
        log: dir.join("daemon.log"),
        queue,
        spools: rig.broker.is_some(),
    };
    let mut daemon = Daemon::start(setup, plan.handed_over, plan.seed).await;
    let mut worker = match &plan.worker {
        Some(_) => Some(Worker::start(binary, daemon.data_dirs()[0].clone(), dir.join("worker.log")).await),
        None => None,
    };
    let load = Load::start(daemon.address(), &name, rig.rate, rig.senders);
    let (mut happened, mut notes, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    let start = Instant::now();
    {
        let broker = suffer(rig.broker.as_mut(), start, &plan.broker, &mut messages);
        let daemon = torment(&mut daemon, start, &plan.daemon, broker);
        let worker = async {
            match (&mut worker, &plan.worker) {
                (Some(worker), Some(steps)) => worker.suffer(start, steps).await,
                _ => Told::default(),
            }
        };
        let ((of_daemon, of_broker), of_worker) = tokio::join!(daemon, worker);
        for (faults, words) in [of_daemon, of_broker, of_worker] {
            happened.extend(faults);
            notes.extend(words);
        }
    }
    daemon.tend(CALM).await;
    let sent = load.stop().await;
    notes.extend(quiet(&mut daemon).await.err());
    notes.extend(daemon.stop().await.err());
    if let Some(worker) = worker {
        notes.extend(worker.stop(&mut messages).await.err());
    }
    let mut verdict = Verdict::default();
    for read in 0..READS_MAX {
        let failed = read_all(rig, &daemon, &mut messages).await;
        verdict = judge(&name, &sent, &messages);
        let Some(broker) = rig.broker.as_mut().filter(|_| !verdict.lost.is_empty()) else {
            notes.extend(failed);
            break;
        };
        if read + 1 < READS_MAX {
            // One that takes nothing any more may be the broker's own trouble, which a new start ends.
            if !failed.is_empty() {
                broker.again().await;
                notes.push("the broker was started again, because it took nothing any more".into());
            }
            sleep(CALM).await;
        }
        notes.extend(failed);
    }
    let exits = daemon.exits;
    Ok(Round { seed: plan.seed, verdict, sent, happened, exits, notes, took: begun.elapsed() })
}

/// What happened, and what wasn't as it should be.
type Told = (Vec<Happened>, Vec<String>);

/// The broker's steps, one after the other.
async fn suffer(
    broker: Option<&mut Broker>,
    start: Instant,
    steps: &[Step],
    taken: &mut Vec<Vec<u8>>,
) -> Told {
    let mut told = Told::default();
    let Some(broker) = broker else { return told };
    for step in steps {
        sleep_until((start + step.at).into()).await;
        let from = Instant::now();
        told.1.extend(broker.suffer(step, taken).await.err());
        told.0.push(Happened { fault: step.fault, from, to: Instant::now() });
    }
    told
}

/// The daemon's steps, one after the other, while the broker has its own; a daemon that ends by itself is started
/// again until both are over.
async fn torment(
    daemon: &mut Daemon<'_>,
    start: Instant,
    steps: &[Step],
    broker: impl Future<Output = Told>,
) -> (Told, Told) {
    let mut broker = std::pin::pin!(broker);
    let mut of_broker = None;
    let own = async {
        let mut told = Told::default();
        for step in steps {
            daemon.tend((start + step.at).saturating_duration_since(Instant::now())).await;
            let from = Instant::now();
            told.1.extend(inflict(daemon, step).await.err());
            told.0.push(Happened { fault: step.fault, from, to: Instant::now() });
        }
        told
    };
    let mut own = std::pin::pin!(own);
    let told = loop {
        tokio::select! {
            told = &mut own => break told,
            told = &mut broker, if of_broker.is_none() => of_broker = Some(told),
        }
    };
    let of_broker = match of_broker {
        Some(told) => told,
        None => broker.await,
    };
    (told, of_broker)
}

/// One thing that happens to the daemon, and its end.
async fn inflict(daemon: &mut Daemon<'_>, step: &Step) -> Result<(), String> {
    let hit_again = step.dice.is_multiple_of(3);
    match step.fault {
        Fault::Kill => daemon.kill(step.lasts).await,
        Fault::Freeze => daemon.freeze(step.lasts).await,
        Fault::Term => daemon.replace(step.lasts).await?,
        Fault::Roll => daemon.roll(step.lasts).await?,
        Fault::Clock => {
            daemon.setup.disk.jump(jump(step.dice));
            daemon.tend(step.lasts / 2).await;
            if hit_again {
                daemon.kill(Duration::ZERO).await;
            }
            daemon.tend(step.lasts / 2).await;
            daemon.setup.disk.jump(0);
        }
        Fault::DiskFull => {
            daemon.setup.disk.fill();
            daemon.tend(step.lasts / 2).await;
            if hit_again {
                let slot = daemon.put_down();
                daemon.try_on(slot, step.lasts / 2).await;
                daemon.setup.disk.empty();
                daemon.up(slot).await;
            } else {
                daemon.tend(step.lasts / 2).await;
                daemon.setup.disk.empty();
            }
        }
        Fault::DiskReadonly => {
            let slot = daemon.put_down();
            daemon.setup.disk.remount(false).await;
            daemon.try_on(slot, step.lasts).await;
            daemon.setup.disk.remount(true).await;
            daemon.up(slot).await;
        }
        Fault::EioWrite | Fault::EioSync | Fault::SlowSync => fail(daemon, step).await,
        Fault::Power => {
            daemon.setup.disk.power(true);
            daemon.await_end(step.lasts, |disk| disk.power(false)).await;
        }
        _ => {}
    }
    Ok(())
}

/// Seconds that a wall clock jumps by: some, hours, a year.
fn jump(dice: u64) -> i64 {
    const JUMPS: [i64; 8] = [7, -7, 400, -400, 7_200, -7_200, 31_536_000, -31_536_000];
    JUMPS[(dice / 3 % JUMPS.len() as u64) as usize]
}

/// A disk that fails for a while. A daemon that finds it so may end, and can't start before it is over.
async fn fail(daemon: &mut Daemon<'_>, step: &Step) {
    let rule = match step.fault {
        Fault::EioWrite => "write * fail 5\n",
        Fault::EioSync => "sync * fail 5\n",
        _ => "sync * delay 100\n",
    };
    daemon.setup.disk.rule(rule);
    if step.fault == Fault::SlowSync {
        daemon.tend(step.lasts).await;
    } else {
        sleep(step.lasts).await;
    }
    daemon.setup.disk.rule("");
    daemon.revive().await;
}

/// Waits until the daemon has nothing more to do.
async fn quiet(daemon: &mut Daemon<'_>) -> Result<(), String> {
    daemon.revive().await;
    if !daemon.setup.spools {
        return Ok(());
    }
    let begun = Instant::now();
    let mut left = None;
    while begun.elapsed() < QUIET_DEADLINE {
        daemon.revive().await;
        left = daemon.metric("sluiced_spool_messages").await;
        if left == Some(0) {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    Err(format!("{left:?} messages are still in the spool {QUIET_DEADLINE:?} after the last fault"))
}

/// Everything that is in the queue, and in the directories of daemons that were replaced. What can't be had of it is
/// told, and the rest is read all the same.
async fn read_all(rig: &Rig, daemon: &Daemon<'_>, into: &mut Vec<Vec<u8>>) -> Vec<String> {
    let mut failed = Vec::new();
    for data in daemon.data_dirs() {
        if !daemon.setup.has_store(&data) {
            continue;
        }
        let data = data.to_string_lossy();
        let work = ["work", "--print", "--exit-when-empty", "--data-dir", &data];
        let drain = ["drain", "--data-dir", &data];
        match &rig.broker {
            None => failed.extend(lines(daemon.setup.sluiced(&work), into).await.err()),
            Some(_) => {
                let mut command = daemon.setup.sluiced(&drain);
                command.args(&daemon.setup.queue);
                failed.extend(lines(command, &mut Vec::new()).await.err());
            }
        }
    }
    if let Some(broker) = &rig.broker {
        failed.extend(broker.reader().read(into).await.err());
    }
    failed
}
