//! A daemon in a process with little: address space, open files.

use std::io::Write;
use std::process::Command;

use crate::client::{GITHUB, GITHUB_PATH, connect, get, github_request, send_raw};
use crate::daemon::{Daemon, SERVE, binary, wait_until};

/// A daemon under a shell's `ulimit`.
fn limited(limit: &str, dir: &std::path::Path) -> Daemon {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit {limit}; exec \"$0\" \"$@\"")).arg(binary());
    command.args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(dir);
    Daemon::spawn(command).unwrap_or_else(|log| panic!("it didn't start:\n{log}"))
}

#[test]
fn declared_lengths_take_no_address_space() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = limited("-v 3000000", dir.path());
    let head = format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\nContent-Length: 26000000\r\n\r\na");
    let mut uploads: Vec<_> = (0..200).map(|_| connect(daemon.address)).collect();
    for upload in &mut uploads {
        upload.write_all(head.as_bytes()).unwrap();
    }
    for byte in [b"b", b"c"] {
        for upload in &mut uploads {
            upload.write_all(byte).unwrap();
            // Frames of their own, or the second byte would be read with the first.
            std::thread::yield_now();
        }
        assert_eq!(get(daemon.ops, "/livez").status, 200);
    }
    assert_eq!(send_raw(daemon.address, &github_request("honest", b"{}")).unwrap().status, 200);
}

#[test]
fn few_files_make_few_connections_and_no_stall() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = limited("-n 200", dir.path());
    daemon.wait_for_line(|line| line["msg"].as_str().unwrap().contains("the process may open 200 files"));
    let idle: Vec<_> = (0..180).map(|_| connect(daemon.address)).collect();
    wait_until("being told that there are too many", || {
        daemon.deliveries().iter().any(|line| line["reason"] == "overloaded")
    });
    assert_eq!(get(daemon.ops, "/readyz").status, 200, "the probes are answered");
    drop(idle);
    wait_until("room", || {
        send_raw(daemon.address, &github_request("after", b"{}")).is_some_and(|answer| answer.status == 200)
    });
    assert!(!daemon.text().contains("can't accept"), "it never ran out of files");
}
