//! Queues of a worker's that are too young to be trusted: see [`bounds::SETTLE`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep_until};

use crate::bounds;

/// The queues that this worker has created, and when they will have settled. There are no more of them than
/// delays and dead letters need.
#[derive(Default)]
pub(crate) struct Young(Mutex<BTreeMap<String, Instant>>);

impl Young {
    /// To be called before the queue is created: until [`Self::is_there`] it is the younger the later it is.
    pub(crate) fn begin(&self, queue: &str) {
        self.lock().insert(queue.to_owned(), Instant::now() + bounds::CALL_DEADLINE + bounds::SETTLE);
    }

    /// It has been created by now.
    pub(crate) fn is_there(&self, queue: &str) {
        if let Some(until) = self.lock().get_mut(queue) {
            *until = (*until).min(Instant::now() + bounds::SETTLE);
        }
    }

    /// Waits until what was put into the queue would survive the broker's death.
    pub(crate) async fn settled(&self, queue: &str) {
        loop {
            let until = self.lock().get(queue).copied();
            match until {
                Some(until) if Instant::now() < until => {
                    sleep_until(until.min(Instant::now() + bounds::SETTLE)).await;
                }
                _ => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_settles_a_second_after_it_is_there() {
        let young = Young::default();
        young.settled("old").await;
        let began = Instant::now();
        young.begin("new");
        let declaring = bounds::SETTLE / 5;
        tokio::time::sleep(declaring).await;
        young.is_there("new");
        young.settled("new").await;
        assert!(began.elapsed() >= declaring + bounds::SETTLE, "{:?}", began.elapsed());
        assert!(began.elapsed() < bounds::CALL_DEADLINE, "{:?}", began.elapsed());
    }
}
