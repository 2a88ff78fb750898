//! Every answer comes after a sync: seen from outside, by counting and by system call trace.
//!
//! These tests would fail if the sync were left out, and each proves it for itself with the shim's
//! `skip` or with what it counts. To see it by hand: say `NORMAL` for the writer in
//! `src/connection.rs`, and run them.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use crate::child::{self, Process};
use crate::common::dir;
use crate::shim::Shim;

const APPENDS: usize = 20;

#[test]
fn there_are_at_least_as_many_syncs_as_commits() {
    let (dir, shim) = (dir(), Shim::new());
    let mut command = child::command("obey", dir.path());
    shim.load_into(&mut command);
    let mut daemon = Process::start(&mut command);
    let before = shim.count("sync queue.db-wal");
    for _ in 0..APPENDS {
        let synced = shim.count("sync queue.db-wal");
        assert_eq!(daemon.ask("append x"), "Ok(())");
        assert!(shim.count("sync queue.db-wal") > synced, "answered without a sync");
    }
    let commits: usize = daemon.ask("commits").parse().unwrap();
    assert_eq!(commits, APPENDS);
    assert!(shim.count("sync queue.db-wal") - before >= commits);
}

#[test]
fn strace_sees_fdatasync_before_each_answer() {
    let unsynced = unsynced_answers(&trace(&Shim::new(), ""));
    assert_eq!(unsynced, (APPENDS, 0), "(answers, of these unsynced)");
}

/// The same with a shim that swallows the syncs: the check above must notice.
#[test]
fn strace_would_see_that_syncs_are_left_out() {
    let (answers, unsynced) = unsynced_answers(&trace(&Shim::new(), "sync * skip 0"));
    assert_eq!(answers, APPENDS);
    assert_eq!(unsynced, APPENDS);
}

/// The trace of a daemon that appends one message after the other.
fn trace(shim: &Shim, rules: &str) -> String {
    let present = Command::new("strace").arg("-V").output();
    assert!(present.is_ok_and(|output| output.status.success()), "install strace: apt-get install strace");
    let dir = dir();
    let trace = dir.path().join("trace");
    let strace = ["strace", "-f", "-y", "-e", "trace=fdatasync,fsync,write", "-o", trace.to_str().unwrap()];
    let data = dir.path().join("data");
    let mut command = child::wrapped(&strace, "obey", &data);
    shim.load_into(&mut command);
    shim.rules(rules);
    let mut daemon = Process::start(&mut command);
    for _ in 0..APPENDS {
        assert_eq!(daemon.ask("append x"), "Ok(())");
    }
    daemon.rest();
    daemon.child.wait().unwrap();
    read(&trace)
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// How many answers there are, and before how many of them the log was not synced by `fdatasync`.
fn unsynced_answers(trace: &str) -> (usize, usize) {
    let (mut answers, mut unsynced, mut synced) = (0, 0, false);
    // Threads whose sync of the log was begun on a line of its own, because another's call came between.
    let mut begun = HashSet::new();
    for line in trace.lines() {
        let thread = line.split(' ').next();
        if line.contains(" fdatasync(") && line.contains("queue.db-wal") {
            synced |= line.ends_with("= 0");
            begun.extend(thread.filter(|_| line.ends_with("<unfinished ...>")));
        } else if line.contains("fdatasync resumed") {
            synced |= thread.is_some_and(|thread| begun.remove(thread)) && line.ends_with("= 0");
        } else if line.contains("write(1") && line.contains("> Ok(())") {
            answers += 1;
            unsynced += usize::from(!synced);
            synced = false;
        }
    }
    (answers, unsynced)
}
