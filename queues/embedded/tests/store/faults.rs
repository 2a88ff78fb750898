//! A disk that fails, fills up or freezes: through the fault shim, in a process of its own.

use crate::child::{self, Process};
use crate::common::{append_numbered, consumer, dir, drain, open, text};
use crate::shim::Shim;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn start(dir: &std::path::Path, shim: &Shim, deadline_ms: u32) -> Process {
    let mut command = child::command("obey", dir);
    shim.load_into(&mut command);
    let mut daemon = Process::start(command.env("STORE_TEST_DEADLINE_MS", deadline_ms.to_string()));
    assert_eq!(daemon.ask("health"), "Ready");
    daemon
}

/// Opens the store without the shim and takes everything out.
fn left_in(dir: &std::path::Path) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = open(dir);
        let messages = drain(&consumer(dir)).await.iter().map(|message| text(message).to_owned()).collect();
        queue.close().await;
        messages
    })
}

/// After a failed sync a second one may succeed and prove nothing: so never again, although the disk
/// is fine from then on.
#[test]
fn a_failed_sync_is_the_end() {
    let (dir, shim) = (dir(), Shim::new());
    let mut daemon = start(dir.path(), &shim, 5000);
    assert_eq!(daemon.ask("append before"), "Ok(())");
    shim.rules(&format!("sync queue.db-wal fail {EIO}"));
    let refused = daemon.ask("append doubtful");
    assert!(refused.starts_with("Err(Unavailable("), "{refused}");
    shim.rules("");
    let refused = daemon.ask("append after");
    assert!(refused.starts_with("Err(Unavailable("), "{refused}");
    assert!(daemon.ask("health").starts_with("Failed("));
    assert!(daemon.ask("failed").contains("disk I/O error"));
    assert_eq!(daemon.ask("close"), "closed");
    drop(daemon);
    let left = left_in(dir.path());
    assert!(left.contains(&"before".to_owned()));
    assert!(!left.contains(&"after".to_owned()));
}

/// The other thread's sync, that of the database, counts as much.
#[test]
fn a_failed_sync_of_a_checkpoint_is_the_end_too() {
    let (dir, shim) = (dir(), Shim::new());
    let mut daemon = start(dir.path(), &shim, 5000);
    shim.rules(&format!("sync queue.db fail {EIO}"));
    assert_eq!(daemon.ask("append before"), "Ok(())");
    assert!(daemon.ask("failed").contains("disk I/O error"));
    assert!(daemon.ask("append after").starts_with("Err(Unavailable("));
    drop(daemon);
    shim.rules("");
    assert_eq!(left_in(dir.path()), ["before"]);
}

#[test]
fn a_full_disk_is_said_and_got_over() {
    let (dir, shim) = (dir(), Shim::new());
    let mut daemon = start(dir.path(), &shim, 5000);
    assert_eq!(daemon.ask("append before"), "Ok(())");
    shim.rules(&format!("write * fail {ENOSPC}"));
    for _ in 0..3 {
        let refused = daemon.ask("append refused");
        assert!(refused.starts_with("Err(Full("), "{refused}");
    }
    assert!(daemon.ask("health").starts_with("NotReady("));
    shim.rules("");
    // By itself, though nothing is appended.
    let began = std::time::Instant::now();
    while daemon.ask("health") != "Ready" {
        assert!(began.elapsed().as_secs() < 30, "{}", daemon.ask("health"));
    }
    assert_eq!(daemon.ask("append after"), "Ok(())");
    daemon.kill();
    assert_eq!(left_in(dir.path()), ["before", "after"]);
}

#[test]
fn a_failed_write_passes() {
    let (dir, shim) = (dir(), Shim::new());
    let mut daemon = start(dir.path(), &shim, 5000);
    shim.rules(&format!("write * fail {EIO}"));
    let refused = daemon.ask("append refused");
    assert!(refused.starts_with("Err(Unavailable("), "{refused}");
    shim.rules("");
    assert_eq!(daemon.ask("append after"), "Ok(())");
    assert_eq!(daemon.ask("health"), "Ready");
    daemon.kill();
    assert_eq!(left_in(dir.path()), ["after"]);
}

#[test]
fn a_frozen_disk_is_noticed_and_nobody_waits_for_it() {
    let (dir, shim) = (dir(), Shim::new());
    let mut daemon = start(dir.path(), &shim, 200);
    assert_eq!(daemon.ask("append before"), "Ok(())");
    shim.rules("sync * delay 3500");
    let began = std::time::Instant::now();
    assert_eq!(daemon.ask("append late"), "Err(TimedOut { deadline_ms: 200 })");
    assert!(began.elapsed().as_millis() < 1500);
    shim.rules("");
    while daemon.ask("health") == "Ready" {
        assert!(began.elapsed().as_secs() < 10, "never noticed");
    }
    assert!(daemon.ask("health").contains("a commit has taken"));
    while daemon.ask("health") != "Ready" {
        assert!(began.elapsed().as_secs() < 10, "never got over");
    }
    assert_eq!(daemon.ask("append after"), "Ok(())");
    daemon.kill();
    // Its sender had given up and will send it again: at least once.
    assert_eq!(left_in(dir.path()), ["before", "late", "after"]);
}

#[test]
fn a_full_disk_stops_a_worker_only_for_as_long() {
    let (dir, shim) = (dir(), Shim::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = open(dir.path());
        append_numbered(&queue, 2).await;
        queue.close().await;
    });
    let mut command = child::command("obey-as-worker", dir.path());
    shim.load_into(&mut command);
    let mut worker = Process::start(&mut command);
    assert_eq!(worker.ask("receive"), "Ok(()) 1");
    shim.rules(&format!("write * fail {ENOSPC}"));
    for order in ["receive", "acknowledge"] {
        let refused = worker.ask(order);
        assert!(refused.starts_with("Err(Unavailable("), "{refused}");
    }
    shim.rules("");
    assert_eq!(worker.ask("acknowledge"), "Ok(()) 1");
    assert_eq!(worker.ask("acknowledge"), "Err(LeaseLost) 1");
    assert_eq!(worker.ask("receive"), "Ok(()) 2");
    assert_eq!(worker.ask("acknowledge"), "Ok(()) 2");
    assert!(left_in(dir.path()).is_empty());
}
