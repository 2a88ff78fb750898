//! The life of a webhook, top to bottom.
//!
//! [`receive`] takes a request as far as its whole body; whoever hangs up until then has sent nothing.
//! `process` goes on to the end from verification to the answer: a sender that hangs up changes nothing
//! there. Everything that they call is a leaf.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use http::header::{CONNECTION, HeaderValue};
use hyper::Version;
use hyper::body::Incoming;
use jiff::Timestamp;
use sluiced_queue::{EnqueueError, Receipt};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::delivery::Delivery;
use crate::handlers::{HandlerError, WebHookHandlerContext};
use crate::http::body::{self, BodyBounds};
use crate::http::budget::Account;
use crate::http::client::Client;
use crate::http::reply::{CutOff, HttpReply, LeavesUnread, Problem, from_reply};
use crate::log::delivery::micros_since;
use crate::log::{DeliveryRecord, Level, Outcome};
use crate::message;
use crate::reason::Reason;
use crate::receivers::Receiver;
use crate::to_the_end::{self, ToTheEnd};
use crate::verify::{Admission, Refusal, Secret};

/// One request, from its headers to its answer. Always one log line.
pub async fn receive(app: &Arc<App>, request: Request<Incoming>, client: &Client) -> HttpReply {
    let mut open = Open::new(app, client.origin.address);
    let (head, body) = request.into_parts();

    // Whoever asks too often isn't even looked at.
    let live = app.live.get();
    if let Err(wait) = live.admit(client.origin.address) {
        return finish(app, head.version, open.refuse(&rate_limited(wait)));
    }

    // Find the receiver. An unknown name, an unknown id, and one that isn't there for this address look
    // the same from outside.
    let Some((receiver, id)) = live.receivers.find(head.uri.path()) else {
        open.record.path = Some(head.uri.path().to_owned());
        return finish(app, head.version, open.refuse(&Problem::new(Reason::UnknownReceiver)));
    };
    open.record.receiver = Some(receiver.clone());
    open.record.id = Some(id.clone());
    if !receiver.front.admits(client.origin) {
        return finish(app, head.version, open.refuse(&Problem::new(Reason::AddressNotAllowed)));
    }
    let verifier = receiver.verifier();
    if !verifier.allows(&head.method) {
        let allow = Some(verifier.allow());
        let problem = Problem { allow, ..Problem::new(Reason::MethodNotAllowed) };
        return finish(app, head.version, open.refuse(&problem));
    }

    // Bound and read the body.
    let bytes_max = receiver.body_bytes_max;
    if body::declared_too_large(&body, bytes_max) {
        return finish(app, head.version, open.refuse(&too_large(Reason::BodyTooLarge, bytes_max)));
    }
    let bounds = BodyBounds {
        bytes_max,
        timeout: app.limits.body_timeout,
        rate_min_bytes_per_s: app.limits.body_rate_min_bytes_per_s,
    };
    let mut account = app.budget.account(client.origin.address);
    let body = match body::read(body, bounds, &mut account, &mut open.record.bytes).await {
        Ok(body) => body,
        Err(Reason::BodyTooLarge) => {
            return finish(app, head.version, open.refuse(&too_large(Reason::BodyTooLarge, bytes_max)));
        }
        Err(reason) => return finish(app, head.version, open.refuse(&Problem::new(reason))),
    };
    let Ok(permit) = app.in_flight.clone().try_acquire_owned() else {
        return finish(app, head.version, open.refuse(&Problem::new(Reason::Overloaded)));
    };

    // From here on the webhook is ours, whatever becomes of the connection.
    let delivery = Delivery {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body,
        client: client.origin.address,
        id,
        received_at: Timestamp::now(),
    };
    let (record, presence) = open.hand_over();
    let webhook = Webhook {
        app: app.clone(),
        receiver,
        record,
        gone: presence.gone.clone(),
        client: client.clone(),
        account,
        _permit: permit,
    };
    let reply = match ToTheEnd::new(process(webhook, delivery), &app.webhooks).await {
        Ok(reply) => reply,
        Err(panic) => panicked(app, client.origin.address, to_the_end::words(&panic)),
    };
    presence.stayed();
    finish(app, head.version, reply)
}

/// A webhook whose body is whole, and what it holds of ours until it is answered.
struct Webhook {
    app: Arc<App>,
    receiver: Arc<Receiver>,
    record: DeliveryRecord,
    client: Client,
    /// Its stream was reset, on a connection that goes on.
    gone: Arc<AtomicBool>,
    account: Account,
    _permit: OwnedSemaphorePermit,
}

