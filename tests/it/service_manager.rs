//! Under a service manager: told when to send, kept quiet by a living runtime, and no connection refused while
//! the daemon is replaced. And the health check of containers.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::client::{GITHUB, github_request, read_answer, send_raw};
use crate::daemon::{Daemon, PATIENCE, SERVE, binary, sluiced, wait_until};

/// What a service manager hears, one state a line.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn hears(&self) -> String {
        let mut heard = [0; 256];
        let length = self.0.recv(&mut heard).unwrap();
        String::from_utf8(heard[..length].to_vec()).unwrap()
    }

    fn hears_in_the_end(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.hears() != wanted {
            assert!(Instant::now() < deadline, "{wanted}");
        }
    }
}

#[test]
fn a_service_manager_is_told_when_it_serves_lives_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::listen(&path);
    let mut command = sluiced();
    command.args(SERVE).args(["--log-format", "json", GITHUB, "--drain-delay", "1s", "--data-dir"]);
    command.arg(dir.path().join("data")).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let daemon = Daemon::spawn(command).unwrap();
    manager.hears_in_the_end("READY=1\n");
    for _ in 0..5 {
        assert_eq!(manager.hears(), "WATCHDOG=1\n");
    }
    daemon.signal("TERM");
    manager.hears_in_the_end("STOPPING=1\n");
    // Draining takes longer than the watchdog's patience; the daemon must not be killed for it.
    assert_eq!(manager.hears(), "WATCHDOG=1\n");
    daemon.stop_after_signal();
}

#[test]
fn a_service_manager_that_is_stuck_holds_up_no_webhook() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let _deaf = Manager::listen(&path);
    let mut command = sluiced();
    command.args(SERVE).args(["--log-format", "json", GITHUB, "--data-dir"]).arg(dir.path().join("data"));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000");
    let daemon = Daemon::spawn(command).unwrap();
    // Each state is a datagram, and the kernel keeps ten of them (net.unix.max_dgram_qlen).
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < Duration::from_millis(500) {
        number += 1;
        let request = github_request(&number.to_string(), b"{}");
        assert_eq!(send_raw(daemon.address, &request).unwrap().status, 200);
    }
    daemon.stop();
}

#[test]
fn no_service_manager_hears_of_a_daemon_that_cannot_listen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = Manager::listen(&path);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = sluiced();
    command.args(["serve", "--ops-listen", "off", GITHUB, "--data-dir"]).arg(dir.path().join("data"));
    command.args(["--listen", &taken.local_addr().unwrap().to_string()]).env("NOTIFY_SOCKET", &path);
    assert!(Daemon::spawn(command).is_err());
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err());
}

/// Starts a daemon that these sockets are handed over to.
fn start_with(sockets: &[&dyn AsSocket], dir: &Path) -> Result<Daemon, String> {
    let kept: Vec<_> = sockets.iter().map(|socket| socket.copy()).collect();
    for copy in &kept {
        fcntl_setfd(copy, FdFlags::empty()).unwrap();
    }
    let script = "exec 3<&$1 4<&$2; shift 2; LISTEN_PID=$$ exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]);
    for number in [0, 1] {
        command.arg(kept.get(number).unwrap_or(&kept[0]).as_raw_fd().to_string());
    }
    command.arg(binary()).args(SERVE).args([GITHUB, "--log-format", "json", "--data-dir"]).arg(dir);
    Daemon::spawn({
        command.env("LISTEN_FDS", sockets.len().to_string());
        command
    })
}

trait AsSocket {
    /// A copy far from the numbers that sockets are handed over at.
    fn copy(&self) -> std::os::fd::OwnedFd;
}

impl<T: std::os::fd::AsFd> AsSocket for T {
    fn copy(&self) -> std::os::fd::OwnedFd {
        fcntl_dupfd_cloexec(self, 20).unwrap()
    }
}

fn waiting_webhook(address: SocketAddr, delivery: &str) -> TcpStream {
    use std::io::Write;
    let mut stream = crate::client::connect(address);
    stream.write_all(&github_request(delivery, b"{}")).unwrap();
    stream
}

#[test]
fn sockets_that_were_handed_over_lose_no_webhook_between_two_daemons() {
    let dir = tempfile::tempdir().unwrap();
    let (webhooks, ops) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = webhooks.local_addr().unwrap();
    let mut early = waiting_webhook(address, "before-the-start");
    let daemon = start_with(&[&webhooks, &ops], dir.path()).unwrap();
    assert_eq!(daemon.address, address);
    assert_eq!(daemon.ops, ops.local_addr().unwrap());
    assert_eq!(read_answer(&mut early).unwrap().status, 200);
    assert_eq!(send_raw(address, &github_request("running", b"{}")).unwrap().status, 200);
    daemon.stop();
    let mut between = waiting_webhook(address, "between-the-two");
    let daemon = start_with(&[&webhooks, &ops], dir.path()).unwrap();
    assert_eq!(read_answer(&mut between).unwrap().status, 200);
    daemon.stop();
}

#[test]
fn with_one_socket_handed_over_the_other_address_is_bound() {
    let dir = tempfile::tempdir().unwrap();
    let webhooks = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = start_with(&[&webhooks], dir.path()).unwrap();
    assert_eq!(daemon.address, webhooks.local_addr().unwrap());
    assert_eq!(crate::client::get(daemon.ops, "/readyz").status, 200);
    daemon.stop();
}

#[test]
fn a_socket_that_does_not_listen_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let log = start_with(&[&connected], dir.path()).err().unwrap();
    assert!(log.contains("socket 1 that was handed over doesn't listen"), "{log}");
    let log = start_with(&[&listener, &UnixDatagram::unbound().unwrap()], dir.path()).err().unwrap();
    assert!(log.contains("--ops-listen"), "{log}");
}

fn is_ready(ops: SocketAddr) -> Output {
    sluiced().args(["check", "--ready", "--ops-listen", &ops.to_string()]).output().unwrap()
}

#[test]
fn a_health_check_follows_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), &[GITHUB, "--drain-delay", "20s"]);
    let ops = daemon.ops;
    let output = is_ready(ops);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("queue: ok"));
    daemon.signal("TERM");
    wait_until("the daemon's leaving", || is_ready(ops).status.code() == Some(1));
    let output = is_ready(ops);
    assert!(String::from_utf8(output.stdout).unwrap().contains("draining"));
    daemon.kill();
    let output = is_ready(ops);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not ready"));
}

#[test]
fn a_health_check_of_a_frozen_daemon_ends() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let output = is_ready(silent.local_addr().unwrap());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_health_check_without_anybody_to_ask_is_a_wrong_configuration() {
    for ops in ["off", "127.0.0.1:0"] {
        let output = sluiced().args(["check", "--ready", "--ops-listen", ops]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
    }
}
