//! The cases see what is wrong: each lie here must make the case fail that is there for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sluiced_queue::conformance::{Destination, Facts, Rig, Setup, run};
use sluiced_queue::{
    Backlog, ConsumeError, DeadLetterStore, Durable, EnqueueError, Health, LeasedMessage, Receipt,
    WebHookQueueConsumer, WebHookQueueContext, WebHookQueueHandler,
};

use crate::EmbeddedRig;

/// What a backend may do wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    GivesReceiptsForNothing,
    QueuesTwice,
    AltersBodies,
    TakesWhatIsTooLarge,
    TakesWhenClosed,
    HangsAtPublish,
    CountsNoAttempts,
    CountsWhatWasNotBegun,
    RetriesEarly,
    ForgetsWhatIsDelayed,
    CallsLostLeasesHeld,
    ForgetsAcknowledgements,
    IgnoresExtensions,
    HandsOutAMessageTwice,
    AnswersAtOnce,
    DropsDeadLetters,
}

struct LyingRig {
    inner: EmbeddedRig,
    lie: Lie,
}

#[async_trait(?Send)]
impl Rig for LyingRig {
    fn facts(&self) -> Facts {
        Facts { publish_deadline: Duration::from_secs(1), ..self.inner.facts() }
    }

    async fn renew(&mut self) {
        self.inner.renew().await;
    }

    async fn handler(&mut self, setup: Setup) -> Arc<dyn WebHookQueueHandler> {
        let inner = self.inner.handler(setup).await;
        Arc::new(LyingHandler { inner, lie: self.lie, calls: AtomicUsize::new(0) })
    }

    async fn consumer(&mut self, destination: Destination) -> Arc<dyn WebHookQueueConsumer> {
        let inner = self.inner.consumer(destination).await;
        Arc::new(LyingConsumer { inner, lie: self.lie, last: std::sync::Mutex::default() })
    }

    async fn dead_letters(&mut self) -> Arc<dyn DeadLetterStore> {
        self.inner.dead_letters().await
    }
}

struct LyingHandler {
    inner: Arc<dyn WebHookQueueHandler>,
    lie: Lie,
    calls: AtomicUsize,
}

