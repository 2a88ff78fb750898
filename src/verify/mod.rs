//! Verification: a catalogue row and a receiver's settings compile, once, into what judges every delivery.
//!
//! The order of one delivery is [`Verifier::admit`]: unsigned handshakes, schemes over the raw bytes, signed
//! handshakes, then the names of its events. `Verified` is the proof; nothing outside this module makes one.

mod admission;
mod compare;
mod condition;
mod draft;
mod encoding;
mod error;
mod events;
mod form;
mod function;
mod grammar;
mod handshake;
mod json;
mod jwt;
mod key;
mod mask;
mod public_key;
mod public_url;
mod scheme;
mod secret;
mod settings;
mod sign;
mod signed;
mod sink;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod timestamp;
mod token;
mod variable;
mod verified;
mod view;
mod warning;

use std::sync::Arc;

use aws_lc_rs::hmac;
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;

pub use admission::{Admission, Refusal, Reply};
pub use error::CompileError;
pub use mask::{MASKED, Mask, Masked, mask};
pub use public_url::PublicUrl;
pub use secret::Secret;
pub use settings::ReceiverSettings;
pub use sign::{OutgoingRequest, SignError};
pub use verified::Verified;
pub use warning::Warning;

use crate::catalog::{self, Row, Strict, VerifyBy};
use crate::delivery::Delivery;
use crate::reason::Reason;
use events::{Event, Events};
use handshake::Handshake;
use scheme::{Check, Scheme};
use settings::Scope;
use template::Context;
use view::View;

/// Judges one receiver's deliveries.
#[derive(Debug)]
pub struct Verifier {
    provider: String,
    methods: Vec<Method>,
    allow: String,
    content_types: Vec<String>,
    public_url: Option<PublicUrl>,
    schemes: Vec<Scheme>,
    handshakes: Vec<Handshake>,
    events: Events,
    masks: Arc<[Mask]>,
    acknowledgement: Reply,
    refusal_status: Option<StatusCode>,
    warnings: Vec<Warning>,
}

impl Verifier {
    /// Everything that can be wrong with row and settings is found here.
    pub fn compile(row: &Row, settings: &ReceiverSettings) -> Result<Self, CompileError> {
        let scope = Scope::new(row, &settings.settings)?;
        let chosen = choose(row, settings)?;
        let schemes = compile_schemes(row, settings, &scope, &chosen)?;
        let handshakes = compile_handshakes(row, &scope)?;
        check_needs(row, settings, &chosen, &schemes, &handshakes)?;
        let methods = handshake::methods(&row.methods)?;
        Ok(Self {
            provider: row.name.clone(),
            allow: allow(&methods, &handshakes),
            methods,
            content_types: row.content_types.clone(),
            public_url: settings.public_url.clone(),
            warnings: warning::all(row, settings, &chosen, &schemes),
            schemes,
            handshakes,
            events: Events::compile(row, &scope)?,
            masks: masks(row, &scope)?,
            acknowledgement: acknowledgement(&row.acknowledgement)?,
            refusal_status: row.refusal_status.map(handshake::status).transpose()?,
        })
    }

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

    /// The answer to an accepted event.
    pub fn acknowledgement(&self) -> &Reply {
        &self.acknowledgement
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
        match self.judge(&delivery, now) {
            Ok(Judged::Event(event, scheme)) => {
                Admission::Event(Verified::new(delivery, event, self.masks.clone(), scheme))
            }
            Ok(Judged::Handshake(admission)) => *admission,
            Err(refusal) => Admission::Refused(refusal),
        }
    }

    fn judge(&self, delivery: &Delivery, now: Timestamp) -> Result<Judged, Refusal> {
        let view = View::new(delivery, self.public_url.as_ref());
        if let Some(answer) = self.handshake(&view, false) {
            return Ok(Judged::Handshake(Box::new(answer)));
        }
        if !self.may_be_signed(&delivery.method) {
            return Err(Refusal::new(Reason::HandshakeMalformed, "it is none of the provider's handshakes"));
        }
        let scheme = scheme::verify_any(&self.schemes, &view, now)
            .map_err(|refusal| refusal.with_status(self.refusal_status))?;
        if let Some(answer) = self.handshake(&view, true) {
            return Ok(Judged::Handshake(Box::new(answer)));
        }
        let event = self.events.read(&view);
        for rule in &scheme.strict {
            self.judge_strictly(*rule, delivery, &event)?;
        }
        Ok(Judged::Event(event, scheme.name.clone()))
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
    Event(Event, Arc<str>),
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

/// The schemes that the receiver accepts: those it names, or those that needn't be asked for.
fn choose<'r>(row: &'r Row, settings: &ReceiverSettings) -> Result<Vec<&'r catalog::Scheme>, CompileError> {
    let known = || row.schemes.iter().map(|scheme| scheme.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(names) = &settings.schemes else {
        let usual: Vec<_> = row.schemes.iter().filter(|scheme| !is_on_request(scheme)).collect();
        let nothing = || CompileError::SchemeNotChosen { provider: row.name.clone(), known: known() };
        return if usual.is_empty() { Err(nothing()) } else { Ok(usual) };
    };
    if names.is_empty() {
        return Err(CompileError::SchemeNotChosen { provider: row.name.clone(), known: known() });
    }
    let named = |name: &String| {
        let unknown =
            || CompileError::SchemeUnknown { provider: row.name.clone(), name: name.clone(), known: known() };
        row.schemes.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name)).ok_or_else(unknown)
    };
    names.iter().map(named).collect()
}

