//! `kill -9` on the daemon and on two workers, now and then, under load: every acknowledged webhook is worked
//! on, hardly any twice, and none by two at once.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::client::{GITHUB, connect, github_request, read_answer};
use crate::daemon::{Daemon, PATIENCE, pause};
use crate::work_common::{Worker, lines, script};

/// Seconds of killing; more of them find more.
const SECONDS: &str = "SLUICED_TEST_WORK_KILL_SECONDS";
const SENDERS: usize = 4;
const BETWEEN_KILLS: usize = 200;
const LEASE: Duration = sluiced::bounds::WORK_LEASE;

/// Holds a file of the message's name while it runs. `set -C` opens with O_EXCL.
const HOLDS: &str = "set -C\n\
    : > $DIR/held/$SLUICED_MESSAGE_ID || echo $SLUICED_MESSAGE_ID >> $DIR/clashes\n\
    echo $SLUICED_DELIVERY_ID >> $DIR/done\n\
    rm $DIR/held/$SLUICED_MESSAGE_ID";

#[test]
fn killed_daemons_and_workers_lose_nothing_and_hardly_do_anything_twice() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("held")).unwrap();
    let handle = script(dir.path(), HOLDS);
    let args = ["--concurrency", "2", "--exec", "sh", handle.to_str().unwrap()];
    let data = dir.path().join("data");
    let seconds = std::env::var(SECONDS).map_or(10, |text| text.parse().unwrap());
    let daemon = Daemon::start(&data, &[GITHUB]);
    let load = Load {
        address: Mutex::new(daemon.address),
        over: AtomicBool::new(false),
        sent: AtomicUsize::new(0),
        acknowledged: AtomicUsize::new(0),
    };
    let (acknowledged, kills) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(|| load.send())).collect();
        let kills = kill_now_and_then(&load, daemon, &data, &args, Duration::from_secs(seconds));
        load.over.store(true, Ordering::SeqCst);
        let acknowledged: Vec<String> =
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        (acknowledged, kills)
    });
    // What killed workers held comes back when its lease ends.
    let last = [&["--exit-when-empty"][..], &args].concat();
    let last = Worker::start(&data, &last).wait_for_so_long(LEASE + PATIENCE);
    assert_eq!(last.count("dead"), 0, "nothing becomes a dead letter");

    let mut times: HashMap<String, usize> = HashMap::new();
    for id in lines(&dir.path().join("done")) {
        *times.entry(id).or_default() += 1;
    }
    let missing: Vec<&String> = acknowledged.iter().filter(|id| !times.contains_key(*id)).collect();
    let twice = times.values().filter(|n| **n > 1).count();
    let clashes = lines(&dir.path().join("clashes"));
    println!(
        "{} acknowledged, {} worked on, {twice} more than once, {} by two at once, {kills:?} kills",
        acknowledged.len(),
        times.len(),
        clashes.len()
    );
    assert!(missing.is_empty(), "{} of {} were never worked on", missing.len(), acknowledged.len());
    assert_eq!(clashes, Vec::<String>::new(), "two had one message at once");
    assert!(kills.daemon > 0 && kills.workers > 1, "too few to mean anything: {kills:?}");
    assert!(twice * 100 < times.len(), "{twice} of {} were worked on more than once", times.len());
}

#[derive(Debug, Default)]
struct Kills {
    daemon: usize,
    workers: usize,
}

/// Kills one of the three after the other, at random moments, and starts it again at once. Between two kills
/// so many webhooks are acknowledged that those that are done twice, which are at most the two that a killed
/// worker held, stay below one in a hundred.
fn kill_now_and_then(load: &Load, daemon: Daemon, data: &Path, args: &[&str], time: Duration) -> Kills {
    let mut kills = Kills::default();
    let mut daemon = daemon;
    let mut workers = [Worker::start(data, args), Worker::start(data, args)];
    let until = Instant::now() + time;
    while load.goes_on(until) {
        match (kills.daemon + kills.workers) % 3 {
            0 => {
                daemon.kill();
                daemon = Daemon::start(data, &[GITHUB]);
                *load.address.lock().unwrap() = daemon.address;
                kills.daemon += 1;
            }
            which => {
                let worker = &mut workers[which - 1];
                worker.kill();
                *worker = Worker::start(data, args);
                kills.workers += 1;
            }
        }
    }
    load.over.store(true, Ordering::SeqCst);
    // Stopped gently, so that the count of those that were done twice is the kills' own.
    for worker in workers {
        // One that was just started doesn't listen for signals yet.
        worker.wait_for("working");
        worker.signal("TERM");
        let ended = worker.wait();
        assert!(ended.status.success(), "{}\n{}", ended.status, ended.text);
    }
    daemon.stop();
    kills
}

/// What all senders share.
struct Load {
    address: Mutex<SocketAddr>,
    over: AtomicBool,
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Load {
    /// Waits for the next kill; false when it is over instead.
    fn goes_on(&self, until: Instant) -> bool {
        let enough = self.acknowledged.load(Ordering::SeqCst) + BETWEEN_KILLS;
        let next = Instant::now() + Duration::from_millis(random(1_000));
        while Instant::now() < next || self.acknowledged.load(Ordering::SeqCst) < enough {
            if Instant::now() >= until {
                return false;
            }
            pause();
        }
        true
    }

    /// Sends until it is over, each webhook with a delivery id of its own; those that were acknowledged.
    fn send(&self) -> Vec<String> {
        let mut acknowledged = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            let address = *self.address.lock().unwrap();
            if TcpStream::connect(address).is_ok() {
                self.send_to(address, &mut acknowledged);
            }
            pause();
        }
        acknowledged
    }

    /// Until the daemon is gone.
    fn send_to(&self, address: SocketAddr, acknowledged: &mut Vec<String>) {
        let mut stream = connect(address);
        while !self.over.load(Ordering::SeqCst) {
            let id = format!("k{}", self.sent.fetch_add(1, Ordering::SeqCst));
            let request = github_request(&id, format!("{{\"id\":\"{id}\"}}").as_bytes());
            if stream.write_all(&request).is_err() {
                return;
            }
            match read_answer(&mut stream) {
                Some(answer) if answer.status == 200 => {
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                    acknowledged.push(id);
                }
                Some(_) => {}
                None => return,
            }
            pause();
        }
    }
}

/// Below `n`.
fn random(n: u64) -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % n
}
