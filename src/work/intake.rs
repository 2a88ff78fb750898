//! Waits for the queue and asks it for messages, for as long as there is hope that it answers.

use std::sync::Arc;
use std::time::Duration;

use sluiced_queue::{ConsumeError, LeasedMessage, WebHookQueueConsumer};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::WorkError;
use super::backoff::Backoff;
use super::report::Report;
use crate::backend::{self, Opened};
use crate::bounds::{
    WORK_LEASE, WORK_RETRY, WORK_RETRY_CAP, WORK_SETTLE_TIMEOUT, WORK_STOP_GRACE, WORK_WAIT,
};
use crate::config::QueueConfig;

/// A queue that is open.
pub struct Intake {
    queue: Queue,
    /// Errors since it last answered.
    errors: u32,
}

/// How messages are settled. A clone is a second hand on the same queue.
#[derive(Clone)]
pub struct Queue {
    consumer: Arc<dyn WebHookQueueConsumer>,
    report: Arc<Report>,
}

impl Intake {
    /// Waits for a queue that isn't there yet: the daemon may not have started.
    ///
    /// # Errors
    /// When waiting won't help.
    pub async fn open(config: &QueueConfig, report: Arc<Report>) -> Result<Self, WorkError> {
        let mut said = false;
        loop {
            let why = match backend::open_consumer(config).await? {
                Opened::Open(consumer) => return Ok(Self { queue: Queue { consumer, report }, errors: 0 }),
                Opened::NotYet(why) => why,
            };
            if !said && config.is_remote() {
                tracing::warn!(
                    backend = config.backend.as_str(),
                    why,
                    "the queue can't be reached yet; waiting"
                );
            } else if !said {
                let dir = crate::config::receivers::absolute(&config.data_dir);
                tracing::info!(data_dir = %dir.display(), "there is no queue yet; waiting for `sluiced serve`");
            }
            said = true;
            sleep(WORK_RETRY).await;
        }
    }

    /// What messages are settled with.
    pub fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Leases up to `max` messages; none when none came within a moment, when the queue can't be reached
    /// now, or when told to stop.
    ///
    /// # Errors
    /// When the queue can't be used any more.
    pub async fn receive(
        &mut self,
        max: usize,
        stop: &CancellationToken,
    ) -> Result<Vec<LeasedMessage>, WorkError> {
        let received = self.queue.consumer.receive(max, WORK_LEASE, WORK_WAIT);
        // Not just dropped when told to stop: messages that are on their way would stay leased.
        let late = async {
            stop.cancelled().await;
            sleep(WORK_STOP_GRACE).await;
        };
        let received = tokio::select! {
            received = received => received,
            () = late => Ok(Vec::new()),
        };
        match received {
            Ok(messages) => {
                self.answered();
                Ok(self.unless_stopped(messages, stop).await)
            }
            Err(ConsumeError::Failed(why)) => Err(WorkError::Queue(why)),
            Err(error) => {
                self.no_answer(&error, stop).await;
                Ok(Vec::new())
            }
        }
    }

    /// Nothing visible, leased or delayed; an error never counts as that.
    pub async fn is_empty(&self) -> bool {
        self.queue.consumer.backlog().await.is_ok_and(|backlog| backlog.is_empty())
    }

    async fn unless_stopped(
        &self,
        messages: Vec<LeasedMessage>,
        stop: &CancellationToken,
    ) -> Vec<LeasedMessage> {
        if !stop.is_cancelled() {
            return messages;
        }
        for message in &messages {
            self.queue.give_back(message).await;
        }
        Vec::new()
    }

    fn answered(&mut self) {
        if self.errors > 0 {
            tracing::info!("the queue answers again");
            self.errors = 0;
        }
    }

    /// Says so once, and waits longer each time.
    async fn no_answer(&mut self, error: &ConsumeError, stop: &CancellationToken) {
        if self.errors == 0 {
            tracing::warn!(%error, "trying again until the queue answers");
        }
        self.errors = self.errors.saturating_add(1);
        let pause = Backoff { first: WORK_RETRY, cap: WORK_RETRY_CAP }.delay(self.errors);
        stop.run_until_cancelled(sleep(pause)).await;
    }
}

impl Queue {
    /// Done for good.
    ///
    /// # Errors
    /// Then it may come again.
    pub async fn acknowledge(&self, message: &LeasedMessage) -> Result<(), ConsumeError> {
        self.insist(|| self.consumer.acknowledge(message)).await?;
        self.report.acknowledged();
        Ok(())
    }

    /// The attempt failed: it comes back after `delay`.
    ///
    /// # Errors
    /// Then it comes back when its lease ends.
    pub async fn release_failed(&self, message: &LeasedMessage, delay: Duration) -> Result<(), ConsumeError> {
        self.insist(|| self.consumer.release(message, delay, true)).await
    }

    /// Given up.
    ///
    /// # Errors
    /// Then it comes again.
    pub async fn bury(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        self.insist(|| self.consumer.dead_letter(message, reason)).await
    }

    /// It wasn't begun, and somebody else may have it at once. If that can't be said, then when its lease ends.
    pub async fn give_back(&self, message: &LeasedMessage) {
        if self.consumer.release(message, Duration::ZERO, false).await.is_ok() {
            self.report.returned();
        }
    }

    /// Keeps a lease; ends when it is lost.
    pub async fn hold(&self, message: &LeasedMessage) {
        loop {
            self.until_next_extension().await;
            if self.consumer.extend(message, WORK_LEASE).await == Err(ConsumeError::LeaseLost) {
                return;
            }
        }
    }

    /// Keeps many leases, for ever. One that is lost means a second delivery, which at-least-once allows.
    pub async fn hold_all(&self, held: &[LeasedMessage]) -> ! {
        loop {
            self.until_next_extension().await;
            for message in held {
                let _ = self.consumer.extend(message, WORK_LEASE).await;
            }
        }
    }

    /// One extension may fail before the next is too late.
    async fn until_next_extension(&self) {
        sleep(WORK_LEASE / 3).await;
    }

    /// The log.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Tries again while the queue can't be reached: what was done should not be done twice.
    async fn insist<F>(&self, call: impl Fn() -> F) -> Result<(), ConsumeError>
    where
        F: Future<Output = Result<(), ConsumeError>>,
    {
        let until = Instant::now() + WORK_SETTLE_TIMEOUT;
        let mut answer = call().await;
        while let Err(ConsumeError::Unavailable(_)) = &answer
            && timeout_at(until, sleep(WORK_RETRY)).await.is_ok()
        {
            answer = call().await;
        }
        answer
    }
}