/// A row can't turn verification off: that takes the receiver's word.
fn is_on_request(scheme: &catalog::Scheme) -> bool {
    scheme.on_request || scheme.verify == VerifyBy::None
}

fn compile_schemes(
    row: &Row,
    settings: &ReceiverSettings,
    scope: &Scope<'_>,
    chosen: &[&catalog::Scheme],
) -> Result<Vec<Scheme>, CompileError> {
    let mut schemes = Vec::with_capacity(chosen.len());
    for scheme in chosen {
        let compiled = Scheme::compile(scheme, scope, &settings.secrets, settings.tolerance)
            .map_err(|error| error.within(&row.name, &format!("scheme {}", scheme.name)))?;
        schemes.push(compiled.map_err(|problem| CompileError::SecretUnusable {
            provider: row.name.clone(),
            problem: format!("{problem} (scheme {})", scheme.name),
        })?);
    }
    Ok(schemes)
}

fn compile_handshakes(row: &Row, scope: &Scope<'_>) -> Result<Vec<Handshake>, CompileError> {
    let compile = |handshake: &catalog::Handshake| {
        Handshake::compile(handshake, scope)
            .map_err(|error| error.within(&row.name, &format!("handshake {}", handshake.name)))
    };
    row.handshakes.iter().map(compile).collect()
}

/// Whether the receiver has the secret and the URL that schemes and handshakes can't do without.
fn check_needs(
    row: &Row,
    settings: &ReceiverSettings,
    chosen: &[&catalog::Scheme],
    schemes: &[Scheme],
    handshakes: &[Handshake],
) -> Result<(), CompileError> {
    let needs_secret = chosen.iter().any(|scheme| scheme.verify != VerifyBy::None)
        || handshakes.iter().any(Handshake::needs_key);
    let captures = handshakes.iter().any(|handshake| handshake.capture.is_some());
    if settings.secrets.is_empty() && needs_secret && !captures {
        let what =
            if row.secret.is_empty() { "what the sender signs with".to_owned() } else { row.secret.clone() };
        return Err(CompileError::SecretMissing { provider: row.name.clone(), what });
    }
    if settings.secrets.iter().any(|secret| secret.bytes().is_empty()) {
        let problem = "it is empty".to_owned();
        return Err(CompileError::SecretUnusable { provider: row.name.clone(), problem });
    }
    let needs_url = schemes.iter().any(Scheme::needs_url) || handshakes.iter().any(Handshake::needs_url);
    if needs_url && settings.public_url.is_none() {
        return Err(CompileError::PublicUrlMissing { provider: row.name.clone() });
    }
    Ok(())
}

fn allow(methods: &[Method], handshakes: &[Handshake]) -> String {
    let all = methods.iter().chain(handshakes.iter().flat_map(|handshake| &handshake.methods));
    let mut names: Vec<&str> = all.map(Method::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// What is always masked, what any scheme of the row reads as a credential (one that isn't accepted is a
/// credential still), and what the row names.
fn masks(row: &Row, scope: &Scope<'_>) -> Result<Arc<[Mask]>, CompileError> {
    let mut masks = Mask::always().to_vec();
    for scheme in row.schemes.iter().filter(|scheme| scheme.verify == VerifyBy::Token) {
        for from in scope.expand_all(&scheme.from)? {
            masks.extend(Mask::of(&source::Source::parse(&from)?));
        }
    }
    for text in scope.expand_all(&row.mask)? {
        masks.push(Mask::parse(&text)?);
    }
    let mut unique: Vec<Mask> = Vec::with_capacity(masks.len());
    for mask in masks {
        if !unique.contains(&mask) {
            unique.push(mask);
        }
    }
    Ok(unique.into())
}

fn acknowledgement(row: &catalog::Acknowledgement) -> Result<Reply, CompileError> {
    let content_type: Option<HeaderValue> = handshake::content_type(&row.content_type)?;
    let body = row.body.clone().into_bytes().into();
    Ok(Reply { status: handshake::status(row.status)?, content_type, headers: Vec::new(), body })
}
