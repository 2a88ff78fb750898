//! Keys and certificates that providers publish: fetched, cached, and given to verification, which itself
//! does no I/O.
//!
//! A document is fresh for an hour and kept for a day: in between it is used and fetched anew behind. Who
//! meets a key id that it doesn't have waits for a newer one, at most once in [`KEY_SETTLED`]; all that wait
//! for one document share one fetch. What can't be had is [`crate::reason::Reason::KeyUnavailable`], which
//! says nothing of the request.
//!
//! [`KEY_SETTLED`]: crate::bounds::KEY_SETTLED

mod address;
mod entry;
mod fetch;
mod pace;
#[cfg(test)]
mod tests;
mod token;
mod visit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use tokio::sync::{Mutex as Flight, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::bounds::{KEY_DEADLINE, KEY_FETCHES_MAX, KEY_ROUNDS_MAX, KEYS_MAX};
use crate::delivery::Delivery;
use crate::verify::{Admission, Ask, Client, Fetched, KeyDocument, KeyRequest, Refusal, Verifier};
use entry::{Advice, Entry};
pub use fetch::FetchError;
use fetch::{Call, Web};
use pace::Pace;
use token::Tokens;

/// The cache of all receivers.
pub struct Keys {
    origin: Origin,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    tokens: Tokens,
    fetches: Semaphore,
    pace: Pace,
    /// Fetches that nobody waits for; stopping doesn't either.
    behind: TaskTracker,
}

/// One address: what is known, and who is fetching it.
struct Slot {
    entry: Mutex<Entry>,
    flight: Flight<()>,
}

enum Origin {
    Web(Web),
    #[cfg(test)]
    Stub(tests::Stub),
}

impl Default for Keys {
    fn default() -> Self {
        Self::of(Origin::Web(Web::default()))
    }
}

impl Keys {
    fn of(origin: Origin) -> Self {
        Self {
            origin,
            slots: Mutex::default(),
            tokens: Tokens::default(),
            fetches: Semaphore::new(KEY_FETCHES_MAX),
            pace: Pace::default(),
            behind: TaskTracker::new(),
        }
    }

    /// The verdict on a delivery, with the keys that it takes.
    pub async fn admit(self: &Arc<Self>, verifier: &Verifier, mut delivery: Delivery) -> Admission {
        let mut fetched = Fetched::default();
        for _ in 0..KEY_ROUNDS_MAX {
            let request = match verifier.admit_with(delivery, Timestamp::now(), &fetched) {
                Admission::NeedsKey { request, delivery: back } => {
                    delivery = *back;
                    request
                }
                decided => return decided,
            };
            // Boxed: it is large and rare, and would make every webhook's future six kilobytes longer.
            match Box::pin(self.get(&request)).await {
                Ok(document) => fetched.put(request.url, document),
                Err(_) => return Admission::Refused(Refusal::key_unavailable("the key can't be fetched")),
            }
        }
        Admission::Refused(Refusal::key_unavailable("the keys change faster than they are fetched"))
    }

    /// The document, from the cache or from where it is.
    ///
    /// # Errors
    /// Says why it can't be had within the deadline.
    pub async fn get(self: &Arc<Self>, request: &KeyRequest) -> Result<KeyDocument, FetchError> {
        let slot = self.slot(&request.url);
        match slot.advise(request) {
            Advice::Use(document) => Ok(document),
            Advice::UseAndRefresh(document) => {
                self.refresh_behind(slot, request.clone());
                Ok(document)
            }
            Advice::GiveUp => Err(FetchError::Unreachable),
            Advice::Fetch => {
                let fetch = self.fetch(&slot, request);
                timeout(KEY_DEADLINE, fetch).await.unwrap_or(Err(FetchError::TooSlow))
            }
        }
    }

