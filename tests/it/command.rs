//! Runs a command of the binary to its end.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::daemon::{sluiced, wait_until};

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

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
}