/// From the raw bytes to the receipt.
async fn process(mut webhook: Webhook, delivery: Delivery) -> HttpReply {
    // Verify the raw bytes, with keys that may have to be fetched; answer a handshake.
    let for_hints = webhook.app.logger.enabled(Level::Debug).then(|| Box::new(delivery.clone()));
    let begun = Instant::now();
    let verifier = webhook.receiver.verifier();
    let admission = webhook.app.keys.admit(&verifier, delivery).await;
    webhook.record.verify_us = Some(micros_since(begun));
    let verified = match admission {
        Admission::Event(verified) => verified,
        Admission::Answered { reply, handshake, captured, visit } => {
            if let Some(secret) = captured
                && let Err(refusal) = adopt(webhook.app.clone(), webhook.receiver.clone(), secret).await
            {
                return webhook.refuse(&refusal, for_hints.as_deref());
            }
            if let Some(url) = visit {
                webhook.app.webhooks.spawn(webhook.app.keys.clone().visit(url));
            }
            webhook.record.actions = vec![handshake];
            webhook.conclude(Outcome::Answered, None, reply.status);
            return from_reply(&reply);
        }
        Admission::Refused(refusal) => return webhook.refuse(&refusal, for_hints.as_deref()),
        Admission::NeedsKey { .. } => {
            let refusal = Refusal::key_unavailable("the key wasn't fetched");
            return webhook.refuse(&refusal, for_hints.as_deref());
        }
    };
    // Only what is authentic counts: a stranger can't use up a receiver's rate.
    if let Err(wait) = webhook.receiver.front.take() {
        return webhook.fail(&rate_limited(wait), "over the receiver's rate");
    }

    // Name the actions, build the message.
    let message = message::build(&verified, &webhook.receiver.message);
    webhook.record.actions.clone_from(&message.actions);
    webhook.record.delivery_id.clone_from(&message.delivery_id);
    webhook.record.message_id = Some(message.message_id);
    if !webhook.account.charge(message.encoded_bytes_estimate() as u64) {
        return webhook.fail(&Problem::new(Reason::Overloaded), "no memory left for the message");
    }

    // Run the handlers, the queue's among them.
    let begun = Instant::now();
    let mut context = WebHookHandlerContext::new(message);
    let result = webhook.app.chain.run(&mut context).await;
    webhook.record.enqueue_us = Some(micros_since(begun));
    webhook.record.durable = context.receipt().map(Receipt::durable);

    // Reply. A 2xx to an event needs a receipt, or a handler that said so.
    if let Err(error) = result {
        return webhook.fail(&problem_of(&error), &error.to_string());
    }
    let outcome = match context.receipt() {
        Some(receipt) if receipt.is_duplicate() => Outcome::Duplicate,
        Some(_) => Outcome::Accepted,
        None => Outcome::Answered,
    };
    match (&context.response, outcome) {
        (Some(response), outcome) => {
            webhook.conclude(outcome, None, response.status);
            from_reply(response)
        }
        (None, Outcome::Accepted | Outcome::Duplicate) => {
            let reply = verified.acknowledgement().clone();
            webhook.conclude(outcome, None, reply.status);
            from_reply(&reply)
        }
        (None, _) => webhook.fail(&Problem::new(Reason::HandlerFailed), "no handler took the webhook"),
    }
}

impl Webhook {
    fn conclude(&mut self, outcome: Outcome, reason: Option<Reason>, status: http::StatusCode) {
        self.record.client_gone = self.gone.load(Ordering::Relaxed) || self.client.has_hung_up();
        self.app.conclude(&self.record, outcome, reason, status);
    }

    /// The delivery is there at debug level only: the log then says why, and which mistake would explain it.
    fn refuse(&mut self, refusal: &Refusal, delivery: Option<&Delivery>) -> HttpReply {
        if let Some(delivery) = delivery {
            self.record.detail = Some(refusal.detail.to_string());
            self.record.hints = self.app.live.get().receivers.hints(&self.receiver, delivery);
        }
        let problem = Problem { status: refusal.status(), ..Problem::new(refusal.reason) };
        let outcome = if refusal.reason.is_failure() { Outcome::Failed } else { Outcome::Refused };
        self.conclude(outcome, Some(refusal.reason), problem.status);
        self.reply(&problem)
    }

