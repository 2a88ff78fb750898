//! Dead letters as messages: a stream of their own, and what their headers tell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use jiff::Timestamp;
use uuid::Uuid;

use crate::bounds;
use crate::headers;
use crate::link::Link;
use crate::options::Options;
use crate::post::Letter;
use crate::stream::{self, Found, Seen};
use crate::subject;
use crate::target::Target;

const REASON: &str = "sluiced-dead-reason";
const ATTEMPTS: &str = "sluiced-dead-attempts";
const DIED_AT: &str = "sluiced-dead-at";
const STREAM: &str = "sluiced-dead-stream";
const SUBJECT: &str = "sluiced-dead-subject";
const MESSAGE_ID: &str = "sluiced-dead-message-id";

/// All of the above begin so.
const PREFIX: &str = "sluiced-dead-";

/// Where the dead letters of a queue are.
#[derive(Debug)]
pub(crate) struct Morgue {
    /// `WEBHOOKS_DEAD`
    pub(crate) stream: String,
    /// `webhooks-dead`
    prefix: String,
    queue: String,
    wanted: Config,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The stream was there, and nothing has gone wrong since.
    seen: bool,
    /// The warnings that the log has already.
    told: Vec<String>,
}

/// A message that is given up.
pub(crate) struct Deceased<'a> {
    pub(crate) stream: &'a str,
    pub(crate) sequence: u64,
    /// When its stream took it, in nanoseconds since 1970.
    pub(crate) stored_at: i128,
    pub(crate) subject: &'a str,
    pub(crate) headers: Option<&'a HeaderMap>,
    pub(crate) attempts: u32,
    pub(crate) reason: &'a str,
}

impl Morgue {
    pub(crate) fn of(options: &Options, target: &Target) -> Self {
        let queue = subject::prefix(&options.queue_name);
        let prefix = format!("{queue}-dead");
        let stream = format!("{}_DEAD", target.stream);
        let wanted = stream::desired_dead(options, &stream, &format!("{prefix}.>"));
        Self { stream, prefix, queue, wanted, options: options.clone(), state: Mutex::default() }
    }

    /// Which subjects of the stream are of this queue.
    pub(crate) fn filter(&self) -> String {
        format!("{}.>", self.prefix)
    }

    /// Creates the stream unless it is there. One that would take a dead letter and not keep it is an error: the
    /// message is acknowledged after that.
    pub(crate) async fn prepare(&self, link: &Link) -> Result<(), String> {
        if self.state().seen {
            return Ok(());
        }
        match stream::find(link, &self.stream).await {
            // Without leave to look, publishing tells.
            Found::Forbidden(_) => {}
            Found::Stream(seen) => self.usable(&seen)?,
            Found::Missing if self.options.declare => {
                stream::create(link, &self.wanted)
                    .await
                    .map_err(|why| format!("stream {} can't be created: {why}", self.stream))?;
                tracing::info!(backend = "nats", stream = %self.stream, "destination created");
            }
            Found::Missing => {
                return Err(format!(
                    "stream {} doesn't exist; create it, or set declare = true",
                    self.stream
                ));
            }
            Found::Trouble(why) => return Err(why),
        }
        self.state().seen = true;
        Ok(())
    }

    fn usable(&self, seen: &Seen) -> Result<(), String> {
        if let Some(unfit) = stream::unfit(seen, &self.filter()) {
            return Err(unfit.why);
        }
        // Its consumers may go at any time, and its letters are for an operator.
        if seen.info.config.retention == RetentionPolicy::Interest {
            return Err(format!(
                "stream {} has retention `interest` and would not keep dead letters; create it with retention \
                 `limits`",
                self.stream
            ));
        }
        let warnings = stream::warnings(&seen.info, &self.wanted, &self.options);
        let told = std::mem::replace(&mut self.state().told, warnings.clone());
        for warning in warnings.iter().filter(|warning| !told.contains(warning)) {
            tracing::warn!(backend = "nats", stream = %self.stream, difference = %warning, "destination differs");
        }
        Ok(())
    }

