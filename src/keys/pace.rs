//! How fast addresses are called that never gave anything: whoever knows a receiver's URL can make them up, and
//! some are called with the operator's credentials.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::bounds::{KEY_UNKNOWN_MAX, KEY_UNKNOWN_WINDOW};

/// The calls of the window, by domain. Rows spell the last two labels of a host out, so there are as many
/// domains as providers in use, whatever requests say.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<String, Window>>);

struct Window {
    since: Instant,
    calls: u32,
}

impl Pace {
    /// Whether an address that never gave anything may be called now.
    pub(super) fn admits(&self, url: &str, now: Instant) -> bool {
        let domain = domain(url);
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(domain.to_owned()).or_insert(Window { since: now, calls: 0 });
        if now - window.since >= KEY_UNKNOWN_WINDOW {
            *window = Window { since: now, calls: 0 };
        }
        window.calls = window.calls.saturating_add(1);
        if window.calls == KEY_UNKNOWN_MAX + 1 {
            tracing::warn!(
                domain,
                "unknown keys are asked for faster than they are fetched; until it ends, deliveries that need \
                 one get 503, and keys that are known go on working"
            );
        }
        window.calls <= KEY_UNKNOWN_MAX
    }
}

/// The last two labels of the host.
fn domain(url: &str) -> &str {
    let host = url.split('/').nth(2).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let start = host.rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot + 1);
    &host[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_provider_count_together() {
        assert_eq!(domain("https://sns.eu-west-1.amazonaws.com/a.pem"), "amazonaws.com");
        assert_eq!(domain("https://api.ebay.com:443/x?y=a.b"), "ebay.com");
        assert_eq!(domain("https://example.com"), "example.com");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_takes_so_many_and_the_next_as_many_again() {
        let pace = Pace::default();
        let admitted = |host: &str, calls: u32| {
            (0..calls).filter(|id| pace.admits(&format!("https://{host}/{id}"), Instant::now())).count()
        };
        assert_eq!(admitted("a.example.com", KEY_UNKNOWN_MAX + 5), KEY_UNKNOWN_MAX as usize);
        assert_eq!(admitted("b.example.com", 1), 0, "another host of the provider");
        assert_eq!(admitted("a.example.org", 1), 1, "another provider");
        tokio::time::advance(KEY_UNKNOWN_WINDOW).await;
        assert_eq!(admitted("a.example.com", KEY_UNKNOWN_MAX + 5), KEY_UNKNOWN_MAX as usize);
    }
}
