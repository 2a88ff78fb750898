//! `send` works for every provider whose secret both sides have: what a row signs, it accepts, by each of its
//! schemes; what it can't sign, it says.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::verify::{Admission, CompileError, PublicUrl, ReceiverSettings, SignError, Verifier};

const URL: &str = "https://hooks.example.com/in/x";

/// Every row with its vectors.
fn rows_with_vectors() -> Vec<Row> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/catalog");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.map(|path| toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// A verifier of one scheme, by the first of the row's own secrets that it takes, or by one made up.
fn verifier(row: &Row, scheme: &Scheme) -> Option<Verifier> {
    let settings = |name: &String, setting: &Setting| {
        let given = row.vectors.iter().find_map(|vector| vector.settings.get(name));
        let value = given.cloned().or(setting.required.then(|| "value".to_owned()))?;
        Some((name.clone(), value.as_str().into()))
    };
    let settings: std::collections::BTreeMap<_, _> =
        row.settings.iter().filter_map(|(name, setting)| settings(name, setting)).collect();
    let secrets = row.vectors.iter().map(|vector| &*vector.secret).filter(|secret| !secret.is_empty());
    let made_up = ["0123456789abcdef0123456789abcdef", "user:0123456789abcdef"];
    secrets.chain(made_up).find_map(|secret| {
        let settings = ReceiverSettings {
            secrets: vec![secret.into()],
            settings: settings.clone(),
            public_url: Some(PublicUrl::whole(URL).unwrap()),
            schemes: Some(vec![scheme.name.clone()]),
            ..ReceiverSettings::default()
        };
        match Verifier::compile(row, &settings) {
            Ok(verifier) => Some(verifier),
            Err(CompileError::SecretUnusable { .. }) => None,
            Err(error) => panic!("{}: {error}", row.name),
        }
    })
}

#[test]
fn what_a_row_signs_it_accepts() {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let mut sent = 0;
    for row in rows_with_vectors() {
        for scheme in row.schemes.iter().filter(|scheme| !scheme.handshakes_only) {
            let name = format!("{}, scheme {}", row.name, scheme.name);
            let may_be_private =
                matches!(scheme.verify, VerifyBy::PublicKey | VerifyBy::Jwt | VerifyBy::Named);
            let Some(verifier) = verifier(&row, scheme) else {
                assert!(may_be_private, "{name}: no secret fits");
                continue;
            };
            match verifier.sign(Some("thing.done"), None, URL, now, "id-1") {
                Ok(request) => {
                    let sent_as =
                        tests::delivery(request.method, &request.url, request.headers, request.body);
                    let admission = verifier.admit(sent_as, now);
                    // Xero's handshake is an event without events, which the made-up one is.
                    let is_accepted = matches!(admission, Admission::Event(_))
                        || matches!(admission, Admission::Answered { .. }) && row.name == "xero";
                    assert!(is_accepted, "{name}: {admission:?}");
                    sent += 1;
                }
                Err(SignError::PrivateKey) => assert!(may_be_private, "{name}"),
                // Nobody makes up XML.
                Err(SignError::ValueMissing) => {
                    assert!(scheme.from.iter().all(|from| from.starts_with("xml:")), "{name}");
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
    assert!(sent > 280, "{sent}");
}
