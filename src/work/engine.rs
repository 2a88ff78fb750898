//! Takes as many messages as can be begun at once, and no more, until there is a reason to stop.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::WorkError;
use super::intake::Intake;
use super::worker::Worker;

/// Runs a worker's jobs side by side.
pub struct Engine {
    /// Where messages come from.
    pub intake: Intake,
    /// What is done with them.
    pub worker: Arc<Worker>,
    /// Messages at a time.
    pub concurrency: usize,
    /// End after so many messages.
    pub limit: Option<u64>,
    /// End when nothing is left.
    pub exit_when_empty: bool,
}

/// Messages that are being worked on; each says whether it was settled.
type Jobs = JoinSet<bool>;

impl Engine {
    /// Works until the limit, until the queue is empty, or until told to stop; what has begun is finished.
    ///
    /// # Errors
    /// When the queue can't be used any more.
    pub async fn run(mut self, stop: &CancellationToken) -> Result<(), WorkError> {
        let mut jobs = Jobs::new();
        let ended = self.take(&mut jobs, stop).await;
        if !jobs.is_empty() {
            tracing::info!(running = jobs.len() as u64, "finishing what has begun");
        }
        while jobs.join_next().await.is_some() {}
        ended
    }

    async fn take(&mut self, jobs: &mut Jobs, stop: &CancellationToken) -> Result<(), WorkError> {
        let mut settled = 0;
        loop {
            while let Some(ended) = jobs.try_join_next() {
                settled += counted(ended);
            }
            if stop.is_cancelled() || self.limit.is_some_and(|limit| settled >= limit) {
                return Ok(());
            }
            // Nothing runs only when there is room: below the limit and without jobs there always is.
            let room = self.room(settled, jobs.len());
            if room == 0 {
                tokio::select! {
                    Some(ended) = jobs.join_next() => settled += counted(ended),
                    () = stop.cancelled() => {}
                }
                continue;
            }
            let messages = self.intake.receive(room, stop).await?;
            if messages.is_empty() && jobs.is_empty() && self.exit_when_empty && self.intake.is_empty().await
            {
                return Ok(());
            }
            for message in messages {
                let worker = self.worker.clone();
                jobs.spawn(async move { worker.work_on(message).await });
            }
        }
    }

    /// How many more could be begun now.
    fn room(&self, settled: u64, running: usize) -> usize {
        let until_limit = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(settled));
        let slots = usize::try_from(until_limit).unwrap_or(usize::MAX).min(self.concurrency);
        slots.saturating_sub(running)
    }
}

/// A job that panicked has settled nothing: its message comes back when its lease ends.
fn counted(ended: Result<bool, JoinError>) -> u64 {
    match ended {
        Ok(settled) => settled.into(),
        Err(error) => {
            tracing::error!(%error, "a message's work panicked");
            0
        }
    }
}
