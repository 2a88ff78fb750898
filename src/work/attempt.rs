//! One try at a message, and why it may fail.

use std::time::Duration;

use sluiced_queue::{LeasedMessage, WebHookQueueContext};

use super::exec::Exec;
use super::forward::Forward;
use crate::units::HumanDuration;

/// A message that can be read, and the right to work on it.
pub struct Job {
    /// As it was leased.
    pub message: LeasedMessage,
    /// The webhook in it.
    pub context: WebHookQueueContext,
}

/// What is done with each message.
pub enum Action {
    /// Runs a command.
    Exec(Exec),
    /// Posts it.
    Forward(Box<Forward>),
}

impl Action {
    /// What it is, for the log.
    pub fn describe(&self) -> String {
        match self {
            Self::Exec(exec) => format!("exec {}", exec.describe()),
            Self::Forward(forward) => format!("forward {}", forward.describe()),
        }
    }

    /// Tries once, and takes `timeout` at most, but for a moment to clear up. Dropped, it stops at once.
    ///
    /// # Errors
    /// Why the message is not done.
    pub async fn run(&self, job: &Job, timeout: Duration) -> Result<(), AttemptError> {
        match self {
            Self::Exec(exec) => exec.run(job, timeout).await,
            Self::Forward(forward) => forward.run(job, timeout).await,
        }
    }
}

/// Why an attempt failed; as it stands in the log and in a dead letter's reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// The command can't be started.
    #[error("can't start {program}: {why}")]
    NotStarted {
        /// The command's name.
        program: String,
        /// What the system says.
        why: String,
    },
    /// The command said no.
    #[error("exit status {0}")]
    Exit(i32),
    /// Something killed the command.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// It took too long and was ended.
    #[error("not done within {}", HumanDuration(*.0))]
    TimedOut(Duration),
    /// The server said no.
    #[error("HTTP status {0}{hint}", hint = if (300..400).contains(.0) { ": redirects are not followed" } else { "" })]
    Status(u16),
    /// There was no answer.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The message can't be made a request.
    #[error("can't be forwarded: {0}")]
    NotForwardable(String),
}
