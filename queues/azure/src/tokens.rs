//! Tokens of Entra ID, without waiting long for one.
//!
//! Azure's client asks for a new token five minutes before the old one ends, with all requests waiting behind that.
//! The metadata service of a virtual machine is asked for up to 72 s. So a token is fetched apart from the request
//! that wants it: the request gives up soon, with the old token if that is still good, and the fetched one is there
//! for the next.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::Error;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::bounds;
use crate::fault::{Fault, Kind};

/// An identity that is asked for tokens in the background.
pub(crate) struct Tokens {
    /// Keeps its tokens until they are about to end.
    identity: Arc<dyn TokenCredential>,
    /// Why there was none, and when.
    failed: Mutex<Option<(Instant, Fault)>>,
    tasks: TaskTracker,
}

impl Tokens {
    pub(crate) fn new(identity: Arc<dyn TokenCredential>) -> Self {
        Self { identity, failed: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Held for an assignment.
    fn failed(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Fault)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, scopes: &[&str]) -> Result<AccessToken, Fault> {
        let identity = self.identity.clone();
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let fetching = self.tasks.spawn(async move {
            let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
            timeout(bounds::TOKEN_DEADLINE, identity.get_token(&scopes, None)).await
        });
        match timeout(bounds::TOKEN_WAIT, fetching).await {
            Ok(Ok(Ok(fetched))) => fetched.map_err(|error| Fault::no_token(&error)),
            // What was answered made the reading of it fail.
            Ok(Err(_)) => {
                Err(Fault::new(Kind::Unreachable, "no token from Entra ID: it can't be read".into()))
            }
            Ok(Ok(Err(_))) | Err(_) => {
                let waited = bounds::TOKEN_WAIT.as_millis();
                Err(Fault::new(Kind::Unreachable, format!("no token from Entra ID within {waited} ms")))
            }
        }
    }
}

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let lately = self.failed().clone().filter(|(at, _)| at.elapsed() < bounds::TOKEN_PAUSE);
        let outcome = match lately {
            Some((_, fault)) => return Err(error(fault)),
            None => self.fetch(scopes).await,
        };
        *self.failed() = outcome.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        outcome.map_err(error)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Carries the fault through Azure's client.
fn error(fault: Fault) -> Error {
    Error::new(ErrorKind::Credential, fault)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use azure_core::time::OffsetDateTime;

    use super::*;

    /// An identity that takes its time, or has none to give.
    #[derive(Debug)]
    struct Identity {
        takes: Duration,
        fails: bool,
        asked: AtomicUsize,
        kept: Mutex<Option<AccessToken>>,
    }

    #[async_trait]
    impl TokenCredential for Identity {
        async fn get_token(
            &self,
            _: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let kept = self.kept.lock().unwrap().clone();
            if let Some(kept) = kept {
                return Ok(kept);
            }
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.takes).await;
            if self.fails {
                return Err(Error::with_message(ErrorKind::Credential, "no identity"));
            }
            let token = AccessToken::new("made.up", OffsetDateTime::now_utc() + Duration::from_secs(3_600));
            *self.kept.lock().unwrap() = Some(token.clone());
            Ok(token)
        }
    }

    fn tokens(takes: Duration, fails: bool) -> (Tokens, Arc<Identity>) {
        let asked = AtomicUsize::new(0);
        let identity = Arc::new(Identity { takes, fails, asked, kept: Mutex::default() });
        (Tokens::new(identity.clone()), identity)
    }

    async fn get(tokens: &Tokens) -> (Result<String, Fault>, Duration) {
        let began = Instant::now();
        let outcome = tokens.get_token(&["s"], None).await;
        (outcome.map(|token| token.token.secret().to_owned()).map_err(Fault::from), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_long_and_a_late_token_is_there_for_the_next() {
        let (tokens, _) = tokens(Duration::from_secs(5), false);
        let (outcome, took) = get(&tokens).await;
        let fault = outcome.unwrap_err();
        assert_eq!((fault.kind, took), (Kind::Unreachable, bounds::TOKEN_WAIT));
        assert_eq!(fault.text, "no token from Entra ID within 2000 ms");
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (outcome, took) = get(&tokens).await;
        assert_eq!((outcome.as_deref(), took), (Ok("made.up"), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_requests_do_not_queue_up_for_the_next_one() {
        let (tokens, identity) = tokens(Duration::from_secs(60), true);
        let began = Instant::now();
        for _ in 0..100 {
            let (outcome, _) = get(&tokens).await;
            assert!(outcome.is_err());
        }
        assert_eq!(began.elapsed(), bounds::TOKEN_WAIT, "one waited, and 99 were told");
        tokio::time::sleep(bounds::TOKEN_PAUSE).await;
        assert!(get(&tokens).await.0.is_err());
        assert_eq!(identity.asked.load(Ordering::Relaxed), 2, "it is asked again in the end");
    }

    #[tokio::test(start_paused = true)]
    async fn why_there_is_none_arrives() {
        let (tokens, _) = tokens(Duration::ZERO, true);
        let fault = get(&tokens).await.0.unwrap_err();
        assert_eq!((fault.kind, fault.text.contains("no token from Entra ID")), (Kind::Unreachable, true));
    }
}
