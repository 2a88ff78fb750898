//! The `sluiced` command: parse, run, and turn how it ended into an exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use sluiced::cli::{Cli, Command};
use sluiced::commands::{self, Failure};

fn main() -> ExitCode {
    // One cryptography for all; a second call would mean that somebody else chose before us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let Some((_, matches)) = matches.subcommand() else { unreachable!("clap asks for a command") };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Failure::Running(format!("can't start the runtime: {error}")))),
    };
    let result = runtime.block_on(async {
        match &cli.command {
            Command::Serve(flags) => commands::serve::run(flags, matches).await,
            Command::Work(flags) => commands::work::run(flags, matches).await,
            Command::Send(flags) => commands::send::run(flags).await,
            Command::Check(flags) => commands::check::run(flags, matches),
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
