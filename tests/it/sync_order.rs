//! Killing a process doesn't lose what the kernel holds, so the kill tests can't tell a daemon that
//! syncs from one that doesn't. This looks at its system calls instead: for every webhook, the sync of
//! the log returns before the 200 is written to the socket. `trace`'s own tests show that it would
//! see a sync left out and an answer sent too soon.

use std::process::Command;

use crate::client::{GITHUB, connect, github_request, read_answer};
use crate::daemon::{Daemon, SERVE, binary, wait_until};
use crate::trace::broken_promises;

/// Calls that write to the log, sync it, or answer.
const CALLS: &str = "trace=fdatasync,fsync,pwrite64,pwritev,sendto,sendmsg,write,writev";

#[test]
fn every_webhook_is_synced_before_its_answer_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let data = dir.path().join("data");
    let mut command = Command::new("strace");
    // -D makes the daemon our child and strace its guest; -s shows whole pages of the log.
    command.args(["-D", "-f", "-yy", "-s", "100000", "-e", CALLS, "-o"]).arg(&trace).arg(binary());
    command.args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(&data);
    let daemon = Daemon::spawn(command).unwrap_or_else(|log| panic!("it didn't start:\n{log}"));

    let deliveries: Vec<String> = (0..50).map(|number| format!("traced-{number:02}")).collect();
    let mut stream = connect(daemon.address);
    for delivery in &deliveries {
        std::io::Write::write_all(&mut stream, &github_request(delivery, b"{\"zen\":1}")).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    }
    drop(stream);
    daemon.stop();
    let read = || String::from_utf8_lossy(&std::fs::read(&trace).unwrap()).into_owned();
    wait_until("the end of the trace", || read().trim_end().ends_with("+++ exited with 0 +++"));

    let names: Vec<&str> = deliveries.iter().map(String::as_str).collect();
    assert_eq!(broken_promises(&read(), &names), []);
}
