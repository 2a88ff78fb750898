//! A queue that can't be reached for a while: nothing is lost, nothing is done twice, and nobody takes it for
//! empty.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::pause;
use crate::work_common::{Worker, fill_numbers, lines, script, wait_that};

/// Holds the store's write lock until it is dropped.
struct Lock(Child);

impl Lock {
    fn take(dir: &Path) -> Self {
        let mut child = Command::new("sqlite3")
            .arg(dir.join("queue.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sqlite3 is installed");
        let input = child.stdin.as_mut().unwrap();
        let held = dir.join("held");
        writeln!(input, ".timeout 10000\nBEGIN IMMEDIATE;\n.shell touch '{}'", held.display()).unwrap();
        wait_that(|| held.exists(), "the lock is held");
        Self(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_unreachable_queue_is_waited_for_and_never_taken_for_empty() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 2);
    let lock = Lock::take(dir.path());
    let worker = Worker::start(dir.path(), &["--exit-when-empty", "--exec", "true"]);
    worker.wait_for("trying again until the queue answers");
    drop(lock);
    let ended = worker.wait();
    assert!(ended.status.success());
    assert_eq!(ended.count("acknowledged"), 2);
    assert_eq!(ended.lines("trying again until the queue answers").len(), 1, "said once");
    assert_eq!(ended.lines("the queue answers again").len(), 1);
}

#[test]
fn what_was_done_during_an_outage_is_acknowledged_after_it() {
    let dir = tempfile::tempdir().unwrap();
    fill_numbers(dir.path(), 1);
    let handle = script(
        dir.path(),
        "echo began >> $DIR/log; while [ -d $DIR -a ! -e $DIR/go ]; do sleep 0.02; done; echo done >> $DIR/log",
    );
    let args = ["--exit-when-empty", "--exec", "sh", handle.to_str().unwrap()];
    let worker = Worker::start(dir.path(), &args);
    let log = dir.path().join("log");
    wait_that(|| !lines(&log).is_empty(), "it has begun");
    let lock = Lock::take(dir.path());
    std::fs::write(dir.path().join("go"), "").unwrap();
    wait_that(|| lines(&log).len() == 2, "it is done");
    // The store gives a call up by then.
    let later = Instant::now() + sluiced_embedded::bounds::BUSY_DEADLINE + Duration::from_secs(1);
    while Instant::now() < later {
        pause();
    }
    drop(lock);
    let ended = worker.wait();
    assert_eq!((ended.count("acknowledged"), ended.count("lost")), (1, 0), "{}", ended.text);
    assert_eq!(lines(&log), ["began", "done"], "once");
}
