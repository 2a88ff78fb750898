//! Killing a process doesn't lose what the kernel holds, so the kill tests can't tell a daemon that
//! syncs from one that doesn't. This looks at its system calls instead: for every webhook, the sync of
//! the log returns before the 200 is written to the socket. `trace`'s own tests show that it would
//! see a sync left out and an answer sent too soon.

use std::path::Path;
use std::process::Command;

use crate::client::{GITHUB, connect, github_request, post, read_answer, send_raw};
use crate::daemon::{Daemon, SERVE, binary, wait_until};
use crate::trace::{broken_promises, in_order};

/// Calls that write to the log, sync, put a file in its place, or answer.
const CALLS: &str =
    "trace=fdatasync,fsync,rename,renameat,renameat2,pwrite64,pwritev,sendto,sendmsg,write,writev";

/// A daemon whose calls are written into `dir/trace`.
fn traced(dir: &Path, receiver: &str) -> Daemon {
    let mut command = Command::new("strace");
    // -D makes the daemon our child and strace its guest; -s shows whole pages of the log.
    command.args(["-D", "-f", "-yy", "-s", "100000", "-e", CALLS, "-o"]).arg(dir.join("trace")).arg(binary());
    command.args(SERVE).args([receiver, "--log-format", "json", "--data-dir"]).arg(dir.join("data"));
    Daemon::spawn(command).unwrap_or_else(|log| panic!("it didn't start:\n{log}"))
}

/// Stops it, and gives the whole trace.
fn stopped(daemon: Daemon, dir: &Path) -> String {
    daemon.stop();
    let read = || String::from_utf8_lossy(&std::fs::read(dir.join("trace")).unwrap()).into_owned();
    wait_until("the end of the trace", || read().trim_end().ends_with("+++ exited with 0 +++"));
    read()
}

#[test]
fn every_webhook_is_synced_before_its_answer_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = traced(dir.path(), GITHUB);
    let deliveries: Vec<String> = (0..50).map(|number| format!("traced-{number:02}")).collect();
    let mut stream = connect(daemon.address);
    for delivery in &deliveries {
        std::io::Write::write_all(&mut stream, &github_request(delivery, b"{\"zen\":1}")).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    }
    drop(stream);
    let names: Vec<&str> = deliveries.iter().map(String::as_str).collect();
    assert_eq!(broken_promises(&stopped(daemon, dir.path()), &names), []);
}

#[test]
fn a_secret_that_is_handed_over_is_synced_before_its_answer_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = traced(dir.path(), "--receiver=asana");
    let headers = [("X-Hook-Secret", "a-secret-of-asana")];
    assert_eq!(send_raw(daemon.address, &post("asana", &headers, b"{}")).unwrap().status, 200);
    let trace = stopped(daemon, dir.path());
    let steps = [
        ("write", "a-secret-of-asana"),
        ("fsync", "/secrets/asana.new>"),
        ("rename", "/secrets/asana.new"),
        ("fsync", "/secrets>"),
        ("write", "HTTP/1.1 200 "),
    ];
    assert_eq!(in_order(&trace, &steps), Ok(()), "{trace}");
}
