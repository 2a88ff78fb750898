//! Routes that the broker refuses: no queue behind a routing key, a stream that is full. Each has a backoff of
//! its own, and its messages wait for it, so that those of other routes go past them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backon::ExponentialBackoff;
use tokio::time::Instant;

use super::bounds;
use super::outage::Trouble;
use super::pace::refused_delays;

/// All routes of a destination that are refused now.
#[derive(Debug, Default)]
pub(super) struct Routes {
    refused: Mutex<HashMap<String, Refused>>,
    /// Their number, for those who ask for each message.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Refused {
    trouble: Trouble,
    why: String,
    delays: ExponentialBackoff,
    probe_at: Instant,
    /// A probe is on its way.
    probing: bool,
}

impl Routes {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    /// Why a message shouldn't be sent this way now, if so.
    pub(super) fn obstacle(&self, route: &str) -> Option<(Trouble, String)> {
        if !self.any() {
            return None;
        }
        self.lock().get(route).map(|refused| (refused.trouble, refused.why.clone()))
    }

    /// The broker refused a message. False when the route can't be noted: there are too many.
    pub(super) fn refused(&self, route: &str, trouble: Trouble, why: &str, now: Instant) -> bool {
        let mut routes = self.lock();
        if let Some(refused) = routes.get_mut(route) {
            // Many may have been on their way: together they are one refusal.
            if std::mem::take(&mut refused.probing) {
                refused.probe_at = now + refused.delays.next().unwrap_or(bounds::REFUSED_DELAY_MAX);
                refused.trouble = trouble;
                why.clone_into(&mut refused.why);
            }
            return true;
        }
        if routes.len() >= bounds::ROUTES_MAX {
            return false;
        }
        let mut delays = refused_delays();
        let probe_at = now + delays.next().unwrap_or(bounds::REFUSED_DELAY);
        let refused = Refused { trouble, why: why.to_owned(), delays, probe_at, probing: false };
        routes.insert(route.to_owned(), refused);
        self.count.store(routes.len(), Relaxed);
        true
    }

    /// The broker took a message. True when the route was refused until now.
    pub(super) fn took(&self, route: &str) -> bool {
        let mut routes = self.lock();
        let was_refused = routes.remove(route).is_some();
        self.count.store(routes.len(), Relaxed);
        was_refused
    }

    /// True for whoever may send a message this way, since the route isn't refused, or as its probe.
    pub(super) fn may_send(&self, route: &str, now: Instant) -> bool {
        if !self.any() {
            return true;
        }
        match self.lock().get_mut(route) {
            Some(refused) if refused.probing || now < refused.probe_at => false,
            Some(refused) => {
                refused.probing = true;
                true
            }
            None => true,
        }
    }

    /// The probe has told nothing of the route: the next one is due.
    pub(super) fn probe_was_void(&self, route: &str, now: Instant) {
        if let Some(refused) = self.lock().get_mut(route)
            && std::mem::take(&mut refused.probing)
        {
            refused.probe_at = now;
        }
    }

    /// The broker was away meanwhile: all of them may be asked.
    pub(super) fn ask_all(&self, now: Instant) {
        self.lock().values_mut().for_each(|refused| refused.probe_at = now);
    }

    /// When the route may be asked again: `None` while it is being asked.
    pub(super) fn probe_at(&self, route: &str) -> Option<Instant> {
        match self.lock().get(route) {
            Some(refused) => (!refused.probing).then_some(refused.probe_at),
            None => Some(Instant::now()),
        }
    }

    /// Whether none of its messages may be sent.
    pub(super) fn is_refused(&self, route: &str) -> bool {
        self.any() && self.lock().contains_key(route)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
