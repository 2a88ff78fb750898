//! The disk under the spool: full, full at the start, in memory, in a container's own layer.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::client::{GITHUB, get, github_request, send_raw};
use crate::daemon::{Daemon, SERVE, sluiced, wait_until};
use crate::namespace::{inside, seen_by, with_mounts};
use crate::spool_common::{Broker, last_durable, metric, send};

fn serve(broker: &Broker, dir: &Path, mounts: &str) -> Daemon {
    let mut command = sluiced();
    command.args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(dir).args(broker.flags());
    Daemon::spawn(with_mounts(mounts, dir, &command)).unwrap_or_else(|log| panic!("it didn't start:\n{log}"))
}

/// Neither broker nor disk: 503, and no false 2xx. With the broker back it goes on, full disk or not.
#[test]
fn a_full_disk_without_a_broker_is_503_and_with_one_it_is_no_matter() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let daemon = serve(&broker, dir.path(), "mount -t tmpfs -o size=32m,mode=700 tmpfs \"$dir\"");
    let mut acknowledged = send(&daemon, "before", 20);
    let filler = seen_by(daemon.pid(), &dir.path().join("filler"));
    let mut file = File::create(&filler).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    // Held open, it would take its room also when it is gone.
    drop(file);
    let mut sent = 0;
    wait_until("a refusal", || {
        sent += 1;
        let id = format!("during-{sent}");
        let answer = send_raw(daemon.address, &github_request(&id, &[b'x'; 4_000])).unwrap();
        if answer.status == 200 {
            acknowledged.insert(id);
            return false;
        }
        assert_eq!((answer.status, answer.reason().as_str()), (503, "not_durable"));
        assert!(answer.header("retry-after").is_some());
        true
    });
    wait_until("not being ready", || get(daemon.ops, "/readyz").status == 503);
    broker.restart();
    wait_until("the broker", || {
        send_raw(daemon.address, &github_request("with", b"{}")).unwrap().status == 200
    });
    wait_until("being ready", || get(daemon.ops, "/readyz").status == 200);
    std::fs::remove_file(&filler).unwrap();
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    daemon.stop();
    let got = broker.deliveries();
    let missing: Vec<_> = acknowledged.difference(&got).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
}

/// A supervisor that starts it again on a full disk must not find it refuse: the broker is there.
#[test]
fn a_disk_that_is_full_at_the_start_is_no_obstacle_while_the_broker_is_there() {
    let (earlier, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut broker = Broker::absent();
    let daemon = broker.serve(earlier.path(), &[]);
    let sent = send(&daemon, "earlier", 5);
    daemon.kill();
    broker.restart();
    let mounts = format!(
        "mount -t tmpfs -o size=24m,mode=700 tmpfs \"$dir\" && cp -a {}/. \"$dir\" && \
         {{ dd if=/dev/zero of=\"$dir/filler\" bs=4k 2>/dev/null || true; }}",
        earlier.path().display()
    );
    let daemon = serve(&broker, dir.path(), &mounts);
    wait_until("the broker", || {
        send_raw(daemon.address, &github_request("with", b"{}")).unwrap().status == 200
    });
    std::fs::remove_file(seen_by(daemon.pid(), &dir.path().join("filler"))).unwrap();
    wait_until("an empty spool", || metric(&daemon, "sluiced_spool_messages") == Some(0));
    daemon.stop();
    assert!(sent.is_subset(&broker.deliveries()));
}

#[test]
fn a_spool_in_memory_is_warned_about_by_serve_and_by_check() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let broker = Broker::start();
    // The spool alone; the directory round it is on a disk.
    let mounts = "mkdir -p \"$dir/spool\" && mount -t tmpfs -o size=24m,mode=700 tmpfs \"$dir/spool\"";
    let daemon = serve(&broker, dir.path(), mounts);
    let warning = daemon.wait_for_line(|line| {
        line["level"] == "warn" && line["msg"].as_str().is_some_and(|msg| msg.contains("not durable"))
    });
    let text = warning["msg"].as_str().unwrap();
    assert!(text.contains("tmpfs") && text.contains("/spool"), "{text}");
    let mut check = sluiced();
    check.args(["check", GITHUB, "--data-dir"]).arg(dir.path()).args(broker.flags());
    let output = inside(daemon.pid(), &check).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("is not durable"), "check warns too");
    wait_until("the broker", || {
        send(&daemon, "up", 1);
        last_durable(&daemon) == "broker"
    });
    daemon.stop();
}

/// A container without a volume: what it writes goes with it.
#[test]
fn a_spool_in_a_containers_own_layer_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let mounts = "mount -t tmpfs -o size=24m,mode=700 tmpfs \"$dir\" && \
                  mkdir \"$dir/lower\" \"$dir/upper\" \"$dir/work\" \"$dir/data\" && \
                  mount -t overlay -o \"lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work\" overlay \"$dir/data\"";
    let mut command = sluiced();
    command.args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(dir.path().join("data"));
    command.args(broker.flags());
    let daemon =
        Daemon::spawn(with_mounts(mounts, dir.path(), &command)).unwrap_or_else(|log| panic!("{log}"));
    let warning = daemon.wait_for_line(|line| {
        line["level"] == "warn" && line["msg"].as_str().is_some_and(|msg| msg.contains("not durable"))
    });
    assert!(warning["msg"].as_str().unwrap().contains("overlay"), "{warning}");
    daemon.stop();
}
