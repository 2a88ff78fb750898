//! Every row against its own vectors, every accepted vector against every single-bit change, every row
//! against its own sender.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;
use serde::Deserialize;

use super::*;
use crate::delivery::Delivery;
use crate::verify::{
    Admission, Fetched, KeyDocument, PublicUrl, ReceiverSettings, Secret, SignError, Verifier,
};

/// A signed request and what becomes of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    /// `published` and `sdk` prove the row; `computed` ones test the code only.
    origin: String,
    source: String,
    /// Set where the refusal follows from a policy of ours.
    #[serde(default)]
    #[expect(dead_code, reason = "for who reads the row")]
    policy: Option<String>,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    schemes: Option<Vec<String>>,
    /// Documents that schemes fetch, by their addresses.
    #[serde(default)]
    fetched: BTreeMap<String, String>,
    /// The whole URL at the sender, where that isn't `url`.
    #[serde(default)]
    public_url: Option<String>,
    now: i64,
    #[serde(default = "post")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// `event`, `answer`, or the reason of a refusal.
    expect: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
    #[serde(default)]
    delivery_id: Option<String>,
    #[serde(default)]
    reply_status: Option<u16>,
    #[serde(default)]
    reply_headers: BTreeMap<String, String>,
    #[serde(default)]
    reply_body: Option<String>,
    /// Several signatures are there, or their header holds more than them: changing that leaves the signature.
    #[serde(default)]
    several: bool,
}

fn post() -> String {
    "POST".to_owned()
}

struct File {
    stem: String,
    row: Row,
    vectors: Vec<Vector>,
}

fn files() -> Vec<File> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/catalog");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    paths.iter().map(read).collect()
}

fn read(path: &PathBuf) -> File {
    let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut table: toml::Table = toml::from_str(&fs::read_to_string(path).unwrap()).expect(&stem);
    let vectors = table.remove("vectors").map(|vectors| vectors.try_into().expect(&stem)).unwrap_or_default();
    File { row: toml::Value::Table(table).try_into().expect(&stem), stem, vectors }
}

impl Vector {
    fn settings(&self) -> ReceiverSettings {
        let url: Uri = self.url.parse().unwrap();
        let base = format!("{}://{}", url.scheme().unwrap(), url.authority().unwrap());
        let public_url = match &self.public_url {
            Some(whole) => PublicUrl::whole(whole),
            None => PublicUrl::base(&base),
        };
        let settings = self.settings.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        ReceiverSettings {
            secrets: if self.secret.is_empty() { Vec::new() } else { vec![self.secret.as_str().into()] },
            settings: settings.collect(),
            public_url: Some(public_url.unwrap()),
            schemes: self.schemes.clone(),
            ..ReceiverSettings::default()
        }
    }

    fn verifier(&self, row: &Row) -> Verifier {
        let mut settings = self.settings();
        // Vectors of unsigned handshakes come without a secret, which a receiver never does; this one is hex and
        // base64 too.
        if settings.secrets.is_empty() && self.fetched.is_empty() {
            settings.secrets.push(Secret::from("0123456789abcdef0123456789abcdef"));
        }
        Verifier::compile(row, &settings)
            .unwrap_or_else(|error| panic!("{} {}: {error}", row.name, self.name))
    }

    fn delivery(&self) -> Delivery {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        delivery(self.method.parse().unwrap(), &self.url, headers, Bytes::from(self.body.clone()))
    }

    /// The documents, as good as they get: there is no newer one.
    fn fetched(&self) -> Fetched {
        let mut fetched = Fetched::default();
        for (url, text) in &self.fetched {
            let bytes = Bytes::from(text.clone());
            fetched.put(url.clone(), KeyDocument { bytes, version: 1, is_current: true });
        }
        fetched
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.now).unwrap()
    }
}

fn delivery(method: Method, url: &str, headers: HeaderMap, body: Bytes) -> Delivery {
    let target = url.parse::<Uri>().unwrap().path_and_query().unwrap().clone();
    let client = std::net::Ipv4Addr::LOCALHOST.into();
    let received_at = Timestamp::UNIX_EPOCH;
    Delivery { method, uri: target.into(), headers, body, client, id: String::new(), received_at }
}

fn outcome(admission: &Admission) -> &'static str {
    match admission {
        Admission::Event(_) => "event",
        Admission::Answered { .. } => "answer",
        Admission::Refused(refusal) => refusal.reason.as_str(),
        Admission::NeedsKey { .. } => "needs_key",
    }
}

#[test]
fn rows_are_named_after_their_files_and_found_by_every_name() {
    let mut seen = HashSet::new();
    for file in files() {
        let row = &file.row;
        assert_eq!(row.name, file.stem);
        for name in std::iter::once(&row.name).chain(&row.aliases) {
            assert!(seen.insert(name.clone()), "{name} names two rows");
            assert_eq!(*name, name.to_ascii_lowercase());
            assert_eq!(find(&name.to_ascii_uppercase()).expect(name).name, row.name);
        }
        assert!(!row.title.is_empty() && !row.guide.is_empty() && !row.schemes.is_empty(), "{}", row.name);
        let schemes: HashSet<&String> = row.schemes.iter().map(|scheme| &scheme.name).collect();
        assert_eq!(schemes.len(), row.schemes.len(), "{}: two schemes of one name", row.name);
    }
    assert!(names().is_sorted());
    assert_eq!(names_and_aliases().count(), seen.len());
}

