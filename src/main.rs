//! The `sluiced` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluiced::run(Vec::new())
}
