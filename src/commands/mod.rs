//! The commands, one file each.

pub mod check;
pub mod dead;
pub mod dead_view;
pub mod drain;
pub mod providers;
pub mod ready;
pub mod reload;
pub mod send;
pub mod serve;
pub mod signals;
pub mod verify;
pub mod work;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Command};
use crate::config::ConfigError;
use crate::config::source::Source;
use crate::handlers::WebHookHandler;
use crate::limits;
use crate::verify::{ReceiverSettings, Secret};

/// The `sluiced` command, with handlers of one's own besides the configured ones: parses the command line,
/// runs, and gives the process's exit code.
pub fn run(handlers: Vec<Box<dyn WebHookHandler>>) -> ExitCode {
    // One cryptography for all; an error would mean that somebody chose before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if matches!(cli.command, Command::Serve(_)) {
        limits::keep_large_blocks_apart();
    }
    let Some((_, matches)) = matches.subcommand() else { unreachable!("clap asks for a command") };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::Running(format!("can't start the runtime: {error}")))),
    };
    let result = runtime.block_on(async {
        match &cli.command {
            Command::Serve(flags) => serve::run(flags, matches, handlers).await,
            Command::Work(flags) => work::run(flags, matches).await,
            Command::Send(flags) => send::run(flags).await,
            Command::Verify(flags) => verify::run(flags).await,
            Command::Providers(flags) => providers::run(flags),
            Command::Check(flags) => check::run(flags, matches).await,
            Command::Drain(flags) => drain::run(flags, matches).await,
            Command::Dead { action } => dead::run(action, matches).await,
        }
    });
    // A thread that is stuck in a write must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended(result)
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sluiced: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Writes to stdout; who reads no further has what they wanted.
fn put_out(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Running(format!("can't write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Reads a `--secret SOURCE`. clap would repeat one that is no source, and it may be the secret itself.
fn read_secret(source: &str) -> Result<Secret, Failure> {
    let secret = source.parse().and_then(|source: Source| source.read());
    secret.map(|secret| Secret::new(secret.to_vec())).map_err(|e| Failure::Usage(format!("--secret: {e}")))
}

/// Takes each `--set KEY=SOURCE`.
fn put_settings(settings: &mut ReceiverSettings, given: &[String]) -> Result<(), Failure> {
    for set in given {
        let (key, source) =
            set.split_once('=').ok_or_else(|| Failure::Usage("--set: write KEY=SOURCE".into()))?;
        let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("--set {key}: {e}"));
        let source: Source = source.parse().map_err(|e: String| wrong(&e))?;
        let value = source.read().map_err(|e| wrong(&e))?;
        settings.set(key, Secret::new(value.to_vec())).map_err(|e| wrong(&e))?;
    }
    Ok(())
}

/// How a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something while running.
    #[error("{0}")]
    Running(String),
    /// A flag's value that clap could not judge.
    #[error("{0}")]
    Usage(String),
    /// The configuration.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Running(_) => 1,
            Self::Usage(_) => 2,
            // EX_CONFIG of sysexits.h.
            Self::Config(_) => 78,
        }
    }
}
