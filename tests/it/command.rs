//! Commands that end by themselves: run, with stdin or variables, and read back.

use std::io::{Write, read_to_string};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::daemon::{sluiced, wait_until};

/// What a command left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

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

/// The same with variables.
pub fn run_in(environment: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = sluiced();
    command.args(args).envs(environment.iter().copied());
    end(command, b"")
}

/// Runs a command that was put together elsewhere. Its end must come.
pub fn end(mut command: Command, stdin: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments doesn't read.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = std::thread::spawn(move || read_to_string(out).unwrap());
    let stderr = std::thread::spawn(move || read_to_string(err).unwrap());
    wait_until("a command's end", || child.try_wait().unwrap().is_some());
    let code = child.wait().unwrap().code();
    Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}
