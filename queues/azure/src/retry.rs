//! What is tried again, when, and how often.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use crate::bounds;
use crate::fault::{Fault, Kind};

/// Makes a call, and makes it again where that helps, within [`bounds::CALL_DEADLINE`]. `call` is told how long it
/// has, and whether an earlier try may have done its work already.
pub(crate) async fn repeat<T, F>(mut call: impl FnMut(Duration, bool) -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let until = Instant::now() + bounds::CALL_DEADLINE;
    let mut retries = Retries::new(false);
    let mut uncertain = false;
    loop {
        let within = until.saturating_duration_since(Instant::now());
        let fault = match call(within, uncertain).await {
            Ok(done) => return Ok(done),
            Err(fault) => fault,
        };
        uncertain |= fault.is_uncertain();
        match retries.after(&fault) {
            Some(Next::Again(pause)) if Instant::now() + pause < until => tokio::time::sleep(pause).await,
            _ => return Err(fault),
        }
    }
}

/// What to do after a try that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Again(Duration),
    Create,
}

/// The tries of one call.
pub(crate) struct Retries {
    declare: bool,
    /// A connection broke already.
    broken: bool,
    created: bool,
    left: usize,
    /// A server's error isn't tried again: each time it may have been done once more.
    once: bool,
    pauses: <ExponentialBuilder as BackoffBuilder>::Backoff,
}

impl Retries {
    pub(crate) fn new(declare: bool) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(bounds::RETRY_PAUSE_FIRST)
            .with_max_delay(bounds::RETRY_PAUSE_MAX)
            .with_jitter()
            .without_max_times()
            .build();
        Self { declare, broken: false, created: false, once: false, left: bounds::RETRIES_MAX, pauses }
    }

    /// Those of a send. A server that fails may store the message all the same, time after time; whoever sends it
    /// has it still, and sends it again when the queue answers.
    pub(crate) fn of_send(declare: bool) -> Self {
        Self { once: true, ..Self::new(declare) }
    }

    /// `None`: give up.
    pub(crate) fn after(&mut self, fault: &Fault) -> Option<Next> {
        match fault.kind {
            // Azure closes idle connections, and a send may just have taken one; the next one is fresh.
            Kind::Broken if !std::mem::replace(&mut self.broken, true) => Some(Next::Again(Duration::ZERO)),
            Kind::ServerError if self.once => None,
            Kind::Throttled | Kind::ServerError => {
                self.left = self.left.checked_sub(1)?;
                // It may have been the creation that failed.
                self.created = false;
                Some(Next::Again(self.pause().max(fault.retry_after.unwrap_or_default())))
            }
            Kind::NoQueue if self.declare && !std::mem::replace(&mut self.created, true) => {
                Some(Next::Create)
            }
            // Until the deadline: there is nothing to do but wait.
            Kind::BeingDeleted => {
                self.created = false;
                Some(Next::Again(self.pause()))
            }
            _ => None,
        }
    }

    fn pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(bounds::RETRY_PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind) -> Fault {
        Fault::new(kind, String::new())
    }

    fn pause(next: Option<Next>) -> Duration {
        match next {
            Some(Next::Again(pause)) => pause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stale_connection_is_replaced_once_and_at_once() {
        let mut retries = Retries::new(true);
        assert_eq!(retries.after(&fault(Kind::Broken)), Some(Next::Again(Duration::ZERO)));
        assert_eq!(retries.after(&fault(Kind::Broken)), None);
    }

    #[test]
    fn nothing_that_waiting_does_not_mend_is_tried_again() {
        for kind in
            [Kind::Unreachable, Kind::Late, Kind::Refused, Kind::NotPermitted, Kind::TooLarge, Kind::Rejected]
        {
            assert_eq!(Retries::new(true).after(&fault(kind)), None, "{kind:?}");
        }
        assert_eq!(Retries::new(false).after(&fault(Kind::NoQueue)), None);
    }

    #[test]
    fn throttling_is_retried_a_few_times_with_growing_pauses_or_what_azure_asks() {
        let mut retries = Retries::new(true);
        let throttled = fault(Kind::Throttled);
        let pauses: Vec<Duration> =
            (0..bounds::RETRIES_MAX).map(|_| pause(retries.after(&throttled))).collect();
        assert!(pauses[0] >= bounds::RETRY_PAUSE_FIRST && pauses[4] > pauses[0] * 3, "{pauses:?}");
        assert_eq!(retries.after(&throttled), None);
        let asked = Fault { retry_after: Some(Duration::from_secs(7)), ..throttled };
        assert_eq!(pause(Retries::new(true).after(&asked)), Duration::from_secs(7));
    }

    #[test]
    fn a_send_that_may_have_been_stored_is_not_repeated_and_one_that_was_not_is() {
        assert_eq!(Retries::of_send(true).after(&fault(Kind::ServerError)), None);
        let mut retries = Retries::of_send(true);
        let throttled = (0..10).take_while(|_| retries.after(&fault(Kind::Throttled)).is_some()).count();
        assert_eq!(throttled, bounds::RETRIES_MAX);
        let mut retries = Retries::new(true);
        let failed = (0..10).take_while(|_| retries.after(&fault(Kind::ServerError)).is_some()).count();
        assert_eq!(failed, bounds::RETRIES_MAX, "what can be done twice without harm is");
    }

    #[test]
    fn a_missing_queue_is_created_and_one_that_is_being_deleted_is_waited_for() {
        let mut retries = Retries::new(true);
        assert_eq!(retries.after(&fault(Kind::NoQueue)), Some(Next::Create));
        assert!(pause(retries.after(&fault(Kind::BeingDeleted))) > Duration::ZERO);
        assert_eq!(retries.after(&fault(Kind::NoQueue)), Some(Next::Create), "it may be gone by now");
        assert_eq!(retries.after(&fault(Kind::NoQueue)), None, "it was created, and is missing again");
    }
}
