//! How the log looks, what is left out of it, and what a reader that stalls costs: lines, never an ack.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{GITHUB, connect, github_request, read_answer, request, send_raw};
use crate::daemon::{Daemon, binary, sluiced, wait_until};
use crate::worker::drain;

#[test]
fn text_is_for_people() {
    let text = serve_one(&["--log-format=text"]);
    let line = text.lines().find(|line| line.contains(" delivery ")).expect("the delivery's line");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words[0].ends_with('Z') && words[1] == "INFO" && words[2] == "delivery", "{line}");
    for pair in ["outcome=accepted", "receiver=github", "delivery_id=d1", "status=200", "durable=embedded"] {
        assert!(words.contains(&pair), "{pair}: {line}");
    }
    assert!(!line.contains("reason"), "what isn't known is left out: {line}");
    assert!(!text.contains('\x1b'), "no colours but on a terminal");
}

#[test]
fn auto_is_json_where_stdout_is_no_terminal() {
    let text = serve_one(&["--log-format=auto"]);
    assert!(text.contains("\"delivery\"") && !lines(&text).is_empty(), "{text}");
}

#[test]
fn on_a_terminal_it_is_text_with_colours_unless_no_color_is_set() {
    let colours = serve_one_on_a_terminal(None);
    assert!(colours.contains("\x1b[32mINFO") && !colours.contains("{\"ts\""), "{colours:?}");
    let plain = serve_one_on_a_terminal(Some("1"));
    assert!(plain.contains("INFO") && !plain.contains('\x1b'), "{plain:?}");
    let empty = serve_one_on_a_terminal(Some(""));
    assert!(empty.contains('\x1b'), "an empty NO_COLOR means nothing: {empty:?}");
}

#[test]
fn a_level_leaves_out_what_is_less_grave() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Unread::start(dir.path(), &["--log-level=warn"]);
    assert_eq!(send_raw(daemon.address, &github_request("d1", b"{}")).unwrap().status, 200);
    assert_eq!(request(daemon.address, "POST", "/nowhere", &[], b"").status, 404);
    let text = daemon.read_and_stop();
    let grave = |line: &Value| line["level"] == "warn" || line["level"] == "error";
    assert!(lines(&text).iter().all(grave), "{text}");
    assert!(text.contains("unknown_receiver") && !text.contains("\"accepted\""), "{text}");
}

#[test]
fn a_stalled_reader_costs_lines_and_never_an_ack() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody reads its pipe: after 64 KiB the daemon's writes stall.
    let mut daemon = Unread::start(dir.path(), &["--log-format=json"]);
    let mut stream = connect(daemon.address);
    let mut slowest = Duration::ZERO;
    let mut exchange = |bytes: &[u8], status: u16| {
        let begun = Instant::now();
        stream.write_all(bytes).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, status);
        slowest = slowest.max(begun.elapsed());
    };
    // Enough to fill the pipe and the queue of lines behind it.
    let refused = 18_000;
    for _ in 0..refused {
        exchange(b"PUT /api/webhooks/incoming/github HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", 405);
    }
    for number in 0..20 {
        exchange(&github_request(&format!("d{number}"), b"{}"), 200);
    }
    assert!(slowest < Duration::from_secs(1), "somebody waited for the log: {slowest:?}");
    drop(stream);
    // Read again, it says how many lines are missing.
    let text = daemon.read_and_stop();
    let lines = lines(&text);
    let (deliveries, others): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|l| l["msg"] == "delivery");
    let dropped: u64 = others.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert!(dropped > 0, "the pipe did stall");
    assert!(deliveries.len() as u64 + dropped >= refused + 20, "every line is written or counted");
    assert_eq!(drain(dir.path()).len(), 20);
}

#[test]
fn a_closed_stdout_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Unread::start(dir.path(), &[]);
    drop(daemon.child.stdout.take());
    for number in 0..20 {
        assert_eq!(
            send_raw(daemon.address, &github_request(&format!("d{number}"), b"{}")).unwrap().status,
            200
        );
    }
    assert!(daemon.stop().success());
}

#[test]
fn what_it_says_of_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let config = "drain_timeout = \"7s\"\npublic_url = \"https://hooks.example.com/\"\n";
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB]);
    let (address, ops) = (daemon.address.to_string(), daemon.ops.to_string());
    let pid = daemon.pid();
    let text = daemon.stop();
    let lines = lines(&text);
    let line =
        |msg: &str| lines.iter().find(|l| l["msg"] == msg).unwrap_or_else(|| panic!("no {msg}:\n{text}"));
    assert_eq!(line("starting")["pid"], pid);
    assert_eq!(line("starting")["version"], env!("CARGO_PKG_VERSION"));
    let given = line("configuration")["given"].as_str().unwrap();
    assert!(given.contains("drain_timeout=7s") && given.contains("sluiced.toml:1"), "{given}");
    assert!(!given.contains("header_timeout"), "defaults are left out: {given}");
    assert_eq!(line("receiver")["url"], "https://hooks.example.com/api/webhooks/incoming/github");
    assert_eq!(
        (&line("listening")["address"], &line("ops listening")["address"]),
        (&address.into(), &ops.into())
    );
    assert!(line("draining")["signal"] == "SIGTERM" && lines.last().unwrap()["msg"] == "stopped");
    assert!(text.contains("plain text"), "a secret on the command line is warned about");
}

/// A daemon whose output nobody reads yet, on a port picked beforehand.
struct Unread {
    child: Child,
    address: SocketAddr,
}

impl Unread {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let address = free_address();
        let mut command = sluiced();
        command.args(["serve", "--ops-listen=off", GITHUB]).arg(format!("--listen={address}"));
        command.arg("--data-dir").arg(dir).args(args);
        Self::spawn(command, address)
    }

    fn spawn(mut command: Command, address: SocketAddr) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let daemon = Self { child: command.spawn().unwrap(), address };
        wait_until("it to listen", || TcpStream::connect(address).is_ok());
        daemon
    }

    fn stop(&mut self) -> ExitStatus {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap()
    }

    fn read_and_stop(&mut self) -> String {
        let stdout = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
        assert!(self.stop().success());
        reader.join().unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves one webhook and stops; what was written.
fn serve_one(args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Unread::start(dir.path(), args);
    assert_eq!(send_raw(daemon.address, &github_request("d1", b"{}")).unwrap().status, 200);
    daemon.read_and_stop()
}

/// The same on a pseudo-terminal, which `script` provides.
fn serve_one_on_a_terminal(no_color: Option<&str>) -> String {
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
    let (binary, data) = (binary(), dir.path());
    let line = format!(
        "exec '{}' serve --listen={address} --ops-listen=off {GITHUB} --data-dir '{}'",
        binary.display(),
        data.display()
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_remove("NO_COLOR");
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let mut daemon = Unread::spawn(command, address);
    assert_eq!(send_raw(address, &github_request("d1", b"{}")).unwrap().status, 200);
    // `script` ends by SIGTERM too, but then the daemon's last lines are lost: so the daemon is stopped.
    let pid = std::fs::read_to_string(dir.path().join("serve.lock")).unwrap();
    let stdout = daemon.child.stdout.take().unwrap();
    Command::new("kill").arg(pid.trim()).status().unwrap();
    let text = std::io::read_to_string(stdout).unwrap();
    assert!(daemon.child.wait().unwrap().success(), "{text}");
    text
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// A port that nobody has at the moment.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
