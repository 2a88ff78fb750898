//! `[[handlers]]`: what happens to verified webhooks besides the default queue.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use toml::Spanned;

use super::file::{Text, nearest};
use super::{ConfigError, ReceiverConfig};
use crate::handlers::ORDER_DEFAULT;
use crate::handlers::narrow::Narrowing;
use crate::units::HumanDuration;
use crate::verify::Reply;

/// A configured handler.
#[derive(Debug)]
pub struct HandlerConfig {
    /// Names it in logs, metrics and message ids.
    pub name: String,
    /// Where it stands.
    pub order: i32,
    /// Which webhooks it wants.
    pub narrowing: Narrowing,
    /// What it does.
    pub kind: HandlerKind,
}

impl HandlerConfig {
    /// What it does and for whom, for people.
    pub fn describe(&self) -> String {
        let what = match &self.kind {
            HandlerKind::Respond(reply) => format!("responds {}", reply.status.as_u16()),
            HandlerKind::Drop => "drops".to_owned(),
            HandlerKind::Queue(target) => format!("queues into {target}"),
            HandlerKind::Dedupe(window) => format!("leaves out duplicates for {}", HumanDuration(*window)),
        };
        let of = self.narrowing.receiver.as_deref().unwrap_or("every receiver");
        let id = self.narrowing.id.as_ref().map_or_else(String::new, |id| format!("/{id}"));
        let actions =
            self.narrowing.actions.as_ref().map_or_else(String::new, |a| format!(", {}", a.join(" ")));
        format!("{what} ({of}{id}{actions})")
    }
}

/// What a configured handler does.
#[derive(Debug)]
pub enum HandlerKind {
    /// Answers.
    Respond(Reply),
    /// Answers 200 and queues nothing.
    Drop,
    /// Queues.
    Queue(QueueTarget),
    /// Has duplicates left out for so long.
    Dedupe(Duration),
}

/// Another queue than the default one, or what else the backend has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueTarget {
    /// A queue.
    pub name: Option<String>,
    /// RabbitMQ: an exchange.
    pub exchange: Option<String>,
    /// RabbitMQ: the routing key there.
    pub routing_key: Option<String>,
    /// NATS: a subject.
    pub subject: Option<String>,
    /// NATS: the stream that has it.
    pub stream: Option<String>,
}

impl fmt::Display for QueueTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("queue", &self.name),
            ("exchange", &self.exchange),
            ("routing key", &self.routing_key),
            ("subject", &self.subject),
            ("stream", &self.stream),
        ];
        let given = parts.iter().filter_map(|(what, value)| Some(format!("{what} {}", value.as_ref()?)));
        f.write_str(&given.collect::<Vec<_>>().join(", "))
    }
}

/// `[[handlers]]` as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handler {
    name: Option<String>,
    order: Option<i32>,
    receiver: Option<String>,
    id: Option<String>,
    actions: Option<Vec<String>>,
    respond: Option<Respond>,
    drop: Option<bool>,
    queue: Option<QueueTarget>,
    dedupe: Option<HumanDuration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Respond {
    #[serde(default = "ok")]
    status: u16,
    content_type: Option<String>,
    #[serde(default)]
    body: String,
}

fn ok() -> u16 {
    200
}

/// Checks the handlers of the file, against the receivers if those are known.
///
/// # Errors
/// Names the line of the first that can't be used, and the way out.
pub(super) fn collect(
    handlers: Vec<Spanned<Handler>>,
    text: Option<&Text>,
    receivers: Option<&[ReceiverConfig]>,
) -> Result<Vec<HandlerConfig>, ConfigError> {
    let mut collected: Vec<HandlerConfig> = Vec::new();
    for (at, handler) in handlers.into_iter().enumerate() {
        let origin = text.map_or_else(String::new, |text| text.place(handler.span().start));
        let handler = checked(handler.into_inner(), at, receivers)
            .map_err(|what| ConfigError(format!("{origin}: {what}")))?;
        if collected.iter().any(|other| other.name == handler.name) {
            return Err(ConfigError(format!(
                "{origin}: there is a handler named `{}` already",
                handler.name
            )));
        }
        collected.push(handler);
    }
    Ok(collected)
}

