//! Power loss at random moments, simulated (`tests/power/shim.c`): what isn't synced may be there, or not, or in
//! part. Nothing that was acknowledged is missing and nothing is altered; and the rig sees it when a sync is
//! left out.
//!
//! `SLUICED_TEST_POWER_ROUNDS` runs more rounds, `SLUICED_TEST_POWER_SEED` chooses them: round `n` of a run has
//! the seed `SEED + n`. A seed decides the moment and what becomes of what isn't synced; which thread is where at
//! that moment is the machine's.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use sluiced_embedded::{DeadLetters, EmbeddedConsumer, EmbeddedQueue, NewMessage};
use sluiced_queue::WebHookQueueConsumer;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::child::{self, Process};
use crate::common::{LEASE, claiming, consumer, dir, drain, message_of, random, small_partitions};
use crate::shim::load_power;

/// How the shim ends a process.
const LOST_POWER: i32 = 42;

/// In the child: appends from many tasks, two workers, and an orderly stop now and then. Says what was
/// acknowledged, and what a worker is about to acknowledge.
pub(crate) async fn use_until_the_power_goes(dir: &Path, say: &'static (dyn Fn(&str) + Sync)) {
    for round in 0_u32.. {
        // A worker may be the first to come, and make the log.
        let early = (round % 2 == 1).then(|| consumer(dir));
        let queue = EmbeddedQueue::open(dir, small_partitions()).unwrap();
        let workers = [early.unwrap_or_else(|| consumer(dir)), consumer(dir)];
        let mut tasks = JoinSet::new();
        for n in 0..12 {
            tasks.spawn(append(queue.clone(), n % 2 == 0, say));
        }
        for worker in workers {
            tasks.spawn(work(worker, say));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        // Some appends are cut off in the middle, as by senders that hang up.
        tasks.shutdown().await;
        queue.close().await;
        come_and_go(dir, say).await;
    }
}

/// Workers without a daemon: the first makes the log, another copies it into the database and removes it.
async fn come_and_go(dir: &Path, say: &(dyn Fn(&str) + Sync)) {
    for _ in 0..4 {
        let (first, second) = (consumer(dir), consumer(dir));
        for worker in [first, second] {
            for message in worker.receive(10, LEASE, Duration::ZERO).await.unwrap() {
                say(&format!("W {}", id_in(&message.message).expect("altered")));
                worker.acknowledge(&message).await.unwrap();
            }
            drop(worker);
            // It leaves on its own thread.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn append(queue: EmbeddedQueue, claims: bool, say: &(dyn Fn(&str) + Sync)) {
    loop {
        let id = Uuid::now_v7();
        let message = if claims { claiming(id) } else { NewMessage::new(message_of(id), id) };
        let receipt = queue.add(message).await.unwrap();
        assert!(!receipt.is_duplicate());
        say(&format!("A {id}"));
    }
}

/// Half of them it gives back, so that there are waiting ones too, and stragglers.
async fn work(worker: EmbeddedConsumer, say: &(dyn Fn(&str) + Sync)) {
    loop {
        for (n, message) in
            worker.receive(4, LEASE, Duration::from_millis(20)).await.unwrap().iter().enumerate()
        {
            let id = id_in(&message.message).expect("altered");
            if n % 2 == 0 {
                say(&format!("W {id}"));
                worker.acknowledge(message).await.unwrap();
            } else {
                worker.release(message, Duration::from_millis(50), true).await.unwrap();
            }
        }
    }
}

/// Unless it is altered.
fn id_in(message: &[u8]) -> Option<Uuid> {
    let id = Uuid::from_slice(message.get(..16)?).ok()?;
    (message == message_of(id)).then_some(id)
}

/// A store that loses its power again and again, and what must be in it.
struct Rig {
    dir: tempfile::TempDir,
    acknowledged: HashSet<Uuid>,
    /// May be gone, but their claims are there for a while.
    worked_on: HashSet<Uuid>,
}

impl Rig {
    fn new() -> Self {
        Self { dir: dir(), acknowledged: HashSet::new(), worked_on: HashSet::new() }
    }

    /// Runs the child until the power goes. Says what the shim did, or what went wrong before.
    fn lose_power(&mut self, seed: u64, swallow: Option<&str>) -> Result<String, String> {
        let log = self.dir.path().join("power-log");
        let _ = std::fs::remove_file(&log);
        let mut command = child::command("power", self.dir.path());
        load_power(&mut command, self.dir.path(), seed, &log);
        command.envs(swallow.map(|file| ("POWER_SWALLOW", file)));
        let mut process = Process::start(&mut command);
        for line in process.rest() {
            match line.split_once(' ') {
                Some(("A", id)) => self.acknowledged.insert(id.parse().unwrap()),
                Some(("W", id)) => self.worked_on.insert(id.parse().unwrap()),
                _ => panic!("{line}"),
            };
        }
        let status = process.child.wait().unwrap();
        if status.code() != Some(LOST_POWER) {
            return Err(format!("the store could not be used: {status}"));
        }
        Ok(std::fs::read_to_string(log).unwrap())
    }

    /// Takes everything out; says what is wrong.
    async fn check(&mut self) -> Result<(), String> {
        let opened = EmbeddedQueue::open(self.dir.path(), small_partitions());
        let queue = opened.map_err(|error| error.to_string())?;
        let checked = self.check_contents().await;
        queue.close().await;
        self.acknowledged.clear();
        checked.map(|found| self.worked_on.extend(found))
    }

    async fn check_contents(&self) -> Result<HashSet<Uuid>, String> {
        let dir = self.dir.path();
        let damage = |error: rusqlite::Error| error.to_string();
        let plain = rusqlite::Connection::open(dir.join("queue.db")).map_err(damage)?;
        plain.busy_timeout(Duration::from_secs(5)).map_err(damage)?;
        let verdict: String =
            plain.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(damage)?;
        if verdict != "ok" {
            return Err(verdict);
        }
        let claimed = claimed(&plain).map_err(damage)?;
        plain
            .execute_batch("UPDATE leases SET expires_ms = 0; UPDATE waiting SET visible_ms = 0")
            .map_err(damage)?;
        let messages = drain(&consumer(dir)).await;
        let found: HashSet<Uuid> = messages.iter().filter_map(|message| id_in(&message.message)).collect();
        let dead = DeadLetters::open(dir, "webhooks").map_err(|error| error.to_string())?.list(0);
        let altered = messages.len() - found.len() + dead.map_err(|error| error.to_string())?.len();
        let gone = |ids: &HashSet<Uuid>| {
            ids.iter().filter(|id| !found.contains(id) && !self.worked_on.contains(id)).count()
        };
        match (gone(&self.acknowledged), gone(&claimed), altered) {
            (0, 0, 0) => Ok(found),
            (missing, claims, altered) => Err(format!(
                "of {} acknowledged {missing} missing, {claims} claims without a message, {altered} altered or twice",
                self.acknowledged.len()
            )),
        }
    }
}

/// Ids whose next message would be left out, for which there must be a first one.
fn claimed(plain: &rusqlite::Connection) -> rusqlite::Result<HashSet<Uuid>> {
    let mut statement = plain.prepare("SELECT message_id FROM claims")?;
    let ids = statement.query_map([], |row| row.get::<_, [u8; 16]>(0).map(Uuid::from_bytes))?;
    ids.collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let rounds = number("SLUICED_TEST_POWER_ROUNDS").unwrap_or(12);
    let first = number("SLUICED_TEST_POWER_SEED").unwrap_or_else(|| random(1 << 32));
    let mut rig = Rig::new();
    let mut looked_for = 0;
    for seed in first..first + rounds {
        let done = rig.lose_power(seed, None).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        print!("seed {seed}: {} acknowledged; {done}", rig.acknowledged.len());
        // The next one is opened as this one was left; sometimes once more, sometimes anew.
        if random(3) > 0 {
            looked_for += rig.acknowledged.difference(&rig.worked_on).count();
            rig.check().await.unwrap_or_else(|what| panic!("seed {seed}: {what}\n{done}"));
        }
        if random(4) == 0 {
            rig = Rig::new();
        }
    }
    println!("{rounds} power cuts, {looked_for} acknowledged messages were to be there");
}

/// Each of the syncs matters, and the rig would see it if one were left out.
#[tokio::test]
async fn the_rig_sees_a_loss_when_syncs_are_left_out() {
    for swallowed in ["*", "queue.db-wal", "queue.db"] {
        let first = random(1 << 32);
        let mut seen = None;
        for seed in first..first + 40 {
            let mut rig = Rig::new();
            // Twice, so that there is something to lose.
            let lost =
                rig.lose_power(seed, Some(swallowed)).and(rig.lose_power(seed + 1000, Some(swallowed)));
            let wrong = match lost {
                Ok(_) => rig.check().await,
                Err(what) => Err(what),
            };
            if let Err(what) = wrong {
                seen = Some(format!("after {} tries: {what}", seed - first + 1));
                break;
            }
        }
        println!("without the syncs of {swallowed}, {}", seen.expect(swallowed));
    }
}