    /// Fetches unless somebody else just has; one at a time for an address.
    async fn fetch(&self, slot: &Slot, request: &KeyRequest) -> Result<KeyDocument, FetchError> {
        let _flight = slot.flight.lock().await;
        match slot.advise(request) {
            Advice::Use(document) | Advice::UseAndRefresh(document) => return Ok(document),
            Advice::GiveUp => return Err(FetchError::Unreachable),
            Advice::Fetch => {}
        }
        let is_unknown = slot.entry().is_empty();
        if is_unknown && !self.pace.admits(&request.url, Instant::now()) {
            return Err(FetchError::Busy);
        }
        let _permit = self.fetches.try_acquire().map_err(|_| FetchError::Busy)?;
        self.load(slot, request).await?;
        match slot.advise(request) {
            Advice::Use(document) | Advice::UseAndRefresh(document) => Ok(document),
            Advice::Fetch | Advice::GiveUp => Err(FetchError::TooSlow),
        }
    }

    async fn exchange(&self, url: &str, call: Call) -> Result<Bytes, FetchError> {
        match &self.origin {
            Origin::Web(web) => web.send(url, call).await,
            #[cfg(test)]
            Origin::Stub(stub) => stub(url, call).await,
        }
    }

    async fn ask(&self, request: &KeyRequest) -> Result<Bytes, FetchError> {
        // The fragment is ours.
        let url = request.url.split('#').next().unwrap_or_default();
        match &request.ask {
            Ask::Get => self.exchange(url, Call::default()).await,
            Ask::Post(json) => {
                let body = Bytes::from(json.text().to_owned());
                self.exchange(url, Call { body: Some(("application/json", body)), ..Call::default() }).await
            }
            Ask::Bearer(client) => self.ask_with_token(url, client).await,
        }
    }

    /// Shows the client's token; a new one where there is none, or where the one that there is was not accepted.
    async fn ask_with_token(&self, url: &str, client: &Client) -> Result<Bytes, FetchError> {
        if let Some(authorization) = self.tokens.held(client) {
            let call = Call { authorization: Some(authorization), body: None };
            match self.exchange(url, call).await {
                Err(FetchError::Status(StatusCode::UNAUTHORIZED)) => self.tokens.drop(client),
                answered => return answered,
            }
        }
        let answer = self.exchange(&client.token_url, Tokens::call(client)?).await?;
        let authorization = Some(self.tokens.keep(client, &answer)?);
        self.exchange(url, Call { authorization, body: None }).await
    }

    async fn load(&self, slot: &Slot, request: &KeyRequest) -> Result<(), FetchError> {
        let url = request.url.as_str();
        let result = self.ask(request).await;
        let now = Instant::now();
        let mut entry = slot.entry();
        match result {
            Ok(bytes) => {
                tracing::debug!(url, bytes = bytes.len() as u64, "key fetched");
                entry.store(bytes, now);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(url, error = %error, "a key can't be fetched; deliveries that need it get 503");
                entry.fail(now);
                Err(error)
            }
        }
    }

    /// Nobody waits for it, and one that is under way already is enough.
    fn refresh_behind(self: &Arc<Self>, slot: Arc<Slot>, request: KeyRequest) {
        let keys = self.clone();
        self.behind.spawn(async move {
            let Ok(_flight) = slot.flight.try_lock() else { return };
            let Ok(_permit) = keys.fetches.try_acquire() else { return };
            let _ = keys.load(&slot, &request).await;
        });
    }

    fn slot(&self, url: &str) -> Arc<Slot> {
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(url) {
            slot.entry().used = now;
            return slot.clone();
        }
        if slots.len() >= KEYS_MAX {
            evict(&mut slots);
        }
        let slot = Arc::new(Slot { entry: Mutex::new(Entry::new(now)), flight: Flight::default() });
        slots.insert(url.to_owned(), slot.clone());
        slot
    }
}

/// Takes out what never held anything, else what wasn't used for longest: made-up addresses must not push out
/// the real ones.
fn evict(slots: &mut HashMap<String, Arc<Slot>>) {
    let rank = |slot: &Slot| {
        let entry = slot.entry();
        (!entry.is_empty(), entry.used)
    };
    if let Some(url) = slots.iter().min_by_key(|(_, slot)| rank(slot)).map(|(url, _)| url.clone()) {
        slots.remove(&url);
    }
}

impl Slot {
    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advise(&self, request: &KeyRequest) -> Advice {
        self.entry().advise(request.beyond, Instant::now())
    }
}
