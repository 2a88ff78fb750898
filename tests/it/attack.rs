//! Attacks as rows of a table, and the daemon that has to withstand them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use serde_json::Value;

use crate::client::{Answer, GITHUB, connect, github_request, read_answer, send_raw};
use crate::daemon::{Daemon, wait_until};
use crate::signing::WHSEC;
use crate::worker::drain;

/// One of a reason's lines is thinned out from the eleventh a second on: no more to a daemon.
const ATTACKS_MAX: usize = 10;

/// One row.
pub struct Attack {
    /// What is tried.
    pub name: &'static str,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What the sender does then.
    pub then: Then,
    /// The answer's status, and the log line's.
    pub status: u16,
    /// The reason in the log line, and in the answer's body if it has one.
    pub reason: &'static str,
}

/// What an attacker does after it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Reads the answer.
    Read,
    /// Reads the answer, after which the connection must end: what follows can't be told from a body.
    ReadToTheEnd,
    /// Says that no more will come, and goes away.
    HangUp,
    /// Reads whatever comes until the connection ends. It isn't HTTP/1.
    ReadFrames,
}

impl Attack {
    /// An attack that waits for its answer.
    pub fn new(name: &'static str, bytes: impl Into<Vec<u8>>, status: u16, reason: &'static str) -> Self {
        Self { name, bytes: bytes.into(), then: Then::Read, status, reason }
    }

    /// The same with another end.
    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    fn launch(&self, address: SocketAddr) -> Option<Answer> {
        let mut stream = connect(address);
        // The daemon may have seen enough before all of it is sent.
        let _ = stream.write_all(&self.bytes);
        if self.then == Then::HangUp {
            let _ = stream.shutdown(Shutdown::Write);
            return None;
        }
        if self.then == Then::ReadFrames {
            stream.read_to_end(&mut Vec::new()).unwrap_or_else(|e| panic!("{}: {e}", self.name));
            return None;
        }
        let answer = read_answer(&mut stream);
        if self.then == Then::ReadToTheEnd {
            let further = read_answer(&mut stream);
            assert!(further.is_none(), "{}: one request, two answers: {further:?}", self.name);
        }
        answer
    }
}

/// Launches each attack, and sends an honest webhook after it. Each gets its status and exactly one
/// line; the honest ones are in the queue, and nothing else is.
pub fn withstand(attacks: &[Attack], config: &str) {
    for attacks in attacks.chunks(ATTACKS_MAX) {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(dir.path(), config);
        for (number, attack) in attacks.iter().enumerate() {
            withstand_one(&daemon, attack, &format!("honest-{number}"));
        }
        let text = daemon.stop();
        assert_clean(&text);
        let queued = drain(dir.path());
        let honest = queued.iter().filter(|m| m["deliveryId"].as_str().unwrap().starts_with("honest-"));
        assert_eq!((queued.len(), honest.count()), (attacks.len(), attacks.len()), "{queued:?}");
    }
}

/// A daemon with receivers for all the tables.
pub fn daemon(dir: &std::path::Path, config: &str) -> Daemon {
    let secret = GITHUB.rsplit_once('=').unwrap().1;
    let receivers = ["github", "github/acme", "stripe", "slack"].map(|n| format!("--receiver={n}={secret}"));
    let standard = format!("--receiver=standard-webhooks=text:{WHSEC}");
    let mut args: Vec<&str> = receivers.iter().map(String::as_str).collect();
    args.push(&standard);
    Daemon::with_config(dir, config, &args)
}

fn withstand_one(daemon: &Daemon, attack: &Attack, honest: &str) {
    let name = attack.name;
    let before = daemon.deliveries().len();
    let answer = attack.launch(daemon.address);
    if !matches!(attack.then, Then::HangUp | Then::ReadFrames) {
        let answer = answer.unwrap_or_else(|| panic!("{name}: no answer\n{}", daemon.text()));
        assert_eq!(answer.status, attack.status, "{name}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
        assert_eq!(answer.reason(), attack.reason, "{name}: {answer:?}");
    }
    wait_until(name, || daemon.deliveries().len() > before);
    let answer = send_raw(daemon.address, &github_request(honest, b"{}"));
    assert_eq!(answer.expect("an answer after the attack").status, 200, "{name}");
    daemon.wait_for_delivery(|line| line["delivery_id"] == honest);
    let lines: Vec<Value> =
        daemon.deliveries().split_off(before).into_iter().filter(|l| l["delivery_id"] != honest).collect();
    assert_eq!(lines.len(), 1, "{name}: {lines:?}");
    let fact = |key: &str| lines[0][key].as_str().unwrap_or_default().to_owned();
    assert_eq!((fact("outcome").as_str(), fact("reason").as_str()), ("refused", attack.reason), "{name}");
    assert_eq!(lines[0]["status"], attack.status, "{name}");
}

/// Every line is JSON, and nothing in it acts on a terminal.
pub fn assert_clean(text: &str) {
    for line in text.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "no JSON: {line:?}");
        assert!(!line.chars().any(char::is_control), "a raw control character: {line:?}");
    }
}
