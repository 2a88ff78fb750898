//! Calls that confirm a subscription: outside of the request, a few times at most.

use std::sync::Arc;

use tokio::time::sleep;

use super::Keys;
use super::fetch::Call;
use crate::bounds::{VISIT_PAUSE, VISITS_MAX};

impl Keys {
    /// Calls an address once, or a few times until it answers 200. What fails is logged; the provider shows
    /// the subscription as pending then, and sends its confirmation again when asked to.
    pub async fn visit(self: Arc<Self>, url: String) {
        // The query holds a token: it isn't logged.
        let host = url.split('/').nth(2).unwrap_or_default().to_owned();
        let mut pause = VISIT_PAUSE;
        for attempt in 1..=VISITS_MAX {
            let Ok(permit) = self.fetches.acquire().await else { return };
            let Err(error) = self.exchange(&url, Call::default()).await else {
                tracing::info!(host, "subscription confirmed");
                return;
            };
            drop(permit);
            tracing::warn!(host, attempt, error = %error, "a subscription can't be confirmed");
            if attempt < VISITS_MAX {
                sleep(pause).await;
                pause *= 2;
            }
        }
        tracing::error!(
            host,
            "gave up confirming a subscription; ask the provider to send the request again"
        );
    }
}
