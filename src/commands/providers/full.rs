//! One provider in full: how it verifies, how to set it up, the line to start with.

use std::fmt::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::list::summary;
use crate::catalog::{Handshake, Replay, Row, Scheme, Setting, Signs, Tolerance};

/// What the list tells, and the rest.
pub(super) fn json(row: &Row, config: Option<&Path>) -> Value {
    let mut json = summary(row);
    let settings = row.settings.iter().map(|(name, setting)| {
        json!({ "name": name, "doc": setting.doc, "default": setting.default, "required": setting.required })
    });
    json["secret"] = json!(row.secret);
    json["settings"] = settings.collect();
    json["guide"] = json!(row.guide.trim());
    json["quirks"] = json!(row.quirks);
    json["sender"] = json!({ "timeout": row.sender.timeout, "retries": row.sender.retries });
    json["serve"] = json!(serve_line(row, config));
    json["row"] = json!(row);
    json
}

/// For people.
pub(super) fn text(row: &Row, config: Option<&Path>) -> String {
    let mut page = Page::default();
    page.head(row);
    page.facts(row);
    for scheme in &row.schemes {
        page.scheme(row, scheme);
    }
    for handshake in &row.handshakes {
        page.handshake(handshake);
    }
    page.settings(row);
    page.section("set-up");
    page.paragraph("  ", &row.guide);
    if !row.quirks.is_empty() {
        page.section("mind");
        row.quirks.iter().for_each(|quirk| page.paragraph("  - ", quirk));
    }
    page.section("start with");
    page.line(format_args!("  {}", serve_line(row, config)));
    page.0
}

/// The command to start with; names of variables are suggestions.
pub(super) fn serve_line(row: &Row, config: Option<&Path>) -> String {
    let name = &row.name;
    let variable = |what: &str| format!("{name}_{what}").to_uppercase().replace('-', "_");
    let mut line = "sluiced serve".to_owned();
    let mut put = |flag: fmt::Arguments<'_>| {
        // Writing to a String can't fail.
        let _ = write!(line, " {flag}");
    };
    if let Some(config) = config {
        put(format_args!("--config {}", config.display()));
    }
    match row.needs_secret() {
        true => put(format_args!("--receiver {name}=env:{}", variable("SECRET"))),
        false => put(format_args!("--receiver {name}")),
    }
    // Where the keys are, when that has to be said, takes the secret's place.
    let usual = row.schemes.iter().filter(|scheme| !scheme.must_be_asked_for());
    let place: Vec<&String> = usual.filter_map(|scheme| scheme.keys.as_ref()?.needs.as_ref()).collect();
    for (key, _) in row.settings.iter().filter(|(key, setting)| setting.required || place.contains(key)) {
        put(format_args!("--receiver-set {name}.{key}=env:{}", variable(key)));
    }
    if let Some(first) = row.schemes.first().filter(|_| row.schemes.iter().all(Scheme::must_be_asked_for)) {
        put(format_args!("--receiver-set {name}.schemes=text:{}", first.name));
    }
    if row.signs_url() {
        put(format_args!("--public-url https://hooks.example.com"));
    }
    line
}

/// Text in the making.
#[derive(Default)]
struct Page(String);

/// Narrower than any terminal that people use.
const COLUMNS: usize = 78;

