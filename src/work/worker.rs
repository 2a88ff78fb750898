//! The life of one message, from its lease to its verdict.

use std::time::Duration;

use sluiced_queue::LeasedMessage;

use super::attempt::{Action, AttemptError, Job};
use super::backoff::Backoff;
use super::intake::Queue;

/// What is done with each message, and how often.
pub struct Worker {
    /// Settles them.
    pub queue: Queue,
    /// One attempt.
    pub action: Action,
    /// What one attempt may take.
    pub timeout: Duration,
    /// After so many failures a message is a dead letter.
    pub attempts_max: u32,
    /// When a failed message comes back.
    pub backoff: Backoff,
}

impl Worker {
    /// Works on one message and settles it; false when somebody else may have it by now.
    pub async fn work_on(&self, message: LeasedMessage) -> bool {
        let context = match message.context() {
            Ok(context) => context,
            Err(error) => return self.bury(&message, None, &error.to_string()).await,
        };
        let job = Job { message, context };
        if job.message.attempt > self.attempts_max {
            return self.bury(&job.message, Some(&job), &self.never_ended()).await;
        }
        let attempt = tokio::select! {
            attempt = self.action.run(&job, self.timeout) => attempt,
            // Whoever has it now works on it; two at a time would be worse than one too late.
            () = self.queue.hold(&job.message) => return self.lost(&job, "the lease was lost; what ran is stopped"),
        };
        match attempt {
            Ok(()) => self.acknowledge(&job).await,
            Err(error) if job.message.attempt >= self.attempts_max => {
                let reason = format!("{error} (attempt {} of {})", job.message.attempt, self.attempts_max);
                self.bury(&job.message, Some(&job), &reason).await
            }
            Err(error) => self.release(&job, &error).await,
        }
    }

    async fn acknowledge(&self, job: &Job) -> bool {
        match self.queue.acknowledge(&job.message).await {
            Ok(()) => true,
            Err(error) => self.lost(job, &format!("done, and couldn't be acknowledged: {error}")),
        }
    }

    async fn release(&self, job: &Job, why: &AttemptError) -> bool {
        let delay = self.backoff.delay(job.message.attempt);
        match self.queue.release_failed(&job.message, delay).await {
            Ok(()) => {
                self.queue.report().failed(job, why, delay);
                true
            }
            Err(error) => self.lost(job, &format!("{why}, and couldn't be given back: {error}")),
        }
    }

    async fn bury(&self, message: &LeasedMessage, job: Option<&Job>, reason: &str) -> bool {
        match self.queue.bury(message, reason).await {
            Ok(()) => {
                self.queue.report().buried(message, job, reason);
                true
            }
            Err(error) => {
                let why = format!("couldn't be made a dead letter: {error}");
                self.queue.report().lost(message, job, &why);
                false
            }
        }
    }

    fn lost(&self, job: &Job, why: &str) -> bool {
        self.queue.report().lost(&job.message, Some(job), why);
        false
    }

    /// Handed out again and again, and nobody ever said what came of it.
    fn never_ended(&self) -> String {
        format!("its worker died, or lost it (attempt {max} of {max})", max = self.attempts_max)
    }
}
