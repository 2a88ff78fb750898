//! Every row against its own vectors, every accepted vector against every single-bit change, every row
//! against its own sender.

mod delivery_ids;
mod names;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;

use super::*;
use crate::delivery::Delivery;
use crate::verify::{Admission, Case, PublicUrl, ReceiverSettings, SignError, Verifier, prove};

struct File {
    stem: String,
    row: Row,
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
    File { row: toml::from_str(&fs::read_to_string(path).unwrap()).expect(&stem), stem }
}

impl File {
    fn case(&self, vector: &Vector) -> Case {
        Case::new(&self.row, vector).unwrap_or_else(|error| panic!("{} {}: {error}", self.stem, vector.name))
    }
}

pub(super) fn delivery(method: Method, url: &str, headers: HeaderMap, body: Bytes) -> Delivery {
    let target = url.parse::<Uri>().unwrap().path_and_query().unwrap().clone();
    let client = std::net::Ipv4Addr::LOCALHOST.into();
    let received_at = Timestamp::UNIX_EPOCH;
    Delivery { method, uri: target.into(), headers, body, client, id: String::new(), received_at }
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
        .flat_map(|file| &file.row.vectors)
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
    let given = file.row.vectors.iter().find_map(|vector| vector.settings.get(name));
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
        assert!(file.row.vectors.iter().any(proof), "{}", file.stem);
    }
}

#[test]
fn every_vector_comes_out_as_it_says() {
    let mut wrong = Vec::new();
    for file in files() {
        for vector in &file.row.vectors {
            assert!(["published", "sdk", "computed"].contains(&&*vector.origin) && !vector.source.is_empty());
            if let Err(why) = prove(&file.row, vector) {
                wrong.push(format!("{}: {}: {why}", file.stem, vector.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_single_bit_can_change() {
    for file in files() {
        for vector in file.row.vectors.iter().filter(|vector| vector.expect == "event") {
            let case = file.case(vector);
            let accepted = |delivery: Delivery| {
                matches!(
                    case.verifier.admit_with(delivery, case.now, &case.fetched),
                    Admission::Event(_) | Admission::Answered { .. }
                )
            };
            let sign_bodies = schemes_of(&file.row, vector).all(|scheme| {
                // Segment signs one event of a batch.
                scheme.verify.covers_body() && scheme.message.iter().all(|message| !message.eq("{json:/0}"))
            });
            if file.row.signs == Signs::Body && sign_bodies {
                for body in flipped(vector.body.as_bytes()) {
                    let delivery = Delivery { body: Bytes::from(body.clone()), ..case.delivery.clone() };
                    assert!(!accepted(delivery), "{}: {}: {}", file.stem, vector.name, body.escape_ascii());
                }
            }
            if vector.several {
                continue;
            }
            for (name, is_hex) in signing_headers(&file.row, vector, &case.delivery) {
                let value = &case.delivery.headers[&name];
                for changed in flipped(value.as_bytes()) {
                    let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
                    // Hex digits may be of either case, as may what stands before a token.
                    if is_hex && changed.as_bytes().eq_ignore_ascii_case(value.as_bytes()) {
                        continue;
                    }
                    let mut delivery = case.delivery.clone();
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
fn signing_headers(row: &Row, vector: &Vector, delivery: &Delivery) -> Vec<(HeaderName, bool)> {
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
        for vector in file.row.vectors.iter().filter(|vector| vector.expect == "event") {
            if !schemes_of(&file.row, vector).all(can_send) {
                continue;
            }
            let name = format!("{}: {}", file.stem, vector.name);
            let Case { verifier, now, .. } = file.case(vector);
            let url = vector.url.split('?').next().unwrap();
            let request = match verifier.sign(Some("thing.done"), None, url, now, "id-1") {
                Err(SignError::PrivateKey) => continue,
                request => request.expect(&name),
            };
            let is_form = request.headers["content-type"].as_bytes().starts_with(b"application/x-www-form");
            let sent = delivery(request.method, &request.url, request.headers, request.body);
            match verifier.admit(sent, now) {
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
        let event = file.row.vectors.iter().find(|vector| vector.expect == "event").unwrap();
        let Case { verifier, delivery, now, fetched } = file.case(event);
        let admission = verifier.admit_with(delivery, now, &fetched);
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
    let settings =
        ReceiverSettings { secrets: vec!["00D200000000ABC".into()], ..ReceiverSettings::default() };
    let fault = Verifier::compile(salesforce, &settings).unwrap().failure("Not now").unwrap();
    assert!(
        fault.body.windows(7).any(|part| part == b"Not now") && fault.content_type.unwrap() == "text/xml"
    );
}
