//! A disk that is full: senders are told to come again, nothing acknowledged is missing, and room is all
//! that it takes to go on.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::client::{GITHUB, get, github_request, send_raw};
use crate::daemon::{Daemon, SERVE, sluiced, wait_until};
use crate::namespace::{inside, seen_by, with_mounts};
use crate::worker::command;

#[test]
fn a_full_disk_is_answered_503_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = on_a_small_disk(dir.path(), "32m");
    let mut acknowledged = vec!["before".to_owned()];
    assert_eq!(send(&daemon, "before"), 200);

    let filler = seen_by(daemon.pid(), &dir.path().join("filler"));
    fill(&filler);
    wait_until("a refusal", || {
        let delivery = format!("during-{}", acknowledged.len());
        let status = send(&daemon, &delivery);
        if status == 200 {
            acknowledged.push(delivery);
        }
        status == 503
    });
    let answer = send_raw(daemon.address, &github_request("refused", &[b'x'; 4_000])).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (503, "not_durable"));
    assert_eq!(answer.header("retry-after"), Some("5"));
    wait_until("not being ready", || get(daemon.ops, "/readyz").status == 503);
    assert_eq!(get(daemon.ops, "/livez").status, 200);
    daemon.wait_for_line(|line| {
        line["level"] == "error" && line["msg"].as_str().unwrap().contains("takes no messages")
    });

    std::fs::remove_file(&filler).unwrap();
    wait_until("being ready again", || get(daemon.ops, "/readyz").status == 200);
    daemon.wait_for_line(|line| line["msg"].as_str().unwrap().contains("takes messages again"));
    assert_eq!(send(&daemon, "after"), 200);
    acknowledged.push("after".to_owned());
    assert_eq!(drained(&daemon, dir.path()), acknowledged);
    daemon.stop();
}

/// Whatever is written to the log has to fit into the database too, and workers need room to say that
/// they are done: the room that is left when appends stop must be enough for both.
#[test]
fn a_disk_filled_by_the_queue_itself_is_emptied_by_workers() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = on_a_small_disk(dir.path(), "48m");
    // Several at once, so that they are written faster than they are copied into the database.
    let fill_up = |sender: usize| {
        let mut acknowledged = Vec::new();
        wait_until("the disk to be full", || {
            let delivery = format!("large-{sender}-{}", acknowledged.len());
            let request = github_request(&delivery, &vec![b'x'; 1 << 20]);
            let status = send_raw(daemon.address, &request).unwrap().status;
            if status == 200 {
                acknowledged.push(delivery);
            }
            status == 503
        });
        acknowledged
    };
    let mut acknowledged: Vec<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8).map(|sender| scope.spawn(move || fill_up(sender))).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    let mut drained = drained(&daemon, dir.path());
    acknowledged.sort();
    drained.sort();
    assert_eq!(drained, acknowledged, "workers can work on a full disk");
    wait_until("being ready again", || get(daemon.ops, "/readyz").status == 200);
    assert_eq!(send(&daemon, "after"), 200);
    daemon.stop();
}

#[test]
fn the_queues_own_bound_is_a_full_disk_too() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), "[queue.embedded]\nmax = \"4MiB\"\n", &[GITHUB]);
    let mut acknowledged = 0;
    wait_until("the queue to be full", || {
        let body = vec![b'x'; 100 << 10];
        let status =
            send_raw(daemon.address, &github_request(&format!("d{acknowledged}"), &body)).unwrap().status;
        acknowledged += usize::from(status == 200);
        status == 503
    });
    wait_until("not being ready", || get(daemon.ops, "/readyz").status == 503);
    assert_eq!(crate::worker::drain(dir.path()).len(), acknowledged);
    wait_until("being ready again", || get(daemon.ops, "/readyz").status == 200);
}

#[test]
fn a_data_directory_in_memory_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = on_a_small_disk(dir.path(), "24m");
    let warning = daemon
        .wait_for_line(|line| line["level"] == "warn" && line["msg"].as_str().unwrap().contains("tmpfs"));
    let text = warning["msg"].as_str().unwrap();
    assert!(text.contains("not durable") && text.contains(&dir.path().display().to_string()), "{text}");
    let mut check = sluiced();
    check.args(["check", GITHUB, "--data-dir"]).arg(dir.path());
    let output = inside(daemon.pid(), &check).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("tmpfs"), "check warns too");
}

fn on_a_small_disk(dir: &Path, size: &str) -> Daemon {
    let mut command = sluiced();
    command.args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(dir);
    let mounts = format!("mount -t tmpfs -o size={size},mode=700 tmpfs \"$dir\"");
    Daemon::spawn(with_mounts(&mounts, dir, &command)).unwrap_or_else(|log| panic!("it didn't start:\n{log}"))
}

fn send(daemon: &Daemon, delivery: &str) -> u16 {
    send_raw(daemon.address, &github_request(delivery, &[b'x'; 4_000])).unwrap().status
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// The delivery ids in the queue, taken out of it by a worker on the same disk.
fn drained(daemon: &Daemon, dir: &Path) -> Vec<String> {
    let work = command(dir, &["--exit-when-empty"]);
    let mut bounded = Command::new("timeout");
    bounded.arg("20").arg(work.get_program()).args(work.get_args());
    let output = inside(daemon.pid(), &bounded).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let delivery =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["deliveryId"].clone();
    text.lines().map(|line| delivery(line).as_str().unwrap().to_owned()).collect()
}