/// Also those without vectors: some secret that another row's vectors have is of the kind that it takes.
#[test]
fn every_row_compiles() {
    let files = files();
    let secrets: HashSet<&str> = files
        .iter()
        .flat_map(|file| &file.vectors)
        .map(|vector| &*vector.secret)
        .filter(|s| !s.is_empty())
        .collect();
    for file in &files {
        let compiles = |secret: &&&str| {
            let required = file.row.settings.iter().filter(|(_, setting)| setting.required);
            let settings = ReceiverSettings {
                secrets: vec![(**secret).into()],
                settings: required.map(|(name, _)| (name.clone(), sample(file, name).into())).collect(),
                public_url: Some(PublicUrl::base("https://hooks.example.com").unwrap()),
                ..ReceiverSettings::default()
            };
            Verifier::compile(&file.row, &settings).is_ok()
        };
        assert!(secrets.iter().any(|secret| compiles(&secret)), "{}", file.stem);
    }
}

/// A setting's value in a vector of the row; some are not just any text.
fn sample<'f>(file: &'f File, name: &str) -> &'f str {
    let given = file.vectors.iter().find_map(|vector| vector.settings.get(name));
    given.map_or("value", String::as_str)
}

#[test]
fn vectors_stay_out_of_the_binary() {
    for row in EMBEDDED {
        assert!(!row.text.contains("[[vectors]]"), "{}", row.name);
    }
}

