//! Hints: which known mistake would make a refused signature match, for whoever sets a receiver up.
//!
//! Each mistake is undone in turn and the delivery judged again. That costs as many verifications as there
//! are mistakes; so it is for the command line and for logs at debug level, never for an answer. A captured
//! request is usually old as well, so its age hides no other mistake.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use http::header::HOST;
use jiff::Timestamp;

use super::admission::Admission;
use super::public_url::{self, PublicUrl};
use super::secret::Secret;
use super::settings::ReceiverSettings;
use super::verifier::Verifier;
use crate::catalog::{KeyRule, Row};
use crate::delivery::Delivery;
use crate::reason::Reason;

/// A mistake that, undone, makes the delivery authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The secret has white space or a line end around it.
    SecretHasSpace,
    /// The sender's secret ends with a line end.
    SecretLacksLineEnd,
    /// The secret has a prefix that doesn't belong to it.
    SecretHasPrefix(&'static str),
    /// The secret's prefix was dropped.
    SecretLacksPrefix(&'static str),
    /// The secret stands for bytes in another way than the row says: `hex`, `base64` or `utf8`.
    SecretIs(&'static str),
    /// The body isn't as it was signed.
    BodyChanged(&'static str),
    /// The sender signed another URL.
    SignedUrl(String),
    /// All is right but the time.
    Clock,
    /// Another scheme of the row accepts it.
    OtherScheme(String),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretHasSpace => {
                f.write_str("the secret has white space or a line end around it: take it off")
            }
            Self::SecretLacksLineEnd => {
                f.write_str("the sender's secret ends with a line end, and this one doesn't")
            }
            Self::SecretHasPrefix(prefix) => {
                write!(f, "the sender uses the secret without its prefix {prefix}")
            }
            Self::SecretLacksPrefix(prefix) => write!(f, "the secret lacks its prefix {prefix}"),
            Self::SecretIs("utf8") => f.write_str("the sender takes the secret as text, not decoded"),
            Self::SecretIs(encoding) => write!(f, "the sender takes the secret as {encoding}"),
            Self::BodyChanged(how) => write!(f, "the body was changed on its way: signed was {how}"),
            Self::SignedUrl(url) => write!(f, "the sender signed the URL {url}"),
            Self::Clock => f.write_str(
                "the signature is right, its time too far off: an old request, or a clock that is wrong",
            ),
            Self::OtherScheme(name) => write!(f, "the scheme {name} accepts it, which has to be asked for"),
        }
    }
}

/// The mistakes that explain a refusal; none for a delivery that is authentic.
pub fn hints(row: &Row, settings: &ReceiverSettings, delivery: &Delivery, now: Timestamp) -> Vec<Hint> {
    let case = Case { row, settings, delivery, now, is_late: Cell::new(false) };
    let mut hints = Vec::new();
    if case.is_authentic(row, settings, delivery) {
        return case.with_clock(hints);
    }
    case.secrets(&mut hints);
    case.encodings(&mut hints);
    case.bodies(&mut hints);
    case.urls(&mut hints);
    case.schemes(&mut hints);
    case.with_clock(hints)
}

const PREFIXES: [&str; 2] = ["whsec_", "v1,whsec_"];

struct Case<'a> {
    row: &'a Row,
    settings: &'a ReceiverSettings,
    delivery: &'a Delivery,
    now: Timestamp,
    /// Whether something was authentic but for its time.
    is_late: Cell<bool>,
}

