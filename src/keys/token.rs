//! Bearer tokens that an OAuth client's credentials are exchanged for (RFC 6749, 4.4), kept until they expire.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use super::fetch::{Call, FetchError};
use crate::bounds::{CLIENTS_MAX, TOKEN_MARGIN};
use crate::verify::Client;

/// The tokens of all clients.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Held>>);

struct Held {
    authorization: HeaderValue,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl Tokens {
    /// The header to show, while the token is good.
    pub(super) fn held(&self, client: &Client) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = tokens.get(&key(client)).filter(|held| Instant::now() < held.until);
        held.map(|held| held.authorization.clone())
    }

    /// What to send to the token's address.
    ///
    /// # Errors
    /// The credentials can't stand in a header.
    pub(super) fn call(client: &Client) -> Result<Call, FetchError> {
        let credentials = format!("Basic {}", STANDARD.encode(client.credentials.text()));
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", &client.scope)
            .finish();
        Ok(Call {
            authorization: Some(secret_value(&credentials)?),
            body: Some(("application/x-www-form-urlencoded", Bytes::from(form))),
        })
    }

    /// Keeps what the address answered.
    ///
    /// # Errors
    /// It is no token.
    pub(super) fn keep(&self, client: &Client, answer: &[u8]) -> Result<HeaderValue, FetchError> {
        let answer: Answer = serde_json::from_slice(answer).map_err(|_| FetchError::Token)?;
        let authorization = secret_value(&format!("Bearer {}", answer.access_token))?;
        let lives = Duration::from_secs(answer.expires_in).saturating_sub(TOKEN_MARGIN);
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = Instant::now().checked_add(lives)
            && (tokens.len() < CLIENTS_MAX || tokens.contains_key(&key(client)))
        {
            tokens.insert(key(client), Held { authorization: authorization.clone(), until });
        }
        Ok(authorization)
    }

    /// Forgets a token that wasn't accepted.
    pub(super) fn drop(&self, client: &Client) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(client));
    }
}

/// The client's id, not its secret.
fn key(client: &Client) -> String {
    let id = client.credentials.text().split(':').next().unwrap_or_default();
    format!("{id}@{} {}", client.token_url, client.scope)
}

fn secret_value(text: &str) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| FetchError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
