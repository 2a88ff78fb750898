//! A future that is brought to its end, whoever stops waiting for it.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;

/// What a panic carried.
pub type Panic = Box<dyn Any + Send>;

/// Runs in the task of whoever awaits it. Dropped before its end it becomes a task of its own: nearly no
/// sender hangs up, so nearly no webhook pays for one.
pub struct ToTheEnd<F: Future<Output: Send> + Send + 'static> {
    /// `None` after its end.
    future: Option<Pin<Box<TrackedFuture<F>>>>,
}

impl<F: Future<Output: Send> + Send + 'static> ToTheEnd<F> {
    /// Takes the future, which counts as one of `tracker`'s tasks until its end.
    pub fn new(future: F, tracker: &TaskTracker) -> Self {
        Self { future: Some(Box::pin(tracker.track_future(future))) }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("nothing is polled after its end");
        // What a panic left behind isn't looked at any more: the future is dropped.
        let result = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        self.future = None;
        Poll::Ready(result)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let (Some(future), Ok(runtime)) = (self.future.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// The words of a panic, as far as it has any.
pub fn words(panic: &Panic) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_stops_waiting_stops_nothing() {
        let (tracker, done) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
        let telling = done.clone();
        let work = async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            telling.store(true, Ordering::Relaxed);
        };
        let waited = tokio::time::timeout(Duration::from_millis(1), ToTheEnd::new(work, &tracker)).await;
        assert!(waited.is_err() && !done.load(Ordering::Relaxed));
        assert_eq!(tracker.len(), 1, "stopping waits for it");
        tracker.close();
        tokio::time::timeout(Duration::from_secs(5), tracker.wait()).await.unwrap();
        assert!(done.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_was_never_polled_runs_too() {
        let (tracker, (tell, told)) = (TaskTracker::new(), tokio::sync::oneshot::channel());
        drop(ToTheEnd::new(async move { tell.send(()).is_ok() }, &tracker));
        told.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_a_result() {
        let tracker = TaskTracker::new();
        let panic = ToTheEnd::new(async { panic!("on purpose {}", 1) }, &tracker).await.unwrap_err();
        assert_eq!(words(&panic), "on purpose 1");
        assert!(tracker.is_empty());
    }
}
