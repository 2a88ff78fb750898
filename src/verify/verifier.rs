//! The verifier: what one receiver's row and settings came to, and how it judges a delivery.

use std::sync::Arc;

use aws_lc_rs::hmac;
use http::{Method, StatusCode};
use jiff::Timestamp;

use super::acknowledgement::{Acknowledgement, Failure};
use super::admission::{Admission, Refusal, Reply};
use super::events::{Event, Events};
use super::fetched::Fetched;
use super::handshake::Handshake;
use super::mask::Mask;
use super::public_url::PublicUrl;
use super::scheme::{self, Check, Scheme};
use super::template::Context;
use super::verdict::Stop;
use super::verified::{Accepted, Verified};
use super::view::View;
use super::warning::Warning;
use crate::catalog::Strict;
use crate::delivery::Delivery;
use crate::reason::Reason;

/// Judges one receiver's deliveries.
#[derive(Debug)]
pub struct Verifier {
    pub(super) provider: String,
    pub(super) methods: Vec<Method>,
    pub(super) allow: String,
    pub(super) content_types: Vec<String>,
    pub(super) public_url: Option<PublicUrl>,
    pub(super) schemes: Vec<Scheme>,
    pub(super) handshakes: Vec<Handshake>,
    pub(super) events: Events,
    pub(super) masks: Arc<[Mask]>,
    pub(super) acknowledgement: Acknowledgement,
    pub(super) failure: Option<Failure>,
    pub(super) refusal_status: Option<StatusCode>,
    pub(super) warnings: Vec<Warning>,
}

impl Verifier {
    /// The row's name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Whether the provider ever sends that method.
    pub fn allows(&self, method: &Method) -> bool {
        self.methods.contains(method)
            || self.handshakes.iter().any(|handshake| handshake.methods.contains(method))
    }

    /// The value of the header Allow.
    pub fn allow(&self) -> &str {
        &self.allow
    }

    /// What the operator should know at start.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What the provider reads instead of a problem in JSON, for a problem of that title.
    pub fn failure(&self, title: &str) -> Option<Reply> {
        self.failure.as_ref().map(|failure| failure.reply(title))
    }

    /// Where credentials are in every delivery, an accepted one or not.
    pub fn masks(&self) -> &[Mask] {
        &self.masks
    }

