//! The catalogue over real HTTP: one daemon with many receivers takes what each provider's own library or
//! documentation signed, refuses what was tampered with, answers handshakes to the letter, and queues the bytes
//! as they came.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use sluiced::catalog::{Row, Signs, find, names};
use sluiced::verify::{PublicUrl, ReceiverSettings, SignError, Verifier};

use crate::client::{Answer, send_raw};
use crate::daemon::Daemon;
use crate::worker::{body, drain};

/// Where the vectors' senders believe the receivers to be.
const PUBLIC_URL: &str = "https://hooks.example.com";

/// What this test reads of a vector; `src/catalog/README.md` has the whole.
#[derive(Clone, Debug, Deserialize)]
struct Vector {
    origin: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    schemes: Option<Vec<String>>,
    /// Not empty: the daemon would have to call the provider.
    #[serde(default)]
    fetched: BTreeMap<String, String>,
    #[serde(default = "post")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    expect: String,
    #[serde(default)]
    reply_status: Option<u16>,
    #[serde(default)]
    reply_headers: BTreeMap<String, String>,
    #[serde(default)]
    reply_body: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

/// The vectors of a row, those that prove it first.
fn vectors(row: &str) -> Vec<Vector> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        vectors: Vec<Vector>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/catalog/{row}.toml"));
    let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).expect(row);
    let mut vectors = file.vectors;
    vectors.sort_by_key(|vector| vector.origin == "computed");
    vectors
}

impl Vector {
    /// What the receiver of this vector is configured with, in the file and for the engine alike.
    fn settings(&self) -> ReceiverSettings {
        let settings = self.settings.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        ReceiverSettings {
            secrets: vec![self.secret().into()],
            settings: settings.collect(),
            public_url: Some(PublicUrl::base(PUBLIC_URL).unwrap()),
            schemes: self.schemes.clone(),
            ..ReceiverSettings::default()
        }
    }

    /// Handshakes that aren't signed come without a secret, which a receiver never does.
    fn secret(&self) -> &str {
        if self.secret.is_empty() { "0123456789abcdef0123456789abcdef" } else { &self.secret }
    }

    fn receiver(&self, name: &str, more: &str) -> String {
        let mut text = format!("[[receivers]]\nname = \"{name}\"\n");
        // Who hands its secret over does so to a receiver without one.
        if !self.secret.is_empty() || !find(name).is_some_and(|row| row.captures()) {
            text.push_str(&format!("secret = [{{ text = {} }}]\n", toml(self.secret())));
        }
        let schemes = self.schemes.iter().map(|schemes| ("schemes", schemes.join(",")));
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let set: Vec<String> =
            settings.chain(schemes).map(|(name, value)| format!("{name} = {}", toml(&value))).collect();
        writeln!(text, "set = {{ {} }}\nraw_body = true\nmask = false\n{more}", set.join(", ")).unwrap();
        text
    }

    fn request(&self) -> Request {
        Request {
            method: self.method.clone(),
            target: self.url.strip_prefix(PUBLIC_URL).unwrap().to_owned(),
            headers: self.headers.clone().into_iter().collect(),
            body: Bytes::from(self.body.clone()),
        }
    }
}

fn toml(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    fn send(&self, daemon: &Daemon) -> Answer {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: hooks.example.com\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).unwrap();
        send_raw(daemon.address, &[head.as_bytes(), &self.body].concat()).expect("an answer")
    }

    /// The same with another body under the same signature.
    fn tampered(&self) -> Self {
        let mut body = self.body.to_vec();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        Self { body: body.into(), ..self.clone() }
    }
}

/// A provider with a request that it signs, and one that somebody forged.
struct Case {
    row: &'static Row,
    vector: Vector,
    authentic: Request,
    forged: Request,
    accepted: Expected,
}

struct Expected {
    status: u16,
    content_type: Option<String>,
    /// None: it is encrypted, another each time.
    body: Option<Bytes>,
}

