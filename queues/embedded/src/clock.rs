//! The wall clock. Leases and delays are kept in it, since several processes share them: all of them
//! run on one machine, so they read one clock. When it jumps forward, leases end early and a message
//! may be worked on twice; when it jumps back, they end late. Nothing is lost either way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bounds;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX / 2)
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX / 2)
}

/// `span` from now, in milliseconds since 1970, with `span` cut to the longest lease.
pub(crate) fn in_ms(now_ms: i64, span: Duration) -> i64 {
    now_ms + i64::try_from(span.min(bounds::LEASE_MAX).as_millis()).unwrap_or(0)
}

/// Before 1970 counts as 1970: a machine whose clock is that wrong still serves.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