    /// The names of the schemes that are accepted.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.schemes.iter().map(|scheme| &*scheme.name)
    }

    /// The verdict on a delivery as of `now`. Costs as much as hashing the body once per secret; a large
    /// body deserves a thread where blocking is no harm.
    pub fn admit(&self, delivery: Delivery, now: Timestamp) -> Admission {
        self.admit_with(delivery, now, &Fetched::default())
    }

    /// The same with the documents that it asked for by [`Admission::NeedsKey`].
    pub fn admit_with(&self, delivery: Delivery, now: Timestamp, fetched: &Fetched) -> Admission {
        match self.judge(&delivery, now, fetched) {
            Ok(Judged::Event(event, by)) => {
                Admission::Event(Verified::new(delivery, event, self.masks.clone(), by))
            }
            Ok(Judged::Handshake(admission)) => *admission,
            Err(Stop::Refused(refusal)) => Admission::Refused(refusal),
            Err(Stop::NeedsKey(request)) => Admission::NeedsKey { request, delivery: Box::new(delivery) },
        }
    }

    fn judge(&self, delivery: &Delivery, now: Timestamp, fetched: &Fetched) -> Result<Judged, Stop> {
        let view = View::new(delivery, self.public_url.as_ref()).with(fetched);
        if let Some(answer) = self.handshake(&view, false) {
            return Ok(Judged::Handshake(Box::new(answer)));
        }
        if !self.may_be_signed(&delivery.method) {
            let detail = "it is none of the provider's handshakes";
            return Err(Refusal::new(Reason::HandshakeMalformed, detail).into());
        }
        let (scheme, inside) = scheme::verify_any(&self.schemes, &view, now).map_err(|stop| match stop {
            Stop::Refused(refusal) => Stop::Refused(refusal.with_status(self.refusal_status)),
            Stop::NeedsKey(_) => stop,
        })?;
        // From here on the request is authentic, and what it says is what is inside.
        let opened = inside.map(|body| Delivery { body, ..delivery.clone() });
        let received = view;
        let view = View::new(opened.as_ref().unwrap_or(delivery), self.public_url.as_ref());
        if let Some(mut admission) = self.handshake(&view, true) {
            if let Admission::Answered { reply, .. } = &mut admission {
                *reply = scheme.answer(reply.clone(), &received, now)?;
            }
            return Ok(Judged::Handshake(Box::new(admission)));
        }
        if !self.methods.contains(&delivery.method) {
            let detail = "events don't come by that method";
            return Err(Refusal::new(Reason::HandshakeMalformed, detail).into());
        }
        if scheme.handshakes_only {
            let detail = "it is authentic by a scheme of handshakes, and none of them";
            return Err(Refusal::new(Reason::HandshakeMalformed, detail).into());
        }
        let event = self.events.read(&view);
        for rule in &scheme.strict {
            self.judge_strictly(*rule, delivery, &event)?;
        }
        let acknowledgement = self.acknowledgement.reply(&Context::of(&view));
        let acknowledgement = scheme.answer(acknowledgement, &received, now)?;
        Ok(Judged::Event(event, Accepted { scheme: scheme.name.clone(), acknowledgement }))
    }

    fn handshake(&self, view: &View<'_>, signed: bool) -> Option<Admission> {
        let context = Context { key: self.mac_key(), ..Context::of(view) };
        let handshakes = self.handshakes.iter().filter(|handshake| handshake.signed == signed);
        handshakes.filter_map(|handshake| handshake.answer(&context)).next()
    }

    /// Whether a request of that method can be anything but an unsigned handshake.
    fn may_be_signed(&self, method: &Method) -> bool {
        let signed = self.handshakes.iter().filter(|handshake| handshake.signed);
        self.methods.contains(method)
            || signed.flat_map(|handshake| &handshake.methods).any(|known| known == method)
    }

    fn judge_strictly(&self, rule: Strict, delivery: &Delivery, event: &Event) -> Result<(), Refusal> {
        match rule {
            Strict::Event if event.actions.is_empty() => {
                Err(Refusal::new(Reason::EventMissing, "no source of the row gives an event's name"))
            }
            Strict::ContentType if !self.is_of_known_type(delivery) => {
                Err(Refusal::new(Reason::ContentType, "it is none of the row's content types"))
            }
            Strict::Event | Strict::ContentType => Ok(()),
        }
    }

    fn is_of_known_type(&self, delivery: &Delivery) -> bool {
        let full = delivery.content_type().unwrap_or_default();
        let essence = full.split(';').next().unwrap_or_default().trim();
        self.content_types.iter().any(|known| is_of_type(essence, known))
    }

    fn mac_key(&self) -> Option<&hmac::Key> {
        self.schemes.iter().find_map(|scheme| match &scheme.check {
            Check::Signed(signed) => signed.keys.mac_key(),
            _ => None,
        })
    }
}

enum Judged {
    Event(Event, Accepted),
    Handshake(Box<Admission>),
}

/// `application/json` stands for `text/json` and `application/*+json` too, and so for XML.
fn is_of_type(essence: &str, known: &str) -> bool {
    let suffix = known.rsplit('/').next().unwrap_or_default();
    let lower = essence.to_ascii_lowercase();
    let kin = matches!(suffix, "json" | "xml")
        && (lower.ends_with(&format!("+{suffix}")) || lower.ends_with(&format!("/{suffix}")));
    essence.eq_ignore_ascii_case(known) || kin
}
