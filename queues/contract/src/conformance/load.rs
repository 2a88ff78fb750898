//! Many publishers at once, while something happens to the queue.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::tools::{RECOVERY, publish};
use super::{Facts, messages};
use crate::handler::WebHookQueueHandler;

/// After an error, as a sender would.
const PAUSE: Duration = Duration::from_millis(20);

/// Publishers that go on until told to stop, and remember what got a receipt.
pub(super) struct Load {
    shared: Arc<Shared>,
    publishers: JoinSet<()>,
}

struct Shared {
    stop: AtomicBool,
    failed: AtomicUsize,
    receipts: Mutex<HashSet<Uuid>>,
}

impl Load {
    /// So many at once; each message has an id of its own.
    pub(super) fn start(handler: &Arc<dyn WebHookQueueHandler>, publishers: usize, facts: Facts) -> Self {
        let shared = Shared { stop: false.into(), failed: 0.into(), receipts: Mutex::default() };
        let mut this = Self { shared: Arc::new(shared), publishers: JoinSet::new() };
        for _ in 0..publishers {
            this.publishers.spawn(go_on(handler.clone(), this.shared.clone(), facts.publish_deadline));
        }
        this
    }

    /// Receipts so far.
    pub(super) fn receipts(&self) -> usize {
        self.shared.receipts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits for so many receipts more.
    pub(super) async fn until_more(&mut self, more: usize) {
        let (began, wanted) = (Instant::now(), self.receipts() + more);
        while self.receipts() < wanted {
            assert!(began.elapsed() < RECOVERY, "no {more} more receipts within {RECOVERY:?}");
            if let Some(ended) = self.publishers.try_join_next() {
                ended.expect("no publish hangs");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends it: all that got a receipt, and how many publishes failed.
    pub(super) async fn stop(mut self) -> (HashSet<Uuid>, usize) {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.publishers.join_next().await {
            ended.expect("no publish hangs");
        }
        let mut receipts = self.shared.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut receipts), self.shared.failed.load(Ordering::SeqCst))
    }
}

async fn go_on(handler: Arc<dyn WebHookQueueHandler>, shared: Arc<Shared>, deadline: Duration) {
    while !shared.stop.load(Ordering::SeqCst) {
        let message = messages::message();
        if publish(&*handler, &message, deadline).await.is_ok() {
            shared.receipts.lock().unwrap_or_else(PoisonError::into_inner).insert(message.message_id);
        } else {
            shared.failed.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