    /// It may be gone: the next dead letter looks again.
    pub(crate) fn doubt(&self) {
        self.state().seen = false;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dead letter of a message. Its id is always the same, so that it is stored once although the worker
    /// dies before it has acknowledged the message, or sends it twice.
    pub(crate) fn letter(&self, dead: &Deceased<'_>, payload: bytes::Bytes) -> Letter {
        // What else of the server's own was on it, an expiry for one, spoke to the other stream.
        let mut all = headers::without_servers(dead.headers);
        // Without an id of its own: a stream that is created anew counts from one again.
        let id = headers::get(dead.headers, headers::MESSAGE_ID)
            .map_or_else(|| format!("{}/{}", dead.stream, dead.stored_at), ToOwned::to_owned);
        let tail = dead.subject.strip_prefix(&self.queue).and_then(|tail| tail.strip_prefix('.'));
        headers::set(&mut all, headers::MESSAGE_ID, &format!("{id}/dead-{}", dead.sequence));
        headers::set(&mut all, headers::EXPECTED_STREAM, &self.stream);
        headers::set(&mut all, REASON, &reason(dead.reason));
        headers::set(&mut all, ATTEMPTS, &dead.attempts.to_string());
        headers::set(&mut all, DIED_AT, &Timestamp::now().to_string());
        headers::set(&mut all, STREAM, dead.stream);
        headers::set(&mut all, SUBJECT, dead.subject);
        if let Some(id) = headers::get(dead.headers, headers::MESSAGE_ID) {
            headers::set(&mut all, MESSAGE_ID, id);
        }
        Letter {
            stream: self.stream.clone(),
            subject: format!("{}.{}", self.prefix, tail.unwrap_or(dead.subject)),
            headers: all,
            payload,
        }
    }
}

/// What a dead letter's headers tell.
#[derive(Debug)]
pub(crate) struct Epitaph {
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) died_at: Option<Timestamp>,
    pub(crate) message_id: Option<Uuid>,
}

pub(crate) fn epitaph(headers: &HeaderMap) -> Epitaph {
    let get = |name| headers::get(Some(headers), name);
    let message_id = get(MESSAGE_ID).and_then(|id| id.split('/').next());
    Epitaph {
        reason: get(REASON).unwrap_or("not known").to_owned(),
        attempts: get(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or(0),
        died_at: get(DIED_AT).and_then(|text| text.parse().ok()),
        message_id: message_id.and_then(|id| id.parse().ok()),
    }
}

/// The headers of the message's form, without what was added when it died.
pub(crate) fn of_form(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut all = headers::of_form(Some(headers));
    all.retain(|(name, _)| !name.starts_with(PREFIX));
    all
}

/// The message as it was before it died, under an id of its own: the old one is a duplicate for as long as
/// the stream remembers it. `None` where the headers don't tell where it belongs.
pub(crate) fn revived(headers: &HeaderMap, payload: bytes::Bytes, sequence: u64) -> Option<Letter> {
    let get = |name| headers::get(Some(headers), name);
    let (stream, subject) = (get(STREAM)?, get(SUBJECT)?);
    let id = match get(MESSAGE_ID) {
        Some(id) => next_id(id),
        None => format!("{stream}/dead-{sequence}/retry-1"),
    };
    let form = of_form(headers);
    let form = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let content_type = get(headers::CONTENT_TYPE).map(|value| (headers::CONTENT_TYPE, value));
    let own = [(headers::MESSAGE_ID, id.as_str()), (headers::EXPECTED_STREAM, stream)];
    Some(Letter {
        stream: stream.to_owned(),
        subject: subject.to_owned(),
        headers: headers::map(form.chain(content_type).chain(own)),
        payload,
    })
}

/// `ID` → `ID/retry-1` → `ID/retry-2`
fn next_id(id: &str) -> String {
    match id.rsplit_once("/retry-").and_then(|(base, n)| Some((base, n.parse::<u64>().ok()?))) {
        Some((base, n)) => format!("{base}/retry-{}", n.saturating_add(1)),
        None => format!("{id}/retry-1"),
    }
}

/// As one header's value: without control characters, and not too long.
fn reason(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > bounds::REASON_BYTES {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_retry_has_an_id_of_its_own() {
        assert_eq!(next_id("a"), "a/retry-1");
        assert_eq!(next_id("a/audit"), "a/audit/retry-1");
        assert_eq!(next_id("a/audit/retry-9"), "a/audit/retry-10");
        assert_eq!(next_id("a/retry-x"), "a/retry-x/retry-1");
    }

    #[test]
    fn a_reason_is_one_header() {
        assert_eq!(reason(" exit 1:\r\nno\u{85}\u{7f}disk\n"), "exit 1:  no  disk");
        assert!(reason(&"é".repeat(5000)).len() <= bounds::REASON_BYTES);
    }
}
