//! What became of a captured request, for people and for programs.

use std::fmt;

use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use super::captured::Note;
use crate::http::reply::HttpReply;
use crate::log::Outcome;
use crate::log::line::printable;
use crate::reason::Reason;
use crate::verify::Hint;

/// The daemon's verdict on a request.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Whether the request is proven to be the provider's. An unsigned handshake is answered and isn't.
    pub(super) authentic: bool,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
    /// What the reason alone doesn't say.
    pub(super) detail: Option<&'static str>,
    /// What accepted it.
    pub(super) scheme: Option<String>,
    /// The events' names, or the handshake's.
    pub(super) actions: Vec<String>,
    pub(super) delivery_id: Option<String>,
    pub(super) reply: Answer,
    pub(super) hints: Vec<Hint>,
    pub(super) note: Option<Note>,
}

/// What goes back to the sender.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    /// An answer as text; bytes that aren't text are replaced.
    pub(super) async fn of(reply: HttpReply) -> Self {
        let (head, body) = reply.into_parts();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let typed = head.headers.get(CONTENT_TYPE).map(|value| text(value.as_bytes()));
        let others = head.headers.iter().filter(|(name, _)| **name != CONTENT_TYPE);
        Self {
            status: head.status.as_u16(),
            content_type: typed,
            headers: others.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: body.collect().await.map(|body| text(&body.to_bytes())).unwrap_or_default(),
        }
    }
}

impl Verdict {
    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        let headers = self.reply.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
        json!({
            "authentic": self.authentic,
            "outcome": self.outcome.as_str(),
            "reason": self.reason.map(Reason::as_str),
            "detail": self.detail,
            "status": self.reply.status,
            "scheme": self.scheme,
            "actions": self.actions,
            "deliveryId": self.delivery_id,
            "reply": {
                "status": self.reply.status,
                "contentType": self.reply.content_type,
                "headers": headers.collect::<Map<_, _>>(),
                "body": self.reply.body,
            },
            "hints": self.hints.iter().map(Hint::to_string).collect::<Vec<_>>(),
            "notes": self.note.iter().map(Note::to_string).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.as_str())?;
        if let Some(reason) = self.reason {
            write!(f, ": {}", reason.as_str())?;
        }
        f.write_str("\n")?;
        let mut line = |key: &str, value: &str| writeln!(f, "  {key:<12} {}", printable(value));
        self.detail.map_or(Ok(()), |detail| line("why", detail))?;
        self.hints.iter().try_for_each(|hint| line("hint", &hint.to_string()))?;
        self.note.map_or(Ok(()), |note| line("note", &note.to_string()))?;
        self.scheme.as_ref().map_or(Ok(()), |scheme| line("scheme", scheme))?;
        if !self.actions.is_empty() {
            line("actions", &self.actions.join(", "))?;
        }
        self.delivery_id.as_ref().map_or(Ok(()), |id| line("delivery id", id))?;
        let typed = self.reply.content_type.as_deref().unwrap_or_default();
        line("reply", format!("{} {typed}", self.reply.status).trim_end())?;
        for (name, value) in &self.reply.headers {
            line("", &format!("{name}: {value}"))?;
        }
        self.reply.body.lines().try_for_each(|text| line("", text))
    }
}
