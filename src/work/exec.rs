//! `--exec`: a command for each message; the body on its stdin, the rest in its environment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sluiced_queue::RequestHeaders;
use std::os::unix::process::ExitStatusExt;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::time::timeout;

use super::attempt::{AttemptError, Job};
use super::facts::facts;
use super::group::{Groups, Running};
use crate::bounds::{WORK_VARIABLE_BYTES_MAX, WORK_VARIABLES_BYTES_MAX};

/// Runs a command for each message. Its stdout and stderr are the worker's own.
pub struct Exec {
    program: OsString,
    arguments: Vec<OsString>,
    groups: Groups,
}

impl Exec {
    /// Takes the words after `--exec`. Several are a program and its arguments, as they are. A single one
    /// with white space in it is a line for `sh`, unless there is a file of that name.
    ///
    /// # Panics
    /// Without any words, which clap doesn't let through.
    pub fn new(words: &[OsString], groups: Groups) -> Self {
        let (program, arguments) = words.split_first().expect("clap asks for one word at least");
        if arguments.is_empty() && is_line(program) {
            return Self { program: "sh".into(), arguments: vec!["-c".into(), program.clone()], groups };
        }
        Self { program: program.clone(), arguments: arguments.to_vec(), groups }
    }

    /// The command, for the log; its arguments may hold a secret.
    pub fn describe(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Runs it once; exit status 0 is success. What takes longer than `limit` is killed with all that it
    /// started.
    ///
    /// # Errors
    /// How the command ended otherwise.
    pub async fn run(&self, job: &Job, limit: Duration) -> Result<(), AttemptError> {
        let mut running = self.start(job).map_err(|error| self.not_started(&error))?;
        let body = job.context.data.bytes();
        match timeout(limit, feed_and_wait(&mut running, body)).await {
            Ok(Ok(status)) => verdict(status),
            Ok(Err(error)) => Err(self.not_started(&error)),
            Err(_) => {
                running.stop().await;
                Err(AttemptError::TimedOut(limit))
            }
        }
    }

    fn start(&self, job: &Job) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(variables(job)).stdin(Stdio::piped());
        self.groups.start(&mut command)
    }

    fn not_started(&self, error: &io::Error) -> AttemptError {
        AttemptError::NotStarted { program: self.describe(), why: error.to_string() }
    }
}

fn is_line(word: &OsStr) -> bool {
    word.to_string_lossy().contains(char::is_whitespace) && !Path::new(word).exists()
}

/// Writes the body while the command runs, and no longer: something that it left behind may hold the
/// other end of the pipe, and read nothing.
async fn feed_and_wait(running: &mut Running, body: &[u8]) -> io::Result<ExitStatus> {
    let stdin = running.stdin();
    let feed = async {
        if let Some(stdin) = stdin {
            feed(stdin, body).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        status = running.wait() => status,
        never = feed => never,
    }
}

/// A command that doesn't read all of its stdin is none the worse for it.
async fn feed(mut stdin: ChildStdin, body: &[u8]) {
    let _ = stdin.write_all(body).await;
    // The end of `stdin` here is what the command sees as the end of the body.
}

fn verdict(status: ExitStatus) -> Result<(), AttemptError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(AttemptError::Exit(code)),
        (None, signal) => Err(AttemptError::Signal(signal.unwrap_or_default())),
    }
}

/// The message as variables. What the system wouldn't take is left out, and named in `SLUICED_OMITTED`:
/// it can still be had by a worker that reads the message itself.
fn variables(job: &Job) -> Vec<(String, String)> {
    let context = &job.context;
    let request = &context.request;
    let mut all = facts(job);
    all.push(("content-type", context.content_type.clone().unwrap_or_default()));
    all.push(("traceparent", context.traceparent.clone().unwrap_or_default()));
    all.push(("method", request.method.clone()));
    all.push(("headers", headers(&request.headers)));
    let mut room = WORK_VARIABLES_BYTES_MAX;
    let mut omitted = Vec::new();
    let mut variables = Vec::with_capacity(all.len() + 1);
    for (name, value) in all {
        let name = format!("SLUICED_{}", name.replace('-', "_").to_ascii_uppercase());
        let bytes = name.len() + value.len();
        if bytes > WORK_VARIABLE_BYTES_MAX || bytes > room {
            omitted.push(name.clone());
            // Set all the same: the worker's own environment may have one of that name.
            variables.push((name, String::new()));
        } else {
            room -= bytes;
            variables.push((name, without_nul(value)));
        }
    }
    variables.push(("SLUICED_OMITTED".into(), omitted.join(",")));
    variables
}

/// A variable ends at its first NUL.
fn without_nul(value: String) -> String {
    if value.contains('\0') { value.replace('\0', "") } else { value }
}

/// A JSON object of name to values, in the order of arrival.
fn headers(headers: &RequestHeaders) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let fields = headers.iter().map(|(name, values)| {
        let values: Vec<String> = values.map(quoted).collect();
        format!("{}:[{}]", quoted(name), values.join(","))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
