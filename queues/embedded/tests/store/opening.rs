//! Who may open a store, and where.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sluiced_embedded::{EmbeddedConsumer, EmbeddedQueue, OpenError, Options};

use crate::child::{self, Process};
use crate::common::{append, consumer, dir, open, receive_one, text};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let dir = dir();
    let data = dir.path().join("new/data");
    let queue = open(&data);
    append(&queue, "x").await;
    assert_eq!(mode(&data), 0o700);
    for file in ["queue.db", "queue.db-wal", "queue.db-shm", "serve.lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    queue.close().await;
}

#[tokio::test]
async fn a_second_daemon_is_told_the_first_ones_pid() {
    let dir = dir();
    let queue = open(dir.path());
    let second = EmbeddedQueue::open(dir.path(), Options::default()).unwrap_err();
    let OpenError::Locked { pid, path } = second else { panic!("{second}") };
    assert_eq!(pid, Some(std::process::id()));
    assert_eq!(path, dir.path().join("serve.lock"));
    queue.close().await;
    open(dir.path()).close().await;
}

#[test]
fn a_killed_daemon_lets_go() {
    let dir = dir();
    let mut first = Process::start(&mut child::command("obey", dir.path()));
    assert_eq!(first.ask("append x"), "Ok(())");
    let second = EmbeddedQueue::open(dir.path(), Options::default()).unwrap_err();
    assert!(second.to_string().contains(&format!("process {}", first.child.id())), "{second}");
    first.kill();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let queue = open(dir.path());
        assert_eq!(text(&receive_one(&consumer(dir.path())).await), "x");
        queue.close().await;
    });
}

#[tokio::test]
async fn a_worker_waits_for_the_store() {
    let dir = dir();
    let data = dir.path().join("later");
    let not_yet = || EmbeddedConsumer::open(&data, "webhooks").unwrap_err();
    assert!(matches!(not_yet(), OpenError::NotThereYet(_)));
    std::fs::create_dir(&data).unwrap();
    assert!(matches!(not_yet(), OpenError::NotThereYet(_)));
    // What a daemon that was killed while it made the store leaves behind.
    std::fs::write(data.join("queue.db.new"), "half").unwrap();
    assert!(matches!(not_yet(), OpenError::NotThereYet(_)));
    let queue = open(&data);
    consumer(&data);
    assert!(!data.join("queue.db.new").exists());
    queue.close().await;
}

/// Root may write where others may not, unless it gives that up first.
fn without_privileges(job: &str, dir: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let caps = "-dac_override,-dac_read_search";
        child::wrapped(&["setpriv", "--bounding-set", caps, "--inh-caps", caps], job, dir)
    } else {
        child::command(job, dir)
    }
}

#[tokio::test]
async fn a_directory_without_permission_is_named() {
    let dir = dir();
    open(dir.path()).close().await;
    for forbidden in [dir.path().to_path_buf(), dir.path().join("queue.db")] {
        let mode = |bits| std::fs::set_permissions(&forbidden, PermissionsExt::from_mode(bits)).unwrap();
        let before = mode_of(&forbidden);
        mode(before & 0o555);
        for job in ["open", "consume"] {
            let said = Process::start(&mut without_privileges(job, dir.path())).line().unwrap();
            assert_eq!(said, format!("Err(PermissionDenied({forbidden:?}))"), "{job}");
        }
        mode(before);
    }
    open(dir.path()).close().await;
}

fn mode_of(path: &Path) -> u32 {
    mode(path)
}

/// Mounted read-only in a mount namespace of the child's own.
#[tokio::test]
async fn a_read_only_file_system_is_named() {
    let dir = dir();
    open(dir.path()).close().await;
    let user = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let mount = r#"mount --bind "$STORE_TEST_DIR" "$STORE_TEST_DIR" &&
        mount -o remount,bind,ro "$STORE_TEST_DIR" && exec "$0" "$@""#;
    for job in ["open", "consume"] {
        let mut command = child::wrapped(&["unshare", user, "sh", "-c", mount], job, dir.path());
        let said = Process::start(&mut command).line().unwrap();
        assert_eq!(said, format!("Err(ReadOnly({:?}))", dir.path()), "{job}");
    }
    open(dir.path()).close().await;
}
