//! `schema.json`, for editors, is kept in step with the model in Rust: the same keys, the same words, and the
//! same verdict on every row and on every small change of one.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::catalog::row::{Sender, Setting};

fn schema() -> Value {
    serde_json::from_str(include_str!("schema.json")).unwrap()
}

/// Every row of the catalogue as JSON, the first of its vectors included.
fn rows() -> Vec<Value> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/catalog");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let row = |path: PathBuf| {
        let row: toml::Value = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        serde_json::to_value(row).unwrap()
    };
    paths.map(row).collect()
}

/// The keys or words that serde names when it is given one that nobody knows.
fn known<T: DeserializeOwned>(strange: Value) -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(strange).err().expect("a strange key or word is refused");
    let error = error.to_string();
    assert!(error.starts_with("unknown "), "{error}");
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

fn keys(definition: &Value) -> BTreeSet<String> {
    assert_eq!(definition["additionalProperties"], false);
    definition["properties"].as_object().unwrap().keys().cloned().collect()
}

fn words(definition: &Value) -> BTreeSet<String> {
    let options = definition["oneOf"].as_array().unwrap().iter();
    options.map(|option| option["enum"][0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn both_have_the_same_keys_and_words() {
    fn model<T: DeserializeOwned>() -> BTreeSet<String> {
        known::<T>(json!({ "no such key": 1 }))
    }
    fn vocabulary<T: DeserializeOwned>() -> BTreeSet<String> {
        known::<T>(json!("no such word"))
    }
    let schema = schema();
    assert_eq!(keys(&schema), model::<Row>());
    let definitions = &schema["definitions"];
    let structures = [
        ("Sender", model::<Sender>()),
        ("Setting", model::<Setting>()),
        ("Acknowledgement", model::<Acknowledgement>()),
        ("Failure", model::<Failure>()),
        ("Scheme", model::<Scheme>()),
        ("Signature", model::<Signature>()),
        ("KeyRule", model::<KeyRule>()),
        ("Decrypt", model::<Decrypt>()),
        ("KeysFrom", model::<KeysFrom>()),
        ("ClientCredentials", model::<ClientCredentials>()),
        ("TimestampRule", model::<TimestampRule>()),
        ("Claim", model::<Claim>()),
        ("Condition", model::<Condition>()),
        ("Handshake", model::<Handshake>()),
        ("Visit", model::<Visit>()),
        ("Respond", model::<Respond>()),
        ("Vector", model::<Vector>()),
    ];
    let vocabularies = [
        ("Evidence", vocabulary::<Evidence>()),
        ("Replay", vocabulary::<Replay>()),
        ("Signs", vocabulary::<Signs>()),
        ("VerifyBy", vocabulary::<VerifyBy>()),
        ("Strict", vocabulary::<Strict>()),
        ("Grammar", vocabulary::<Grammar>()),
        ("Framing", vocabulary::<Framing>()),
        ("Like", vocabulary::<Like>()),
    ];
    for (name, model) in &structures {
        assert_eq!(keys(&definitions[*name]), *model, "{name}");
    }
    for (name, model) in &vocabularies {
        assert_eq!(words(&definitions[*name]), *model, "{name}");
    }
    // And `oneOrMany`, which is no structure.
    let count = structures.len() + vocabularies.len() + 1;
    assert_eq!(definitions.as_object().unwrap().len(), count);
}

#[test]
fn every_row_is_valid() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for row in rows() {
        let errors: Vec<String> = validator.iter_errors(&row).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", row["name"]);
    }
}

#[test]
fn both_judge_every_small_change_alike() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut refused = 0;
    for mut row in rows() {
        if let Some(vectors) = row["vectors"].as_array_mut() {
            vectors.truncate(1);
        }
        for pointer in pointers(&row) {
            for changed in changes(&row, &pointer) {
                let model = serde_json::from_value::<Row>(changed.clone()).map(|_| ());
                let is_valid = validator.is_valid(&changed);
                assert_eq!(is_valid, model.is_ok(), "{} {pointer}: {model:?}", row["name"]);
                refused += usize::from(!is_valid);
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
}

/// A configuration file's schema, as far as it has rows. Editors follow no reference to another file, so
/// it holds the definitions once more.
#[test]
fn the_configuration_has_the_same_rows() {
    let mut row = schema();
    let mut definitions = row.as_object_mut().unwrap().remove("definitions").unwrap();
    for about_the_file in ["$schema", "$id", "title"] {
        row.as_object_mut().unwrap().remove(about_the_file);
    }
    definitions["Row"] = row;
    let file = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://raw.githubusercontent.com/sluiced/sluiced/main/docs/sluiced.schema.json",
        "title": "sluiced's configuration: providers of one's own",
        "type": "object",
        "properties": {
            "providers": {
                "description": "Rows of one's own, found beside the catalogue's.",
                "type": "array",
                "items": { "$ref": "#/definitions/Row" },
            },
        },
        "definitions": definitions,
    });
    page::keep("docs/sluiced.schema.json", &format!("{file:#}\n"));
    let validator = jsonschema::validator_for(&file).unwrap();
    let github = rows().into_iter().find(|row| row["name"] == "github").unwrap();
    let mut config = json!({ "listen": "127.0.0.1:8080", "providers": [github] });
    assert!(validator.is_valid(&config));
    config["providers"][0]["no_such_key"] = json!(1);
    assert!(!validator.is_valid(&config));
}

/// Where every value in it is.
fn pointers(value: &Value) -> Vec<String> {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (escape(key), value)).collect(),
        Value::Array(array) => array.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = children
        .iter()
        .flat_map(|(key, value)| pointers(value).into_iter().map(move |pointer| format!("/{key}{pointer}")));
    std::iter::once(String::new()).chain(below).collect()
}

/// The row with an unknown key at that place, without each of its keys, with another word, with another type.
fn changes(row: &Value, pointer: &str) -> Vec<Value> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut row = row.clone();
        change(row.pointer_mut(pointer).unwrap());
        row
    };
    match row.pointer(pointer).unwrap() {
        Value::Object(object) => {
            let unknown = with(&|value| value["no_such_key"] = json!(1));
            let without = object.keys().map(|key| {
                with(&|value| {
                    value.as_object_mut().unwrap().remove(key);
                })
            });
            without.chain([unknown]).collect()
        }
        Value::String(_) => {
            vec![with(&|value| *value = json!("no such word")), with(&|value| *value = json!(7))]
        }
        Value::Array(_) => vec![with(&|value| *value = json!({}))],
        _ => vec![with(&|value| *value = json!("7"))],
    }
}