fn checked(
    handler: Handler,
    at: usize,
    receivers: Option<&[ReceiverConfig]>,
) -> Result<HandlerConfig, String> {
    if handler.actions.as_ref().is_some_and(Vec::is_empty) {
        return Err(
            "`actions` is empty, so the handler would want nothing; leave it out to want everything".into()
        );
    }
    if let Some(receivers) = receivers {
        check_receiver(&handler, receivers)?;
    }
    let kinds = [
        handler.respond.is_some(),
        handler.drop.is_some(),
        handler.queue.is_some(),
        handler.dedupe.is_some(),
    ];
    if kinds.iter().filter(|given| **given).count() != 1 {
        return Err("a handler has exactly one of `respond`, `drop`, `queue` and `dedupe`".into());
    }
    let kind = kind(handler.respond, handler.drop, handler.queue, handler.dedupe)?;
    Ok(HandlerConfig {
        name: checked_name(handler.name, at)?,
        order: handler.order.unwrap_or(ORDER_DEFAULT),
        narrowing: Narrowing { receiver: handler.receiver, id: handler.id, actions: handler.actions },
        kind,
    })
}

fn kind(
    respond: Option<Respond>,
    drop: Option<bool>,
    queue: Option<QueueTarget>,
    dedupe: Option<HumanDuration>,
) -> Result<HandlerKind, String> {
    if let Some(respond) = respond {
        return respond.reply().map(HandlerKind::Respond);
    }
    if let Some(target) = queue {
        return if target == QueueTarget::default() {
            Err("`queue` is empty; write e.g. queue = { name = \"audit\" }".into())
        } else {
            Ok(HandlerKind::Queue(target))
        };
    }
    if let Some(window) = dedupe {
        let fits = !window.0.is_zero() && window.0 <= DEDUPE_MAX;
        return if fits {
            Ok(HandlerKind::Dedupe(window.0))
        } else {
            Err(format!("`dedupe` is a time up to {} days", DEDUPE_MAX.as_secs() / 86_400))
        };
    }
    if drop == Some(true) {
        return Ok(HandlerKind::Drop);
    }
    Err("`drop = false` does nothing; take the handler out, or write `drop = true`".into())
}

/// A sender that retries later than this is not known.
const DEDUPE_MAX: Duration = Duration::from_secs(31 * 86_400);

/// A name goes into message ids and metrics.
fn checked_name(name: Option<String>, at: usize) -> Result<String, String> {
    let Some(name) = name else { return Ok(format!("handler-{}", at + 1)) };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(format!("`{name}` can't be a handler's name; use letters, digits, `-` and `_`"));
    }
    Ok(name)
}

/// A handler for a receiver that isn't there is a slip of the pen.
fn check_receiver(handler: &Handler, receivers: &[ReceiverConfig]) -> Result<(), String> {
    let named = |receiver: &&ReceiverConfig| {
        handler.receiver.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&receiver.name))
    };
    if let Some(name) = &handler.receiver
        && !receivers.iter().any(|receiver| named(&receiver))
    {
        let nearest = nearest(name, receivers.iter().map(|r| r.name.as_str())).unwrap_or_default();
        return Err(format!("there is no receiver `{name}`; did you mean `{nearest}`?"));
    }
    if let Some(id) = &handler.id
        && !receivers.iter().filter(named).any(|receiver| receiver.id.to_lowercase() == id.to_lowercase())
    {
        return Err(format!("there is no such receiver with the id `{id}`"));
    }
    Ok(())
}

impl Respond {
    fn reply(self) -> Result<Reply, String> {
        let status = StatusCode::from_u16(self.status).ok().filter(|status| status.as_u16() >= 200);
        let status = status.ok_or_else(|| format!("{} is no status to respond with", self.status))?;
        let content_type = match (self.content_type, self.body.is_empty()) {
            (Some(text), _) => {
                Some(HeaderValue::from_str(&text).map_err(|_| format!("`{text}` is no content type"))?)
            }
            (None, true) => None,
            (None, false) => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
        };
        Ok(Reply { status, content_type, headers: Vec::new(), body: Bytes::from(self.body) })
    }
}
