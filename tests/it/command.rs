<<<<<<< HEAD
//! Runs a command of the binary to its end.
=======
//! Commands that end by themselves: run, with stdin, and read back.
>>>>>>> 5e37437 (Add verify: the daemon's verdict on a captured request, offline)

use std::io::Write;
use std::process::{Command, Stdio};

<<<<<<< HEAD
use crate::daemon::{sluiced, wait_until};

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
=======
use serde_json::Value;

use crate::daemon::sluiced;

/// What a command left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
>>>>>>> 5e37437 (Add verify: the daemon's verdict on a captured request, offline)
    pub stdout: String,
    pub stderr: String,
}

<<<<<<< HEAD
/// Runs it to its end, which must come.
pub fn run(args: &[&str]) -> Ran {
    run_with(args, &[])
}

/// The same with variables.
pub fn run_with(args: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = sluiced();
    command.args(args).envs(environment.iter().copied());
    run_to_end(command, b"")
}

/// The same with something on stdin.
pub fn run_to_end(mut command: Command, stdin: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that doesn't read it may have ended already.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || std::io::read_to_string(&mut out).unwrap());
    let stderr = std::thread::spawn(move || std::io::read_to_string(&mut err).unwrap());
    wait_until("a command's end", || child.try_wait().unwrap().is_some());
    let code = child.wait().unwrap().code().expect("an exit code");
    Ran { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
=======
impl Ended {
    /// What it wrote to stdout, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Runs `sluiced` with arguments.
pub fn run(args: &[&str]) -> Ended {
    run_with(args, b"")
}

/// The same with something on stdin.
pub fn run_with(args: &[&str], stdin: &[u8]) -> Ended {
    let mut command = sluiced();
    command.args(args);
    end(command, stdin)
}

/// Runs a command that was put together elsewhere.
pub fn end(mut command: Command, stdin: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments doesn't read.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
>>>>>>> 5e37437 (Add verify: the daemon's verdict on a captured request, offline)
}
