//! The data directory: one daemon at a time, private, and never touched when something is wrong with it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::client::{GITHUB, github_request, send_raw};
use crate::daemon::{Daemon, SERVE, sluiced};
use crate::namespace::with_mounts;
use crate::worker::drain;

#[test]
fn a_second_daemon_is_refused_and_told_who_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = Daemon::start(dir.path(), &[GITHUB]);
    let (code, text) = serve(dir.path());
    assert_eq!(code, 78, "{text}");
    assert!(text.contains(&first.pid().to_string()), "it names the pid {}: {text}", first.pid());
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert_eq!(
        send_raw(first.address, &github_request("d", b"{}")).unwrap().status,
        200,
        "the first goes on"
    );
    first.stop();
    let after = Daemon::start(dir.path(), &[GITHUB]);
    after.kill();
    Daemon::start(dir.path(), &[GITHUB]).stop();
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let read_only = "mount --bind \"$dir\" \"$dir\" && mount -o remount,ro,bind \"$dir\"";
    let (empty, filled) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let daemon = Daemon::start(filled.path(), &[GITHUB]);
    send_raw(daemon.address, &github_request("kept", b"{}")).unwrap();
    daemon.stop();
    for dir in [empty.path(), filled.path(), &empty.path().join("not/there")] {
        let mounted = if dir.exists() { dir } else { empty.path() };
        let output = with_mounts(read_only, mounted, &serve_command(dir)).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(&mounted.display().to_string()), "it names the path: {text}");
    }
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    assert_eq!(drain(filled.path()).len(), 1);
}

#[test]
fn a_file_where_the_directory_should_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let (code, text) = serve(&file);
    assert_eq!(code, 78, "{text}");
    assert!(text.contains(&file.display().to_string()), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let good = filled_store();
    let damages: [(&str, Vec<u8>); 5] = [
        ("garbage", b"this is no database. ".repeat(1_000)),
        ("nothing", Vec::new()),
        ("zeros", vec![0; 64 << 10]),
        ("half of it", good[..good.len() / 2].to_vec()),
        ("another beginning", [&[0; 100], &good[100..]].concat()),
    ];
    for (what, bytes) in damages {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("queue.db");
        std::fs::write(&file, &bytes).unwrap();
        let (code, text) = serve(dir.path());
        assert_eq!(code, 78, "{what}: {text}");
        assert!(text.contains("queue.db"), "{what}: it names the file: {text}");
        assert!(std::fs::read(&file).unwrap() == bytes, "{what}: it was changed");
    }
}

#[test]
fn what_it_makes_is_for_its_user_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("made/by/serve");
    let daemon = Daemon::start(&data, &[GITHUB]);
    send_raw(daemon.address, &github_request("d", b"{}")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_restart_goes_on_with_the_same_queue() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let daemon = Daemon::start(dir.path(), &[GITHUB]);
        assert_eq!(
            send_raw(daemon.address, &github_request(&format!("d{number}"), b"{}")).unwrap().status,
            200
        );
        daemon.stop();
    }
    let ids: Vec<_> =
        drain(dir.path()).iter().map(|m| m["deliveryId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["d0", "d1", "d2"]);
}

/// The bytes of a store with messages in it.
fn filled_store() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB]);
    for number in 0..50 {
        send_raw(daemon.address, &github_request(&format!("d{number}"), &[b'x'; 4_000])).unwrap();
    }
    daemon.stop();
    std::fs::read(dir.path().join("queue.db")).unwrap()
}

fn serve_command(dir: &Path) -> std::process::Command {
    let mut command = sluiced();
    command.args(SERVE).args([GITHUB, "--data-dir"]).arg(dir);
    command
}

/// Serves where that should fail: exit code and stderr.
fn serve(dir: &Path) -> (i32, String) {
    let output = serve_command(dir).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}
