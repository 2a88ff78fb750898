//! How dead letters are shown: a table for people, or one JSON object a line.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::value::RawValue;
use sluiced_queue::json::rfc3339_micros;
use sluiced_queue::{DeadLetter, WebHookQueueContext};

/// Shows on stdout.
pub struct View {
    json: bool,
}

impl View {
    /// With `json`, one object a line and nothing else.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Above the first row.
    ///
    /// # Errors
    /// When stdout can't be written to; so for all of these.
    pub fn heading(&self) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        row(["ID", "DIED AT", "RECEIVER", "ACTIONS", "ATTEMPTS", "BYTES", "REASON"])
    }

    /// One dead letter.
    pub fn row(&self, letter: &DeadLetter) -> io::Result<()> {
        let context = letter.context().ok();
        if self.json {
            return line(&Shown::new(letter, context.as_ref()));
        }
        let died_at = format!("{:.0}", letter.died_at);
        let attempts = letter.attempts.to_string();
        let bytes = letter.message.len().to_string();
        let (receiver, actions) = names(context.as_ref());
        row([&letter.id, &died_at, &receiver, &actions, &attempts, &bytes, &letter.reason])
    }

    /// One dead letter with its message.
    pub fn whole(&self, letter: &DeadLetter) -> io::Result<()> {
        let context = letter.context().ok();
        let message = letter.print_line().ok().and_then(|line| String::from_utf8(line).ok());
        let raw = message.as_ref().and_then(|text| RawValue::from_string(text.clone()).ok());
        if self.json {
            let bytes = raw.is_none().then(|| BASE64.encode(&letter.message));
            let shown = Shown::new(letter, context.as_ref());
            return line(&Whole { shown, message: raw, message_base64: bytes });
        }
        let (receiver, actions) = names(context.as_ref());
        let mut out = io::stdout().lock();
        for (key, value) in [
            ("id", letter.id.clone()),
            ("died at", rfc3339_micros(letter.died_at)),
            ("message id", letter.message_id.map_or_else(String::new, |id| id.to_string())),
            ("receiver", receiver),
            ("actions", actions),
            ("attempts", letter.attempts.to_string()),
            ("reason", letter.reason.clone()),
            ("bytes", letter.message.len().to_string()),
        ] {
            writeln!(out, "{key:<11} {}", plain(&value))?;
        }
        match message {
            Some(message) => writeln!(out, "\n{message}"),
            None => {
                writeln!(out, "\nThe message can't be read. In base64:\n{}", BASE64.encode(&letter.message))
            }
        }
    }

    /// Something was done to one.
    pub fn done(&self, id: &str, done: &str) -> io::Result<()> {
        if self.json {
            return line(&serde_json::json!({ "id": id, "done": done }));
        }
        Ok(())
    }

    /// Something was done to so many.
    pub fn total(&self, count: usize, done: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let letters = if count == 1 { "dead letter" } else { "dead letters" };
        writeln!(io::stdout().lock(), "{done} {count} {letters}")
    }

    /// There is none. Said where it can't be taken for one.
    pub fn nothing(&self, queue: &str) -> io::Result<()> {
        if self.json {
            eprintln!("sluiced: there are no dead letters of the queue `{queue}`");
            return Ok(());
        }
        writeln!(io::stdout().lock(), "There are no dead letters of the queue `{queue}`.")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a str,
    died_at: String,
    message_id: Option<String>,
    receiver: Option<&'a str>,
    receiver_id: Option<&'a str>,
    actions: Option<&'a [String]>,
    attempts: u32,
    reason: &'a str,
    bytes: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(flatten)]
    shown: Shown<'a>,
    message: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(letter: &'a DeadLetter, context: Option<&'a WebHookQueueContext>) -> Self {
        Self {
            id: &letter.id,
            died_at: rfc3339_micros(letter.died_at),
            message_id: letter.message_id.map(|id| id.to_string()),
            receiver: context.map(|c| c.receiver.as_str()),
            receiver_id: context.map(|c| c.id.as_str()),
            actions: context.map(|c| c.actions.as_slice()),
            attempts: letter.attempts,
            reason: &letter.reason,
            bytes: letter.message.len(),
        }
    }
}

/// `github/acme` and `push,ping`; question marks for what can't be read.
fn names(context: Option<&WebHookQueueContext>) -> (String, String) {
    let Some(context) = context else { return ("?".into(), "?".into()) };
    let receiver = match context.id.as_str() {
        "" => context.receiver.clone(),
        id => format!("{}/{id}", context.receiver),
    };
    (receiver, context.actions.join(","))
}

fn row([id, died_at, receiver, actions, attempts, bytes, reason]: [&str; 7]) -> io::Result<()> {
    let (receiver, actions) = (cell(receiver, 24), cell(actions, 24));
    writeln!(
        io::stdout().lock(),
        "{id:<6} {died_at:<20} {receiver:<16} {actions:<16} {attempts:>8} {bytes:>9}  {}",
        cell(reason, 200)
    )
}

fn line(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")
}

/// Cut to so many characters.
fn cell(text: &str, chars_max: usize) -> String {
    let plain = plain(text);
    match plain.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain,
    }
}

/// A sender chose it: it must neither break the line nor steer the terminal.
fn plain(text: &str) -> String {
    text.replace(
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'),
        "\u{fffd}",
    )
}
