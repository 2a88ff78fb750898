//! Vectors, judged: whether a row does what the requests that come with it say.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use jiff::Timestamp;

use super::admission::{Admission, Reply};
use super::fetched::{Fetched, KeyDocument};
use super::public_url::PublicUrl;
use super::secret::Secret;
use super::settings::ReceiverSettings;
use super::verifier::Verifier;
use crate::catalog::{Row, Vector};
use crate::delivery::Delivery;

/// A vector made ready: who judges, what, and when.
#[derive(Debug)]
pub struct Case {
    /// Of the row and the vector's secret and settings.
    pub verifier: Verifier,
    /// The request.
    pub delivery: Delivery,
    /// When it arrives.
    pub now: Timestamp,
    /// The documents that it takes, as good as they get: there is no newer one.
    pub fetched: Fetched,
}

impl Case {
    /// Makes a vector ready.
    ///
    /// # Errors
    /// Says what of the vector can't be used, or why row and settings don't make a verifier.
    pub fn new(row: &Row, vector: &Vector) -> Result<Self, String> {
        let url: Uri = vector.url.parse().map_err(|_| format!("its url {:?} is none", vector.url))?;
        let verifier = Verifier::compile(row, &settings(vector, &url)?).map_err(|e| e.to_string())?;
        let now = Timestamp::from_second(vector.now).map_err(|_| "its now is no Unix time".to_owned())?;
        Ok(Self { verifier, delivery: delivery(vector, &url, now)?, now, fetched: fetched(vector) })
    }
}

/// Judges a vector by its row.
///
/// # Errors
/// Says what came out instead of what the vector expects.
pub fn prove(row: &Row, vector: &Vector) -> Result<(), String> {
    let Case { verifier, delivery, now, fetched } = Case::new(row, vector)?;
    match verifier.admit_with(delivery, now, &fetched) {
        Admission::Event(verified) => {
            expect("outcome", "event", &vector.expect)?;
            expect_given("actions", verified.actions(), vector.actions.as_deref())?;
            expect_given("delivery id", verified.delivery_id(), vector.delivery_id.as_deref().map(Some))?;
            prove_reply(verified.acknowledgement(), vector)
        }
        Admission::Answered { reply, .. } => {
            expect("outcome", "answer", &vector.expect)?;
            prove_reply(&reply, vector)
        }
        Admission::Refused(refusal) => {
            let reason = refusal.reason.as_str();
            expect("outcome", reason, &vector.expect).map_err(|e| format!("{e} ({})", refusal.detail))?;
            expect_given("status", refusal.status().as_u16(), vector.reply_status)
        }
        Admission::NeedsKey { request, .. } => {
            expect("outcome", "needs_key", &vector.expect).map_err(|e| format!("{e} ({})", request.url))
        }
    }
}

fn prove_reply(reply: &Reply, vector: &Vector) -> Result<(), String> {
    expect_given("status of the answer", reply.status.as_u16(), vector.reply_status)?;
    for (name, value) in &vector.reply_headers {
        let typed = reply.content_type.iter().filter(|_| name.eq_ignore_ascii_case("content-type"));
        let named = reply.headers.iter().filter(|(known, _)| known.as_str().eq_ignore_ascii_case(name));
        let found = named.map(|(_, value)| value).chain(typed).next().map(HeaderValue::as_bytes);
        let found = found.map(String::from_utf8_lossy);
        expect_given(&format!("answer's {name}"), found.as_deref(), Some(Some(value.as_str())))?;
    }
    let body = String::from_utf8_lossy(&reply.body);
    expect_given("answer's body", &*body, vector.reply_body.as_deref())
}

fn settings(vector: &Vector, url: &Uri) -> Result<ReceiverSettings, String> {
    let public_url = match (&vector.public_url, url.scheme(), url.authority()) {
        (Some(whole), ..) => PublicUrl::whole(whole),
        (None, Some(scheme), Some(authority)) => PublicUrl::base(&format!("{scheme}://{authority}")),
        _ => return Err(format!("its url {:?} is not absolute", vector.url)),
    };
    let secret = match &*vector.secret {
        // Published keys take the place of a secret.
        "" if !vector.fetched.is_empty() => None,
        // An unsigned handshake needs no secret, but a receiver always has one; this is hex and base64 too.
        "" => Some("0123456789abcdef0123456789abcdef"),
        secret => Some(secret),
    };
    let settings = vector.settings.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    Ok(ReceiverSettings {
        secrets: secret.map(Secret::from).into_iter().collect(),
        settings: settings.collect(),
        public_url: Some(public_url.map_err(|e| e.to_string())?),
        schemes: vector.schemes.clone(),
        ..ReceiverSettings::default()
    })
}

fn fetched(vector: &Vector) -> Fetched {
    let mut fetched = Fetched::default();
    for (url, text) in &vector.fetched {
        let bytes = Bytes::from(text.clone());
        fetched.put(url.clone(), KeyDocument { bytes, version: 1, is_current: true });
    }
    fetched
}

fn delivery(vector: &Vector, url: &Uri, now: Timestamp) -> Result<Delivery, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &vector.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (name, value) = header.ok_or_else(|| format!("its header {name:?} can't be one"))?;
        headers.append(name, value);
    }
    let method = vector.method.parse().map_err(|_| format!("its method {:?} is none", vector.method))?;
    Ok(Delivery {
        method,
        uri: url.path_and_query().cloned().map(Uri::from).unwrap_or_default(),
        headers,
        body: Bytes::from(vector.body.clone()),
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        id: String::new(),
        received_at: now,
    })
}

fn expect_given<T: std::fmt::Debug + PartialEq>(what: &str, is: T, wanted: Option<T>) -> Result<(), String> {
    wanted.map_or(Ok(()), |wanted| expect(what, is, wanted))
}

fn expect<T: std::fmt::Debug + PartialEq>(what: &str, is: T, wanted: T) -> Result<(), String> {
    if is == wanted { Ok(()) } else { Err(format!("the {what} is {is:?} and should be {wanted:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    const VECTOR: &str = r#"
        name = "a challenge"
        secret = "0123456789abcdef"
        now = 1700000000
        url = "https://h.example/in/slack"
        headers = { "X-Slack-Request-Timestamp" = "1700000000" }
        expect = "signature_missing"
    "#;

    #[test]
    fn says_what_came_out_instead() {
        let row = catalog::find("slack").unwrap();
        let mut vector: Vector = toml::from_str(VECTOR).unwrap();
        assert_eq!(prove(row, &vector), Ok(()));
        vector.reply_status = Some(403);
        assert_eq!(prove(row, &vector).unwrap_err(), "the status is 401 and should be 403");
        vector.expect = "event".to_owned();
        let why = prove(row, &vector).unwrap_err();
        assert!(why.starts_with("the outcome is \"signature_missing\" and should be \"event\" ("), "{why}");
        vector.url = "/in/slack".to_owned();
        assert_eq!(prove(row, &vector).unwrap_err(), "its url \"/in/slack\" is not absolute");
    }
}
