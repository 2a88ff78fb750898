//! Reads everything out of a queue: with the broker's usual client in another language, which shares nothing with
//! ours, or of the embedded queue, whose only client is ours, through `sluiced work --print`.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
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
    /// Everything that is in the queue now, taken out of it.
    ///
    /// # Errors
    /// Says what the program said.
    pub async fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("clients");
        let clients = std::env::var_os("SLUICED_TEST_CLIENTS").map_or(workspace, Into::into);
        let (program, script, arguments) = match self {
            Self::Python(script, arguments) => (clients.join(".venv/bin/python"), script, arguments),
            Self::Node(script, arguments) => ("node".into(), script, arguments),
        };
        let mut command = Command::new(program);
        command.arg(clients.join(script)).args(arguments).arg(READER_QUIET_S);
        let lines = lines(command).await?;
        lines.iter().map(|line| decode(line)).collect()
    }
}

fn decode(line: &str) -> Result<Vec<u8>, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
    STANDARD.decode(line.body).map_err(|error| format!("not base64: {error}"))
}

/// A command's lines.
///
/// # Errors
/// Says what it wrote to stderr, when it fails or takes too long.
pub async fn lines(mut command: Command) -> Result<Vec<String>, String> {
    let what = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    let output = timeout(READ_DEADLINE, command.kill_on_drop(true).output()).await;
    let output = output
        .map_err(|_| format!("{what}: not done within {READ_DEADLINE:?}"))?
        .map_err(|error| format!("{what}: {error}; tests/run installs what the tests need"))?;
    if !output.status.success() {
        return Err(format!("{what}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8(output.stdout).map_err(|error| format!("{what}: {error}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}
