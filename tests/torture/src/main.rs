//! The program: see the library beside it.

use std::process::ExitCode;

use clap::Parser;
use sluiced_torture::options::Options;

/// Exit status of a run that couldn't be done.
const FAILED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match sluiced_torture::run(&Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("torture: {why}");
            ExitCode::from(FAILED)
        }
    }
}
