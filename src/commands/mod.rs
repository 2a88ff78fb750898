//! The commands, one file each.

pub mod check;
pub mod send;
pub mod serve;
pub mod signals;
pub mod work;

use crate::config::ConfigError;

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