impl Case<'_> {
    /// Whether it is, its time aside.
    fn is_authentic(&self, row: &Row, settings: &ReceiverSettings, delivery: &Delivery) -> bool {
        let Ok(verifier) = Verifier::compile(row, settings) else { return false };
        match verifier.admit(delivery.clone(), self.now) {
            Admission::Refused(refusal) if refusal.reason == Reason::TimestampOutOfTolerance => {
                self.is_late.set(true);
                true
            }
            // Without the keys that it takes nobody can tell.
            Admission::Refused(_) | Admission::NeedsKey { .. } => false,
            Admission::Event(_) | Admission::Answered { .. } => true,
        }
    }

    fn with_clock(&self, mut hints: Vec<Hint>) -> Vec<Hint> {
        hints.extend(self.is_late.get().then_some(Hint::Clock));
        hints
    }

    fn with_settings(&self, change: impl FnOnce(&mut ReceiverSettings)) -> bool {
        let mut settings = self.settings.clone();
        change(&mut settings);
        self.is_authentic(self.row, &settings, self.delivery)
    }

    fn with_secrets(&self, change: impl Fn(&[u8]) -> Vec<u8>) -> bool {
        self.with_settings(|settings| {
            let changed = settings.secrets.iter().map(|secret| Secret::new(change(secret.bytes())));
            settings.secrets = changed.filter(|secret| !secret.bytes().is_empty()).collect();
        })
    }

    fn secrets(&self, hints: &mut Vec<Hint>) {
        if self.with_secrets(|secret| secret.trim_ascii().to_vec()) {
            hints.push(Hint::SecretHasSpace);
        }
        if self.with_secrets(|secret| [secret, b"\n"].concat()) {
            hints.push(Hint::SecretLacksLineEnd);
        }
        for prefix in PREFIXES {
            if self.with_secrets(|secret| secret.strip_prefix(prefix.as_bytes()).unwrap_or_default().to_vec())
            {
                hints.push(Hint::SecretHasPrefix(prefix));
            }
            if self.with_secrets(|secret| [prefix.as_bytes(), secret].concat()) {
                hints.push(Hint::SecretLacksPrefix(prefix));
            }
        }
    }

    fn encodings(&self, hints: &mut Vec<Hint>) {
        for decode in ["utf8", "hex", "base64"] {
            let mut row = self.row.clone();
            for scheme in &mut row.schemes {
                let strip_prefix =
                    if decode == "utf8" { Vec::new() } else { PREFIXES.map(str::to_owned).to_vec() };
                scheme.key = KeyRule { strip_prefix, decode: decode.to_owned(), ..scheme.key.clone() };
            }
            if self.is_authentic(&row, self.settings, self.delivery) {
                hints.push(Hint::SecretIs(decode));
            }
        }
    }

    fn bodies(&self, hints: &mut Vec<Hint>) {
        let body = &self.delivery.body;
        let bodies = [
            ("a body without a line end", body.trim_ascii_end().to_vec()),
            ("a body with a line end", [body, &b"\n"[..]].concat()),
            ("JSON without white space", respaced(body, "")),
            ("JSON with a space after each comma and colon", respaced(body, " ")),
        ];
        for (how, changed) in bodies.into_iter().filter(|(_, changed)| changed != body) {
            let delivery = Delivery { body: Bytes::from(changed), ..self.delivery.clone() };
            if self.is_authentic(self.row, self.settings, &delivery) {
                hints.push(Hint::BodyChanged(how));
            }
        }
    }

    fn urls(&self, hints: &mut Vec<Hint>) {
        let Some(public) = &self.settings.public_url else { return };
        let url = public.of(&self.delivery.uri).into_owned();
        for candidate in self.other_urls(&url).into_iter().filter(|other| *other != url) {
            let changed = PublicUrl::whole(&candidate);
            let fits =
                changed.is_ok_and(|url| self.with_settings(|settings| settings.public_url = Some(url)));
            let hint = Hint::SignedUrl(candidate);
            if fits && !hints.contains(&hint) {
                hints.push(hint);
            }
        }
    }

    fn other_urls(&self, url: &str) -> Vec<String> {
        let (without_query, query) =
            url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
        let slashed = match without_query.strip_suffix('/') {
            Some(bare) => bare.to_owned(),
            None => format!("{without_query}/"),
        };
        let slashed = query.map_or(slashed.clone(), |query| format!("{slashed}?{query}"));
        let target = public_url::path_and_query(&self.delivery.uri);
        let host = self.delivery.headers.get(HOST).and_then(|host| host.to_str().ok());
        let mut urls = vec![without_query.to_owned(), slashed];
        urls.extend(url.strip_prefix("https:").map(|rest| format!("http:{rest}")));
        urls.extend(url.strip_prefix("http:").map(|rest| format!("https:{rest}")));
        urls.extend([public_url::with_port(url), public_url::without_port(url)].into_iter().flatten());
        urls.extend(
            host.into_iter().flat_map(|host| ["https", "http"].map(|s| format!("{s}://{host}{target}"))),
        );
        urls
    }

    fn schemes(&self, hints: &mut Vec<Hint>) {
        for scheme in self.row.schemes.iter().filter(|scheme| scheme.on_request) {
            if self.with_settings(|settings| settings.schemes = Some(vec![scheme.name.clone()])) {
                hints.push(Hint::OtherScheme(scheme.name.clone()));
            }
        }
    }
}

