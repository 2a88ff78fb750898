//! How a log line is put together, and how what a sender chose is made safe in it.

use std::fmt::{self, Write};

use jiff::Timestamp;
use sluiced_queue::json::rfc3339_micros;

use super::Level;
use crate::bounds::{LOG_ACTIONS_MAX, LOG_VALUE_BYTES_MAX};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One JSON object.
    Json,
    /// Time, level, message, then `key=value`.
    Text {
        /// With ANSI colours for the level.
        colour: bool,
    },
}

/// A line in the making. Keys are ours; values may be anybody's and are escaped and cut.
pub struct Line {
    style: Style,
    text: String,
}

impl Line {
    /// Begins a line with time, level and message.
    pub fn new(style: Style, level: Level, msg: &str) -> Self {
        let mut line = Self { style, text: String::with_capacity(512) };
        let ts = rfc3339_micros(Timestamp::now());
        match style {
            Style::Json => {
                // Writing to a String can't fail.
                let _ = write!(line.text, "{{\"ts\":\"{ts}\",\"level\":\"{}\",\"msg\":", level.as_str());
                line.quoted(msg, usize::MAX);
            }
            Style::Text { colour } => {
                let (on, off) = if colour { (ansi(level), "\x1b[0m") } else { ("", "") };
                let _ = write!(line.text, "{ts} {on}{:<5}{off} ", level.as_str().to_ascii_uppercase());
                escape(&mut line.text, msg);
            }
        }
        line
    }

    /// A string.
    pub fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.bounded(key, value, LOG_VALUE_BYTES_MAX)
    }

    /// A string of our own making, never cut: a path, an error's text, a URL to paste.
    pub fn whole(&mut self, key: &str, value: &str) -> &mut Self {
        self.bounded(key, value, usize::MAX)
    }

    /// A string, or null; text lines leave nulls out.
    pub fn optional(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.string(key, value),
            None => self.null(key),
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.key(key);
        // Writing to a String can't fail, here and below.
        let _ = write!(self.text, "{value}");
        self
    }

    /// What has neither blanks in its text nor anything to escape: an id or an address of our own making.
    pub fn plain(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.key(key);
        let quote = if self.style == Style::Json { "\"" } else { "" };
        let _ = write!(self.text, "{quote}{value}{quote}");
        self
    }

    /// A number, or null.
    pub fn optional_number(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(key, value),
            None => self.null(key),
        }
    }

    /// A list of strings, cut to a bounded number.
    pub fn list(&mut self, key: &str, values: &[String]) -> &mut Self {
        self.key(key);
        self.text.push('[');
        for (at, value) in values.iter().take(LOG_ACTIONS_MAX).enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.quoted(value, LOG_VALUE_BYTES_MAX);
        }
        self.text.push(']');
        self
    }

    /// A value that is JSON already: a number, `true`.
    pub fn raw(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        self.text.push_str(value);
        self
    }

    /// Ends the line.
    pub fn finish(mut self) -> String {
        if self.style == Style::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }

    fn null(&mut self, key: &str) -> &mut Self {
        match self.style {
            Style::Json => self.raw(key, "null"),
            Style::Text { .. } => self,
        }
    }

    fn bounded(&mut self, key: &str, value: &str, bytes_max: usize) -> &mut Self {
        self.key(key);
        let plain = matches!(self.style, Style::Text { .. })
            && !value.is_empty()
            && value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='));
        if plain && value.len() <= bytes_max {
            self.text.push_str(value);
        } else {
            self.quoted(value, bytes_max);
        }
        self
    }

    fn key(&mut self, key: &str) {
        let (before, after) = match self.style {
            Style::Json => (",\"", "\":"),
            Style::Text { .. } => (" ", "="),
        };
        [before, key, after].into_iter().for_each(|part| self.text.push_str(part));
    }

    fn quoted(&mut self, value: &str, bytes_max: usize) {
        self.text.push('"');
        let cut = cut(value, bytes_max);
        escape(&mut self.text, cut);
        if cut.len() < value.len() {
            self.text.push('…');
        }
        self.text.push('"');
    }
}

/// The longest beginning of `value` that is within the bound and ends between two characters.
fn cut(value: &str, bytes_max: usize) -> &str {
    &value[..value.floor_char_boundary(bytes_max)]
}

/// Escapes as JSON asks, and besides what terminals and log viewers act on: DEL, the C1 controls
/// (an 8-bit CSI among them), line separators, and marks that turn the direction of writing.
fn escape(out: &mut String, value: &str) {
    if value.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\')) {
        return out.push_str(value);
    }
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => unicode(out, c),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                unicode(out, c);
            }
            c => out.push(c),
        }
    }
}

/// A text for a terminal: what it would act on is escaped, the rest left as it is.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.push(c),
            c => escape(&mut out, c.encode_utf8(&mut [0; 4])),
        }
    }
    out
}

fn unicode(out: &mut String, c: char) {
    // Writing to a String can't fail.
    let _ = write!(out, "\\u{:04x}", u32::from(c));
}

fn ansi(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug | Level::Trace => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_chose_can_neither_break_the_line_nor_reach_the_terminal() {
        let evil = "a\"}\n{\"level\":\"error\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\u{0}";
        for style in [Style::Json, Style::Text { colour: false }] {
            let mut line = Line::new(style, Level::Info, evil);
            line.string("id", evil).list("actions", &[evil.into()]);
            let text = line.finish();
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}', '\u{0}']), "{text:?}");
            if style == Style::Json {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["id"], evil);
                assert_eq!(value["actions"][0], evil);
            }
        }
    }

    #[test]
    fn a_terminal_gets_quotes_as_they_are_and_no_controls() {
        assert_eq!(printable("{\"a\": \"\\ ä\u{1b}[2J\n\"}"), "{\"a\": \"\\ ä\\u001b[2J\\n\"}");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let mut line = Line::new(Style::Json, Level::Info, "m");
        line.string("id", &"ä".repeat(10_000)).list("actions", &vec!["x".to_owned(); 1_000]);
        let text = line.finish();
        assert!(text.len() < 1_000, "{}", text.len());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["id"].as_str().unwrap().ends_with("ä…"));
        assert_eq!(value["actions"].as_array().unwrap().len(), LOG_ACTIONS_MAX);
    }
}
