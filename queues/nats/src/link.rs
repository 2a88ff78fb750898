//! One connection to one server, from the handshake to its loss.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::connection::State;
use async_nats::jetstream::{Context, context::ContextBuilder};
use async_nats::{Client, ConnectErrorKind, Event, ServerError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::bounds;
use crate::settings::Settings;

/// A connection. Whoever waits for an answer on it waits for [`Link::lost`] too.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    /// `host:port`
    pub(crate) address: String,
    /// Cancelled when the connection is gone and no answer can come over it any more.
    pub(crate) lost: CancellationToken,
    signals: Arc<Signals>,
}

/// What the server tells unasked.
#[derive(Debug, Default)]
struct Signals {
    lame_duck: AtomicBool,
    /// The last refusal to publish, or to hear the answer.
    denied: Mutex<Option<String>>,
    /// The last refusal of a JetStream request.
    api_denied: Mutex<Option<String>>,
    changed: Notify,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    pub(crate) why: String,
    /// The server is there and doesn't let us in; only an operator can mend it.
    pub(crate) refused: bool,
}

impl Link {
    /// Makes one attempt at one server.
    pub(crate) async fn connect(settings: &Settings, address: &Address) -> Result<Self, Down> {
        let signals = Arc::new(Signals::default());
        let heard = signals.clone();
        let options = settings
            .connect_options(address)
            .map_err(|why| Down { why, refused: true })?
            .event_callback(move |event| {
                heard.hear(&event);
                std::future::ready(())
            });
        let attempt = async_nats::connect_with_options(address.server.clone(), options);
        let client = match tokio::time::timeout(bounds::CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(down(&address.shown, &error)),
            Err(_) => return Err(Down { why: format!("{} doesn't answer", address.shown), refused: false }),
        };
        let builder = ContextBuilder::new().timeout(bounds::API_TIMEOUT);
        let jetstream = match &settings.options.domain {
            Some(domain) => builder.domain(domain).build(client.clone()),
            None => builder.build(client.clone()),
        };
        let lost = CancellationToken::new();
        Ok(Self { client, jetstream, address: address.shown.clone(), lost, signals })
    }

    /// Returns when the connection is over, with the reason.
    pub(crate) async fn end(&self) -> String {
        while self.client.connection_state() == State::Connected {
            let _ = tokio::time::timeout(bounds::STATE_POLL, self.signals.changed.notified()).await;
        }
        format!("{} closed the connection or doesn't answer", self.address)
    }

    /// Returns when the server is about to stop; it lives on for some time.
    pub(crate) async fn lame(&self) {
        while !self.signals.lame_duck.load(Ordering::Relaxed) {
            let _ = tokio::time::timeout(bounds::STATE_POLL, self.signals.changed.notified()).await;
        }
    }

    /// The longest message that the server takes, headers included.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Returns when the server has refused a JetStream request on this connection, with its words. It sends
    /// no answer to such a request.
    pub(crate) async fn api_denied(&self) -> String {
        loop {
            if let Some(text) = lock(&self.signals.api_denied).clone() {
                return text;
            }
            let _ = tokio::time::timeout(bounds::STATE_POLL, self.signals.changed.notified()).await;
        }
    }

    /// What the server has refused of what we publish to a subject, or to all that begin so, and not granted
    /// since. It sends no answer to such a message; without leave to hear answers there is none to any.
    pub(crate) fn denied(&self, subject: &str) -> Option<String> {
        lock(&self.signals.denied).clone().filter(|text| concerns(text, subject))
    }

    /// A publish to the subject has gone through, whatever was refused before.
    pub(crate) fn granted(&self, subject: &str) {
        lock(&self.signals.denied).take_if(|text| concerns(text, subject));
    }
}

/// The server's words are `Permissions Violation for Publish to "webhooks.x"`, or `for Subscription to …`.
fn concerns(refusal: &str, subject: &str) -> bool {
    refusal.contains("Subscription") || refusal.contains(&format!("\"{subject}"))
}

impl Signals {
    fn hear(&self, event: &Event) {
        match event {
            Event::LameDuckMode => self.lame_duck.store(true, Ordering::Relaxed),
            Event::ServerError(ServerError::Other(text)) if text.to_lowercase().contains("permission") => {
                let denied = if text.contains("$JS.") { &self.api_denied } else { &self.denied };
                *lock(denied) = Some(text.clone());
            }
            Event::Disconnected | Event::Closed => {}
            _ => return,
        }
        self.changed.notify_waiters();
    }
}

fn lock(text: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

fn down(address: &str, error: &async_nats::ConnectError) -> Down {
    use std::error::Error;
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let refused = match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => true,
        _ => {
            let cause = cause.to_lowercase();
            cause.contains("authentication") || cause.contains("authorization")
        }
    };
    if refused {
        return Down { why: format!("{address} refuses the credentials"), refused };
    }
    let what = match error.kind() {
        ConnectErrorKind::Dns => "its name can't be resolved",
        ConnectErrorKind::TimedOut => "it doesn't answer",
        ConnectErrorKind::Tls => "TLS fails",
        _ => "it can't be reached",
    };
    let detail = if cause.is_empty() { String::new() } else { format!(": {cause}") };
    Down { why: format!("{address}: {what}{detail}"), refused }
}