/// JSON with that much space after each comma and colon between its tokens, and no other; what isn't JSON
/// comes out as something else that isn't.
fn respaced(json: &[u8], space: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for &byte in json {
        if in_string {
            out.push(byte);
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if !byte.is_ascii_whitespace() {
            out.push(byte);
            in_string = byte == b'"';
            if matches!(byte, b',' | b':') {
                out.extend_from_slice(space.as_bytes());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{post, settings};
    use super::*;
    use crate::catalog;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn signed(row: &str, secret: &str, body: &str) -> Delivery {
        let verifier = Verifier::compile(catalog::find(row).unwrap(), &settings(secret)).unwrap();
        let url = "https://h.example/in/x";
        let request =
            verifier.sign(None, Some(Bytes::copy_from_slice(body.as_bytes())), url, NOW, "d").unwrap();
        post(request.headers, body)
    }

    fn hints_of(row: &str, secret: &str, delivery: &Delivery) -> Vec<Hint> {
        hints(catalog::find(row).unwrap(), &settings(secret), delivery, NOW)
    }

    #[test]
    fn names_what_is_wrong_with_the_secret() {
        let delivery = signed("github", "a secret", "{}");
        assert_eq!(hints_of("github", "a secret", &delivery), []);
        assert_eq!(hints_of("github", "another", &delivery), []);
        assert_eq!(hints_of("github", "a secret\n", &delivery), [Hint::SecretHasSpace]);
        let delivery = signed("stripe", "whsec_QUFB", "{}");
        assert_eq!(hints_of("stripe", "QUFB", &delivery), [Hint::SecretLacksPrefix("whsec_")]);
        let delivery = signed("github", "ABC", "{}");
        assert_eq!(hints_of("github", "414243", &delivery), [Hint::SecretIs("hex")]);
        assert_eq!(hints_of("github", "QUJD", &delivery), [Hint::SecretIs("base64")]);
    }

    #[test]
    fn age_hides_no_other_mistake() {
        let delivery = signed("stripe", "a secret", "{}");
        let row = catalog::find("stripe").unwrap();
        let later = Timestamp::from_second(3600).unwrap();
        let hints = |secret| hints(row, &settings(secret), &delivery, later);
        assert_eq!(hints("a secret "), [Hint::SecretHasSpace, Hint::Clock]);
        assert_eq!(hints("another secret"), []);
    }

    #[test]
    fn names_what_was_done_to_the_body() {
        let mut delivery = signed("github", "a secret", "{\"a\":\"b, \\\"c\",\"d\":[1,2]}");
        delivery.body = Bytes::from_static(b"{ \"a\" : \"b, \\\"c\",\n \"d\": [1, 2] }\n");
        let how = Hint::BodyChanged("JSON without white space");
        assert_eq!(hints_of("github", "a secret", &delivery), [how]);
    }

    #[test]
    fn names_the_clock_and_the_url() {
        let delivery = signed("stripe", "a secret", "{}");
        let row = catalog::find("stripe").unwrap();
        let later = Timestamp::from_second(3600).unwrap();
        assert_eq!(hints(row, &settings("a secret"), &delivery, later), [Hint::Clock]);
        let row = catalog::find("square").unwrap();
        let mut settings = settings("a secret");
        settings.public_url = Some(PublicUrl::base("https://h.example").unwrap());
        let verifier = Verifier::compile(row, &settings).unwrap();
        let request = verifier.sign(None, Some("{}".into()), "https://h.example/in/x", NOW, "d").unwrap();
        settings.public_url = Some(PublicUrl::base("http://h.example").unwrap());
        let signed = Hint::SignedUrl("https://h.example/in/x".to_owned());
        assert_eq!(hints(row, &settings, &post(request.headers, "{}"), NOW), [signed]);
    }
}