#[async_trait]
impl WebHookQueueHandler for LyingHandler {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        let seldom = self.calls.fetch_add(1, Ordering::SeqCst) % 300 == 299;
        match self.lie {
            Lie::GivesReceiptsForNothing if seldom => return Ok(Receipt::confirmed(Durable::Embedded)),
            Lie::HangsAtPublish if seldom => std::future::pending().await,
            Lie::QueuesTwice if seldom => self.inner.enqueue(context).await.map(drop)?,
            _ => {}
        }
        match self.inner.enqueue(context).await {
            Err(EnqueueError::TooLarge { .. }) if self.lie == Lie::TakesWhatIsTooLarge => {
                Ok(Receipt::confirmed(Durable::Embedded))
            }
            Err(EnqueueError::Unavailable(_)) if self.lie == Lie::TakesWhenClosed => {
                Ok(Receipt::confirmed(Durable::Embedded))
            }
            outcome => outcome,
        }
    }

    fn message_bytes_max(&self) -> usize {
        self.inner.message_bytes_max()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct LyingConsumer {
    inner: Arc<dyn WebHookQueueConsumer>,
    lie: Lie,
    last: std::sync::Mutex<Option<LeasedMessage>>,
}

#[async_trait]
impl WebHookQueueConsumer for LyingConsumer {
    async fn receive(
        &self,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedMessage>, ConsumeError> {
        let wait = if self.lie == Lie::AnswersAtOnce { Duration::ZERO } else { wait };
        if self.lie == Lie::HandsOutAMessageTwice
            && let Some(last) = self.last.lock().unwrap().take()
        {
            return Ok(vec![last]);
        }
        let mut messages = self.inner.receive(max, lease, wait).await?;
        for message in &mut messages {
            match self.lie {
                Lie::CountsNoAttempts => message.attempt = 1,
                Lie::AltersBodies => {
                    let text = String::from_utf8_lossy(&message.message).replace("1.0e+2", "100.0");
                    message.message = text.into_bytes().into();
                }
                _ => {}
            }
        }
        *self.last.lock().unwrap() = messages.first().cloned();
        Ok(messages)
    }

    async fn acknowledge(&self, message: &LeasedMessage) -> Result<(), ConsumeError> {
        match self.lie {
            Lie::ForgetsAcknowledgements => Ok(()),
            Lie::CallsLostLeasesHeld => self.inner.acknowledge(message).await.or(Ok(())),
            _ => self.inner.acknowledge(message).await,
        }
    }

    async fn release(
        &self,
        message: &LeasedMessage,
        delay: Duration,
        failed: bool,
    ) -> Result<(), ConsumeError> {
        match self.lie {
            Lie::RetriesEarly => self.inner.release(message, delay / 2, failed).await,
            Lie::CountsWhatWasNotBegun => self.inner.release(message, delay, true).await,
            _ => self.inner.release(message, delay, failed).await,
        }
    }

    async fn extend(&self, message: &LeasedMessage, lease: Duration) -> Result<(), ConsumeError> {
        match self.lie {
            Lie::IgnoresExtensions => Ok(()),
            _ => self.inner.extend(message, lease).await,
        }
    }

    async fn dead_letter(&self, message: &LeasedMessage, reason: &str) -> Result<(), ConsumeError> {
        match self.lie {
            Lie::DropsDeadLetters => self.inner.acknowledge(message).await,
            _ => self.inner.dead_letter(message, reason).await,
        }
    }

    async fn backlog(&self) -> Result<Backlog, ConsumeError> {
        let backlog = self.inner.backlog().await?;
        Ok(if self.lie == Lie::ForgetsWhatIsDelayed { Backlog { delayed: 0, ..backlog } } else { backlog })
    }
}

/// The case must fail, and say in these words why.
async fn is_seen(lie: Lie, case: &'static str, why: &str) {
    let running = async move {
        let mut rig = LyingRig { inner: EmbeddedRig::start().await, lie };
        run(&mut rig, &[case]).await;
    };
    let local = tokio::task::LocalSet::new();
    let outcome = local.run_until(async { tokio::task::spawn_local(running).await }).await;
    let failed = outcome.expect_err(&format!("{case} doesn't see a backend that {lie:?}"));
    let panic = failed.into_panic();
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(text.contains(why), "{lie:?} is seen by {case}, but for another reason: {text}");
}

macro_rules! seen {
    ($($name:ident: $lie:ident, $case:ident, $why:literal;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                is_seen(Lie::$lie, stringify!($case), $why).await;
            }
        )*
    };
}

seen! {
    receipts_for_nothing: GivesReceiptsForNothing, many_at_once, "LOST";
    doubled_messages: QueuesTwice, many_at_once, "came more than once";
    hanging_publishes: HangsAtPublish, many_at_once, "hangs";
    altered_bodies: AltersBodies, round_trip, "the body is another one";
    too_large_messages: TakesWhatIsTooLarge, too_large, "too long";
    closed_handlers: TakesWhenClosed, closing, "a closed handler gave a receipt";
    uncounted_attempts: CountsNoAttempts, release_at_once, "left: 1";
    wrongly_counted_attempts: CountsWhatWasNotBegun, release_unfailed, "only a failure counts";
    early_retries: RetriesEarly, delayed_retry, "it came after 1";
    forgotten_delays: ForgetsWhatIsDelayed, backlog_counts, "five with the delayed one";
    lost_leases: CallsLostLeasesHeld, lease_end, "LeaseLost";
    forgotten_acknowledgements: ForgetsAcknowledgements, acknowledged_work, "came although it shouldn't";
    ignored_extensions: IgnoresExtensions, extended_lease, "came although it shouldn't";
    doubled_work: HandsOutAMessageTwice, shared_work, "60";
    impatience: AnswersAtOnce, waiting_for_work, "it didn't wait";
    dropped_letters: DropsDeadLetters, dead_letter_life, "0 dead letters instead of 1";
}