#[test]
fn proven_rows_have_a_vector_that_proves_them() {
    for file in files().iter().filter(|file| file.row.evidence == Evidence::Proven) {
        let proof =
            |vector: &Vector| vector.origin != "computed" && matches!(&*vector.expect, "event" | "answer");
        assert!(file.vectors.iter().any(proof), "{}", file.stem);
    }
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let mut wrong = Vec::new();
    for file in files() {
        for vector in &file.vectors {
            assert!(["published", "sdk", "computed"].contains(&&*vector.origin) && !vector.source.is_empty());
            let verifier = vector.verifier(&file.row);
            let admission = verifier.admit_with(vector.delivery(), vector.now(), &vector.fetched());
            if outcome(&admission) != vector.expect {
                wrong.push(format!(
                    "{}: {}: {admission:?} instead of {}",
                    file.stem, vector.name, vector.expect
                ));
            }
            check_details(vector, &admission, &format!("{}: {}", file.stem, vector.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check_details(vector: &Vector, admission: &Admission, name: &str) {
    match admission {
        Admission::Event(verified) => {
            if let Some(actions) = &vector.actions {
                assert_eq!(verified.actions(), actions, "{name}");
            }
            if let Some(id) = &vector.delivery_id {
                assert_eq!(verified.delivery_id(), Some(id.as_str()), "{name}");
            }
        }
        Admission::Answered { reply, .. } => {
            if let Some(status) = vector.reply_status {
                assert_eq!(reply.status.as_u16(), status, "{name}");
            }
            for (header, value) in &vector.reply_headers {
                let typed = reply.content_type.iter().filter(|_| header.eq_ignore_ascii_case("content-type"));
                let named =
                    reply.headers.iter().filter(|(name, _)| name.as_str().eq_ignore_ascii_case(header));
                let found = named.map(|(_, value)| value).chain(typed).next();
                assert_eq!(found.map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}: {header}");
            }
            if let Some(body) = &vector.reply_body {
                assert_eq!(reply.body, body.as_bytes(), "{name}");
            }
        }
        Admission::Refused(refusal) => {
            if let Some(status) = vector.reply_status {
                assert_eq!(refusal.status().as_u16(), status, "{name}");
            }
        }
        Admission::NeedsKey { .. } => {}
    }
}

#[test]
fn no_single_bit_can_change() {
    for file in files() {
        for vector in file.vectors.iter().filter(|vector| vector.expect == "event") {
            let verifier = vector.verifier(&file.row);
            let accepted = |delivery: Delivery| {
                matches!(
                    verifier.admit_with(delivery, vector.now(), &vector.fetched()),
                    Admission::Event(_) | Admission::Answered { .. }
                )
            };
            let sign_bodies = schemes_of(&file.row, vector).all(|scheme| scheme.verify.covers_body());
            if file.row.signs == Signs::Body && sign_bodies {
                for body in flipped(vector.body.as_bytes()) {
                    let delivery = Delivery { body: Bytes::from(body.clone()), ..vector.delivery() };
                    assert!(!accepted(delivery), "{}: {}: {}", file.stem, vector.name, body.escape_ascii());
                }
            }
            if vector.several {
                continue;
            }
            for (name, is_hex) in signing_headers(&file.row, vector) {
                let value = vector.delivery().headers[&name].clone();
                for changed in flipped(value.as_bytes()) {
                    let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
                    // Hex digits may be of either case, as may what stands before a token.
                    if is_hex && changed.as_bytes().eq_ignore_ascii_case(value.as_bytes()) {
                        continue;
                    }
                    let mut delivery = vector.delivery();
                    delivery.headers.insert(&name, changed.clone());
                    assert!(!accepted(delivery), "{}: {}: {name}: {changed:?}", file.stem, vector.name);
                }
            }
        }
    }
}

/// The bytes with each single bit changed, of long ones only some.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let step = 1 + bytes.len() / 100;
    (0..bytes.len()).step_by(step).flat_map(move |at| {
        (0..8).map(move |bit| {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            changed
        })
    })
}

/// The headers of the vector that its schemes read a signature, a token or a time from, and whether case can
/// differ in them.
fn signing_headers(row: &Row, vector: &Vector) -> Vec<(HeaderName, bool)> {
    let delivery = vector.delivery();
    let mut names = Vec::new();
    for scheme in schemes_of(row, vector) {
        let is_hex = scheme.signature.encoding == "hex" || !scheme.prefix.is_empty();
        let is_hex = is_hex || vector.settings.is_empty() && scheme.signature.encoding.starts_with("{set:");
        let time = scheme.timestamp.iter().map(|rule| (&rule.from, false));
        let signature = scheme.signature.from.iter().chain(&scheme.from).map(|from| (from, is_hex));
        for (source, is_hex) in signature.chain(time) {
            let name = source.strip_prefix("header:").and_then(|name| name.parse::<HeaderName>().ok());
            names.extend(name.filter(|name| delivery.headers.contains_key(name)).map(|name| (name, is_hex)));
        }
    }
    names
}

fn schemes_of<'r>(row: &'r Row, vector: &'r Vector) -> impl Iterator<Item = &'r Scheme> {
    row.schemes.iter().filter(|scheme| match &vector.schemes {
        Some(names) => names.contains(&scheme.name),
        None => !scheme.on_request,
    })
}

#[test]
fn every_row_accepts_what_it_signs() {
    for file in files() {
        // XML is not made up.
        let can_send = |scheme: &Scheme| {
            let mut texts = scheme.from.iter().chain(&scheme.message);
            !texts.any(|text| text.contains("xml:"))
        };
        for vector in file.vectors.iter().filter(|vector| vector.expect == "event") {
            if !schemes_of(&file.row, vector).all(can_send) {
                continue;
            }
            let name = format!("{}: {}", file.stem, vector.name);
            let verifier = vector.verifier(&file.row);
            let url = vector.url.split('?').next().unwrap();
            let request = match verifier.sign(Some("thing.done"), None, url, vector.now(), "id-1") {
                Err(SignError::PrivateKey) => continue,
                request => request.expect(&name),
            };
            let is_form = request.headers["content-type"].as_bytes().starts_with(b"application/x-www-form");
            let sent = delivery(request.method, &request.url, request.headers, request.body);
            match verifier.admit(sent, vector.now()) {
                Admission::Event(verified) => {
                    let wants = |sources: &[String]| {
                        sources
                            .iter()
                            .any(|source| !source.starts_with("const:") && !source.starts_with("{set:"))
                    };
                    if wants(&file.row.actions) {
                        assert_eq!(verified.actions(), ["thing.done"], "{name}");
                    }
                    if wants(&file.row.delivery_id) && !is_form {
                        assert_eq!(verified.delivery_id(), Some("id-1"), "{name}");
                    }
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn accepted_events_are_answered_as_the_provider_wants() {
    let wanted = [
        ("github", 200, None, ""),
        ("adyen", 200, Some("text/plain"), "[accepted]"),
        ("gocardless", 204, None, ""),
        ("messenger", 200, None, "EVENT_RECEIVED"),
        ("dropbox-sign", 200, Some("text/plain"), "Hello API Event Received"),
    ];
    for (name, status, content_type, body) in wanted {
        let files = files();
        let file = files.iter().find(|file| file.stem == name).expect(name);
        let verifier =
            file.vectors.iter().find(|vector| vector.expect == "event").unwrap().verifier(&file.row);
        let vector = file.vectors.iter().find(|vector| vector.expect == "event").unwrap();
        let admission = verifier.admit_with(vector.delivery(), vector.now(), &vector.fetched());
        let Admission::Event(verified) = admission else { panic!("{name}: {admission:?}") };
        let reply = verified.acknowledgement();
        let typed = reply.content_type.as_ref().map(|value| value.to_str().unwrap());
        assert_eq!(
            (reply.status.as_u16(), typed, &reply.body[..]),
            (status, content_type, body.as_bytes()),
            "{name}"
        );
    }
    let salesforce = find("salesforce").unwrap();
    assert!(salesforce.acknowledgement.body.contains("<Ack>true</Ack>"));
    let settings = ReceiverSettings { secrets: vec!["00D".into()], ..ReceiverSettings::default() };
    let fault = Verifier::compile(salesforce, &settings).unwrap().failure("Not now").unwrap();
    assert!(
        fault.body.windows(7).any(|part| part == b"Not now") && fault.content_type.unwrap() == "text/xml"
    );
}