/// A vector as it is where no time is signed, else signed anew. None where neither can be: the vector is of
/// another URL, or the provider's private key is needed.
fn case(name: &str) -> Option<Case> {
    let row = find(name).unwrap();
    let event = |vector: &Vector| vector.expect == "event" && !vector.secret.is_empty();
    let vector = vectors(name).into_iter().find(event)?;
    let verifier = Verifier::compile(row, &vector.settings()).expect(name);
    let used = |scheme: &&sluiced::catalog::Scheme| match &vector.schemes {
        Some(names) => names.contains(&scheme.name),
        None => !scheme.on_request,
    };
    let is_timed = row.schemes.iter().filter(used).any(|scheme| {
        scheme.timestamp.as_ref().is_some_and(|rule| !rule.from.is_empty()) || !scheme.max_age.is_empty()
    });
    let is_jwt = row.schemes.iter().filter(used).any(|scheme| scheme.verify.as_str() == "jwt");
    let target = format!("/in/{name}");
    let is_here = vector.url.split('?').next() == Some(&format!("{PUBLIC_URL}{target}"));
    let authentic = if is_timed || is_jwt || !is_here { sign(&verifier, &target)? } else { vector.request() };
    let forged = if row.signs == Signs::Body && !authentic.body.is_empty() {
        authentic.tampered()
    } else {
        let other = Vector { secret: another(&vector.secret), ..vector.clone() };
        sign(&Verifier::compile(row, &other.settings()).ok()?, &target)?
    };
    let reply = &row.acknowledgement;
    let accepted = Expected {
        status: reply.status,
        content_type: Some(reply.content_type.clone()).filter(|kind| !kind.is_empty()),
        body: (!seals_answers(row)).then(|| reply.body.clone().into()),
    };
    Some(Case { row, vector, authentic, forged, accepted })
}

fn seals_answers(row: &Row) -> bool {
    row.schemes.iter().filter_map(|scheme| scheme.decrypt.as_ref()).any(|decrypt| decrypt.seals_answers)
}

fn is_sealed(body: &[u8]) -> bool {
    let body: BTreeMap<String, String> = serde_json::from_slice(body).unwrap_or_default();
    body.keys().map(String::as_str).eq(["encrypt", "msg_signature", "nonce", "timeStamp"])
}

fn sign(verifier: &Verifier, target: &str) -> Option<Request> {
    let url = format!("{PUBLIC_URL}{target}");
    let signed = match verifier.sign(Some("thing.done"), None, &url, Timestamp::now(), "id-1") {
        Err(SignError::PrivateKey) => return None,
        signed => signed.ok()?,
    };
    let headers =
        signed.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Some(Request {
        method: signed.method.to_string(),
        target: signed.url.strip_prefix(PUBLIC_URL).unwrap().to_owned(),
        headers: headers.collect(),
        body: signed.body,
    })
}

/// A secret of the same form that isn't the same.
fn another(secret: &str) -> String {
    let at = secret.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()).map(|(at, _)| at);
    let at = at.min_by_key(|at| at.abs_diff(secret.len() / 2)).unwrap();
    let other = if &secret[at..=at] == "a" { "b" } else { "a" };
    format!("{}{other}{}", &secret[..at], &secret[at + 1..])
}

#[test]
fn providers_are_taken_and_their_forgers_refused() {
    let cases: Vec<Case> = names().filter_map(case).collect();
    let mut config = format!("public_url = \"{PUBLIC_URL}\"\n");
    for case in &cases {
        let path = format!("path = \"/in/{}\"\n", case.row.name);
        config.push_str(&case.vector.receiver(&case.row.name, &path));
    }
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), &config, &[]);
    let mut wrong = Vec::new();
    for case in &cases {
        let name = &case.row.name;
        let answer = case.authentic.send(&daemon);
        let content_type = case.accepted.content_type.as_deref();
        let is_answered = match &case.accepted.body {
            Some(body) => answer.body[..] == body[..],
            None => is_sealed(&answer.body),
        };
        if answer.status != case.accepted.status
            || !is_answered
            || content_type.is_some_and(|wanted| answer.header("content-type") != Some(wanted))
        {
            wrong.push(format!("{name}: {answer:?} to {:?}", case.authentic));
        }
        let refused = case.forged.send(&daemon);
        let wanted = case.row.refusal_status.unwrap_or(refused.status);
        if !(400..500).contains(&refused.status) || refused.status != wanted {
            wrong.push(format!("{name}: {refused:?} to the forged {:?}", case.forged));
        }
    }
    daemon.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let mut bodies: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for message in drain(dir.path()) {
        bodies.entry(message["receiver"].as_str().unwrap().to_owned()).or_default().push(body(&message));
    }
    for case in &cases {
        assert_eq!(
            bodies.remove(&case.row.name),
            Some(vec![case.authentic.body.to_vec()]),
            "{}",
            case.row.name
        );
    }
    assert!(bodies.is_empty(), "{bodies:?}");
    println!("{} providers over HTTP", cases.len());
    assert!(cases.len() >= 60, "{}", cases.len());
}

