//! Waiting for a condition.

use std::time::{Duration, Instant};

use crate::bounds;

/// Waits until the condition holds.
///
/// # Panics
/// With `what`, when it doesn't within [`bounds::WAIT_DEADLINE`].
pub async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    until_within(bounds::WAIT_DEADLINE, what, condition).await;
}

/// The same with a deadline of one's own. A condition that is being looked at when it passes is waited for.
///
/// # Panics
/// With `what`, when the condition doesn't hold in time.
pub async fn until_within(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(bounds::LOOK_EVERY).await;
    }
}
