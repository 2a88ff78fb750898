//! One connection to one server, from the handshake to its loss.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
    /// Refusals of JetStream requests, the oldest first.
    api_denied: Mutex<VecDeque<String>>,
    /// Answers that are no longer waited for.
    unanswered: AtomicUsize,
    changed: Notify,
}

/// An answer that is waited for.
pub(crate) struct Awaited<'a> {
    signals: &'a Signals,
    answered: bool,
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
        let client = match tokio::time::timeout(bounds::SERVER_TIMEOUT, attempt).await {
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

    /// Returns when the connection is over, with the reason. The client library may have made another one by then:
    /// answers to what was sent over the first never come over that, and nobody would tell those who wait for them.
    pub(crate) async fn end(&self) -> String {
        let statistics = self.client.statistics();
        while self.client.connection_state() == State::Connected
            && statistics.connects.load(Ordering::Relaxed) <= 1
        {
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

    /// Returns when so many answers have not come that the connection should be made anew.
    pub(crate) async fn worn(&self) {
        while self.signals.unanswered.load(Ordering::Relaxed) < bounds::UNANSWERED_MAX {
            let _ = tokio::time::timeout(bounds::STATE_POLL, self.signals.changed.notified()).await;
        }
    }

    /// Counts a request unless it is answered.
    pub(crate) fn awaited(&self) -> Awaited<'_> {
        Awaited { signals: &self.signals, answered: false }
    }

    /// The longest message that the server takes, headers included.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Resolves when the server refuses a JetStream request after this call, with its words. It sends no answer to
    /// such a request. `request` is what its subject ends with, or has in it: `STREAM.INFO.X`.
    pub(crate) fn api_denied(&self, request: &str) -> impl Future<Output = String> {
        // It may have been granted since. Now, and not when this is first polled: the request may have been
        // sent, and refused, by then.
        lock(&self.signals.api_denied).retain(|text| !text.contains(request));
        async move {
            loop {
                let text = lock(&self.signals.api_denied).iter().find(|text| text.contains(request)).cloned();
                if let Some(text) = text {
                    return text;
                }
                let _ = tokio::time::timeout(bounds::STATE_POLL, self.signals.changed.notified()).await;
            }
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

impl Awaited<'_> {
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.signals.unanswered.fetch_add(1, Ordering::Relaxed);
        }
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
                if text.contains("$JS.") {
                    let mut denied = lock(&self.api_denied);
                    denied.retain(|known| known != text);
                    if denied.len() >= bounds::DENIALS_MAX {
                        denied.pop_front();
                    }
                    denied.push_back(text.clone());
                } else {
                    *lock(&self.denied) = Some(text.clone());
                }
            }
            Event::Disconnected | Event::Closed => {}
            _ => return,
        }
        self.changed.notify_waiters();
    }
}

fn lock<T>(text: &Mutex<T>) -> MutexGuard<'_, T> {
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