/// Each under a receiver of its own: secrets and settings are the vector's. What they are signed with may be old.
#[test]
fn handshakes_are_answered_to_the_letter() {
    let mut config = format!("public_url = \"{PUBLIC_URL}\"\n");
    let mut handshakes = Vec::new();
    for name in names() {
        for vector in vectors(name) {
            if vector.expect == "answer" && vector.fetched.is_empty() && vector.url.starts_with(PUBLIC_URL) {
                let id = format!("h{}", handshakes.len());
                let mut request = vector.request();
                let mut more = format!("id = \"{id}\"\ntolerance = \"36500d\"\n");
                // An answer that is made of the URL takes the vector's own path.
                let is_of_url = find(name).is_some_and(Row::signs_url);
                if is_of_url {
                    let path = request.target.split('?').next().unwrap();
                    writeln!(more, "path = \"{path}\"").unwrap();
                }
                config.push_str(&vector.receiver(name, &more));
                if is_of_url {
                    handshakes.push((name, vector, request));
                    continue;
                }
                let query =
                    vector.url.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
                request.target = format!("/api/webhooks/incoming/{name}/{id}{query}");
                handshakes.push((name, vector, request));
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), &config, &[]);
    for (name, vector, request) in &handshakes {
        let answer = request.send(&daemon);
        assert_eq!(answer.status, vector.reply_status.unwrap_or(200), "{name}: {answer:?}");
        for (header, value) in &vector.reply_headers {
            assert_eq!(answer.header(header), Some(value.as_str()), "{name}: {header}: {answer:?}");
        }
        if let Some(body) = &vector.reply_body {
            assert_eq!(String::from_utf8_lossy(&answer.body), *body, "{name}");
        } else if find(name).is_some_and(seals_answers) {
            assert!(is_sealed(&answer.body), "{name}: {answer:?}");
        }
    }
    let providers: BTreeSet<&str> = handshakes.iter().map(|(name, ..)| *name).collect();
    println!("{} handshakes of {} providers over HTTP", handshakes.len(), providers.len());
    assert!(providers.len() >= 20, "{providers:?}");
    daemon.stop();
    assert!(drain(dir.path()).is_empty());
}

/// All rows in one daemon: compiling them is no matter of start. A release build is asked for 100 ms with
/// `SLUICED_TEST_BINARY`; the limit is for unoptimised ones on busy machines.
#[test]
fn all_rows_together_start_at_once() {
    let vectors: Vec<Vector> = names().flat_map(vectors).filter(|vector| !vector.secret.is_empty()).collect();
    let mut config = format!("public_url = \"{PUBLIC_URL}\"\n");
    for name in names() {
        let row = find(name).unwrap();
        let required = row.settings.iter().filter(|(_, setting)| setting.required);
        // Some are not just any text.
        let of_vectors = self::vectors(name);
        let sample = |setting: &str| {
            let given = of_vectors.iter().find_map(|vector| vector.settings.get(setting));
            given.cloned().unwrap_or_else(|| "value".to_owned())
        };
        let settings: BTreeMap<String, String> =
            required.map(|(name, _)| (name.clone(), sample(name))).collect();
        let compiles = |vector: &Vector| Verifier::compile(row, &vector.settings()).is_ok();
        let candidates = vectors.iter().map(|vector| Vector {
            settings: settings.clone(),
            schemes: None,
            ..vector.clone()
        });
        let fits = candidates.into_iter().find(compiles).expect(name);
        config.push_str(&fits.receiver(name, ""));
    }
    let dir = tempfile::tempdir().unwrap();
    let before = Instant::now();
    let daemon = Daemon::with_config(dir.path(), &config, &[]);
    let took = before.elapsed();
    println!("{} receivers: listening after {took:?}", names().count());
    assert!(took < Duration::from_secs(2), "{took:?}");
    daemon.stop();
}