    fn fail(&mut self, problem: &Problem<'_>, detail: &str) -> HttpReply {
        self.record.detail = Some(detail.to_owned());
        let outcome = if problem.reason.is_failure() { Outcome::Failed } else { Outcome::Refused };
        self.conclude(outcome, Some(problem.reason), problem.status);
        self.reply(problem)
    }

    /// The problem, in the words that the provider reads.
    fn reply(&self, problem: &Problem<'_>) -> HttpReply {
        match self.receiver.verifier().failure(problem.reason.title()) {
            Some(failure) => problem.reply_with(&failure),
            None => problem.reply(),
        }
    }
}

/// Keeps a secret that the sender handed over before it is told so. The receiver may have been configured
/// anew meanwhile: it is the new one that must know.
async fn adopt(app: Arc<App>, receiver: Arc<Receiver>, secret: Secret) -> Result<(), Refusal> {
    let adopt = move || {
        let _held = app.live.hold();
        match app.live.get().receivers.successor(&receiver) {
            Some(receiver) => receiver.adopt(secret),
            None => Err(Refusal::new(Reason::UnknownReceiver, "the receiver was taken out meanwhile")),
        }
    };
    let adopted = tokio::task::spawn_blocking(adopt).await;
    adopted.unwrap_or(Err(Refusal::new(Reason::HandlerFailed, "keeping the secret panicked")))
}

/// What a handler's error means to the sender.
fn problem_of(error: &HandlerError) -> Problem<'static> {
    match error {
        HandlerError::Enqueue(EnqueueError::TooLarge { bytes_max, .. }) => {
            too_large(Reason::MessageTooLarge, *bytes_max as u64)
        }
        HandlerError::Enqueue(_) => Problem::new(Reason::NotDurable),
        HandlerError::Failed(_) => Problem::new(Reason::HandlerFailed),
    }
}

fn too_large(reason: Reason, limit: u64) -> Problem<'static> {
    Problem { limit: Some(limit), ..Problem::new(reason) }
}

fn rate_limited(wait: Duration) -> Problem<'static> {
    Problem { retry_after: Some(wait), ..Problem::new(Reason::RateLimited) }
}

/// A bug of ours in the middle of a webhook: the sender keeps it, and the log says where to look.
fn panicked(app: &App, client: IpAddr, words: &str) -> HttpReply {
    tracing::error!(error = words, "a webhook panicked; this is a bug, please report it");
    app.refused_at_the_door(client, Reason::HandlerFailed, "it panicked");
    Problem::new(Reason::HandlerFailed).reply()
}

/// When stopping, HTTP/1 senders are asked to close; HTTP/2 has its GOAWAY for that.
fn finish(app: &App, version: Version, mut reply: HttpReply) -> HttpReply {
    if version == Version::HTTP_2 {
        reply.headers_mut().remove(CONNECTION);
    } else if app.is_leaving() {
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// A request whose body isn't whole yet. Dropped in that state, it was cut off by the sender, which
/// gets a line like any other.
struct Open<'a> {
    app: &'a App,
    record: DeliveryRecord,
    concluded: bool,
}

impl<'a> Open<'a> {
    fn new(app: &'a App, client: IpAddr) -> Self {
        Self { app, record: DeliveryRecord::new(client), concluded: false }
    }

    fn refuse(mut self, problem: &Problem<'_>) -> HttpReply {
        self.concluded = true;
        let outcome = if problem.reason.is_failure() { Outcome::Failed } else { Outcome::Refused };
        self.app.conclude(&self.record, outcome, Some(problem.reason), problem.status);
        let mut reply = problem.reply();
        reply.extensions_mut().insert(LeavesUnread);
        if problem.reason == Reason::BodyIncomplete {
            reply.extensions_mut().insert(CutOff);
        }
        reply
    }

    fn hand_over(mut self) -> (DeliveryRecord, Presence) {
        self.concluded = true;
        let empty = DeliveryRecord::new(self.record.client);
        let record = std::mem::replace(&mut self.record, empty);
        (record, Presence { gone: Arc::default(), stayed: false })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.concluded {
            self.record.client_gone = true;
            let reason = Reason::BodyIncomplete;
            self.app.conclude(&self.record, Outcome::Refused, Some(reason), reason.status());
        }
    }
}

/// Notices that the sender hung up while its webhook was being processed.
struct Presence {
    gone: Arc<AtomicBool>,
    stayed: bool,
}

impl Presence {
    fn stayed(mut self) {
        self.stayed = true;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.gone.store(!self.stayed, Ordering::Relaxed);
    }
}
