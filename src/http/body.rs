//! Reads a body within its bounds: length, time, pace, memory.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::budget::Account;
use crate::bounds::BODY_RATE_GRACE;
use crate::reason::Reason;

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub struct BodyBounds {
    /// Its length.
    pub bytes_max: u64,
    /// From its beginning to its end.
    pub timeout: Duration,
    /// The slowest that it may come, over the grace or longer.
    pub rate_min_bytes_per_s: u64,
}

/// Whether the declared length is over the bound already.
pub fn declared_too_large(body: &Incoming, bytes_max: u64) -> bool {
    body.size_hint().lower() > bytes_max
}

/// Reads the whole body. `seen` is kept up to date with the bytes that came.
///
/// # Errors
/// [`Reason::BodyTooLarge`], [`Reason::TooSlow`], [`Reason::Overloaded`] when the memory for bodies
/// is used up, [`Reason::BodyIncomplete`] when the sender hung up, [`Reason::RequestMalformed`] when it
/// broke the framing.
pub async fn read(
    mut body: Incoming,
    bounds: BodyBounds,
    account: &mut Account,
    seen: &mut u64,
) -> Result<Bytes, Reason> {
    let started = Instant::now();
    let mut collected = Collected::default();
    while let Some(frame) = next_frame(&mut body, started, bounds, *seen).await? {
        let Ok(data) = frame.into_data() else { continue };
        *seen += data.len() as u64;
        if *seen > bounds.bytes_max {
            return Err(Reason::BodyTooLarge);
        }
        if !account.charge(data.len() as u64) {
            return Err(Reason::Overloaded);
        }
        collected.push(data);
    }
    Ok(collected.finish())
}

/// Waits for the next frame until the body is late: at its deadline, or where its pace has fallen
/// below the slowest allowed.
async fn next_frame(
    body: &mut Incoming,
    started: Instant,
    bounds: BodyBounds,
    seen: u64,
) -> Result<Option<hyper::body::Frame<Bytes>>, Reason> {
    let deadline = started + late_after(bounds, seen);
    match timeout_at(deadline, body.frame()).await {
        Err(_) => Err(Reason::TooSlow),
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(error))) => Err(reason_of(&error)),
    }
}

/// A body that breaks its framing is told from one that ends too early by what hyper met.
fn reason_of(error: &hyper::Error) -> Reason {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let broken = matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
            return if broken { Reason::RequestMalformed } else { Reason::BodyIncomplete };
        }
        source = cause.source();
    }
    Reason::BodyIncomplete
}

/// How long after its beginning a body of which `seen` bytes came is late.
fn late_after(bounds: BodyBounds, seen: u64) -> Duration {
    let Some(seconds) = seen.checked_div(bounds.rate_min_bytes_per_s) else { return bounds.timeout };
    bounds.timeout.min(BODY_RATE_GRACE + Duration::from_secs(seconds))
}

/// One frame is kept as it is; several are put together. Room is made for what came, never for what was
/// declared: a length costs its sender nothing, and many of them would cost us the address space.
#[derive(Default)]
struct Collected {
    first: Bytes,
    rest: BytesMut,
}

impl Collected {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_late_at_its_deadline_or_when_it_crawls() {
        let bounds =
            BodyBounds { bytes_max: 1 << 20, timeout: Duration::from_secs(30), rate_min_bytes_per_s: 1_024 };
        assert_eq!(late_after(bounds, 0), BODY_RATE_GRACE);
        assert_eq!(late_after(bounds, 10 * 1_024), BODY_RATE_GRACE + Duration::from_secs(10));
        assert_eq!(late_after(bounds, 1 << 20), bounds.timeout);
        assert_eq!(late_after(BodyBounds { rate_min_bytes_per_s: 0, ..bounds }, 0), bounds.timeout);
    }

    #[test]
    fn frames_are_put_together_in_order() {
        let mut collected = Collected::default();
        for part in ["", "ab", "", "c", "de"] {
            collected.push(Bytes::from_static(part.as_bytes()));
        }
        assert_eq!(collected.finish(), "abcde");
        assert!(Collected::default().finish().is_empty());
    }
}
