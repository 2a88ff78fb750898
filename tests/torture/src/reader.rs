//! Reads everything out of a queue: with the broker's usual client in another language, which shares nothing with
//! ours, or of the embedded queue, whose only client is ours, through `sluiced work --print`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::time::timeout;

use crate::bounds::{READ_DEADLINE, READER_QUIET_S};

/// A program that takes everything out of a queue and prints a message a line.
#[derive(Clone, Debug)]
pub enum Reader {
    /// `python SCRIPT ARGUMENTS… QUIET_SECONDS`, in `tests/clients`.
    Python(&'static str, Vec<String>),
    /// The same with `node`.
    Node(&'static str, Vec<String>),
}

#[derive(Deserialize)]
struct Line {
    body: String,
}

impl Reader {
    /// Takes everything out of the queue that is in it now. What was taken before something went wrong is in `into`
    /// all the same: it is nowhere else.
    ///
    /// # Errors
    /// Says what the program said.
    pub async fn read(&self, into: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let (mut command, script, arguments) = match self {
            Self::Python(script, arguments) => (python(), script, arguments),
            Self::Node(script, arguments) => (Command::new("node"), script, arguments),
        };
        command.arg(clients().join(script)).args(arguments).arg(READER_QUIET_S);
        let mut printed = Vec::new();
        let done = lines(command, &mut printed).await;
        for line in printed {
            into.push(decode(&line)?);
        }
        done
    }
}

/// Python, with the brokers' clients.
pub fn python() -> Command {
    Command::new(clients().join(".venv/bin/python"))
}

/// `tests/clients`, or where they are installed instead.
fn clients() -> PathBuf {
    let workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("clients");
    std::env::var_os("SLUICED_TEST_CLIENTS").map_or_else(workspace, PathBuf::from)
}

fn decode(line: &[u8]) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(line);
    let line: Line = serde_json::from_slice(line).map_err(|error| format!("{error}: {text}"))?;
    STANDARD.decode(line.body).map_err(|error| format!("not base64: {error}"))
}

/// Runs a command, and adds the lines that it prints, whatever becomes of it.
///
/// # Errors
/// Says what it wrote to stderr, when it fails or takes too long.
pub async fn lines(mut command: Command, into: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let what = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("{what}: {error}; tests/run installs what the tests need");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(failed)?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let mut said = Vec::new();
    let run = async {
        let print = async {
            let Some(stdout) = &mut stdout else { return Ok(()) };
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            while stdout.read_until(b'\n', &mut line).await? > 0 {
                into.push(line.trim_ascii_end().to_owned());
                line.clear();
            }
            Ok(())
        };
        let say = async {
            match &mut stderr {
                Some(stderr) => stderr.read_to_end(&mut said).await.map(drop),
                None => Ok(()),
            }
        };
        tokio::try_join!(print, say)?;
        child.wait().await
    };
    let status = timeout(READ_DEADLINE, run).await;
    let status = status.map_err(|_| format!("{what}: not done within {READ_DEADLINE:?}"))?.map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what}: {status}\n{}", String::from_utf8_lossy(&said)))
    }
}