impl Page {
    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "{text}");
    }

    fn section(&mut self, title: &str) {
        self.line(format_args!("\n{title}"));
    }

    /// A key and its value, unless that is empty.
    fn fact(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.line(format_args!("  {key:<13} {value}"));
        }
    }

    /// Words, wrapped; lines after the first are set in as far.
    fn paragraph(&mut self, lead: &str, text: &str) {
        let indent = " ".repeat(lead.len());
        let mut line = lead.to_owned();
        for word in text.split_whitespace() {
            if line.len() > lead.len() && line.chars().count() + word.chars().count() >= COLUMNS {
                self.line(format_args!("{}", line.trim_end()));
                line.clone_from(&indent);
            }
            line.push_str(word);
            line.push(' ');
        }
        self.line(format_args!("{}", line.trim_end()));
    }

    fn head(&mut self, row: &Row) {
        self.line(format_args!("{} ({})", row.title, row.name));
        if !row.aliases.is_empty() {
            self.fact("also", &row.aliases.join(", "));
        }
        self.fact("docs", &row.docs);
    }

    fn facts(&mut self, row: &Row) {
        self.fact("scheme", &row.scheme());
        self.fact("evidence", row.evidence.as_str());
        self.fact(
            "replay",
            match row.replay {
                Replay::Protected => "protected",
                Replay::Unprotected => "unprotected: a captured request can be sent again",
            },
        );
        self.fact(
            "signed",
            match row.signs {
                Signs::Body => "the whole body",
                Signs::Part => "part of the body",
                Signs::Nothing => "nothing of the body",
            },
        );
        self.fact("methods", &row.methods.join(", "));
        self.fact("types", &row.content_types.join(", "));
        self.fact("secret", &row.secret);
        self.fact("event", &row.actions.join(", "));
        self.fact("delivery id", &row.delivery_id.join(", "));
        let reply = &row.acknowledgement;
        self.fact("answer", format!("{} {} {}", reply.status, reply.content_type, reply.body).trim_end());
        self.fact("sender waits", &row.sender.timeout);
        self.fact("retries", &row.sender.retries);
    }

    fn scheme(&mut self, row: &Row, scheme: &Scheme) {
        let asked = if scheme.must_be_asked_for() { ", on request" } else { "" };
        let asked = if scheme.handshakes_only { ", of handshakes only" } else { asked };
        self.section(&format!("scheme {}: {}{asked}", scheme.name, row.kind(scheme)));
        let (signature, key) = (&scheme.signature, &scheme.key);
        let prefix = |prefix: &str| match prefix {
            "" => String::new(),
            prefix => format!(" after {prefix:?}"),
        };
        let form = format!("{}{}", signature.encoding, prefix(&signature.prefix));
        if !signature.from.is_empty() {
            self.fact("signature", &format!("{}, {form}", signature.from.join(", ")));
        }
        if !scheme.from.is_empty() {
            self.fact("credential", &format!("{}{}", scheme.from.join(", "), prefix(&scheme.prefix)));
        }
        self.fact("message", &scheme.message.join(" or "));
        self.fact("code", &scheme.scheme);
        self.fact("each", &scheme.each);
        if let Some(keys) = &scheme.keys {
            let place = if keys.url.is_empty() { &keys.from } else { &keys.url };
            self.fact("keys", &format!("{place}, of {}", keys.hosts.join(" or ")));
            self.fact("certificate", &keys.certificate_of.join(" or "));
        }
        if let Some(decrypt) = &scheme.decrypt {
            self.fact("decrypts", &decrypt.from);
            self.fact("answers", if decrypt.seals_answers { "encrypted and signed in turn" } else { "" });
        }
        if !key.decode.is_empty() || !key.strip_prefix.is_empty() {
            self.fact("key", format!("{}{}", key.decode, prefix(&key.strip_prefix.join(" or "))).trim());
        }
        if let Some(time) = &scheme.timestamp {
            let within = match time.tolerance {
                Tolerance::Within(tolerance) => format!("at most {} s off", tolerance.as_secs()),
                Tolerance::Unbounded => "not aged".to_owned(),
            };
            self.fact("timestamp", &format!("{}, {}, {within}", time.from, time.unit));
        }
        for condition in &scheme.require {
            self.fact("requires", &condition.from);
        }
        for claim in &scheme.claims {
            self.fact("claim", &format!("{} {}", claim.name, claim.equals.as_deref().unwrap_or_default()));
        }
    }

    fn handshake(&mut self, handshake: &Handshake) {
        let signed = if handshake.signed { ", signed" } else { "" };
        self.section(&format!("handshake {}: {}{signed}", handshake.name, handshake.methods.join(", ")));
        for condition in &handshake.matches {
            let equals = condition.equals.as_ref().map(|value| format!(" = {value}")).unwrap_or_default();
            self.fact("when", &format!("{}{equals}", condition.from));
        }
        self.fact("keeps", handshake.capture.as_deref().unwrap_or_default());
        if let Some(visit) = &handshake.visit {
            self.fact("calls", &format!("{}, of {}", visit.from, visit.hosts.join(" or ")));
        }
        let respond = &handshake.respond;
        let answer = format!("{} {} {}", respond.status, respond.content_type, respond.body);
        self.fact("answer", answer.trim_end());
        for (name, value) in &respond.headers {
            self.fact("", &format!("{name}: {value}"));
        }
    }

    fn settings(&mut self, row: &Row) {
        if row.settings.is_empty() {
            return;
        }
        self.section("settings");
        for (name, Setting { doc, default, required }) in &row.settings {
            let note = match (required, default.is_empty()) {
                (true, _) => " (required)".to_owned(),
                (false, true) => String::new(),
                (false, false) => format!(" [default: {default}]"),
            };
            self.paragraph(&format!("  {name:<13} "), &format!("{doc}{note}"));
        }
    }
}
