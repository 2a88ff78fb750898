//! `deploy/sbom`: the list of what is in the release build agrees with the lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn what_is_in_the_binary_is_listed_with_the_checksums_of_the_lock_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = || Command::new(root.join("deploy/sbom")).output().unwrap();
    let output = list();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, list().stdout, "the same each time");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(root.to_str().unwrap()), "it names no directory of this machine");
    let bom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((bom["bomFormat"].as_str(), bom["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
    assert_eq!(bom["metadata"]["component"]["name"], "sluiced");

    let lock: toml::Table =
        toml::from_str(&std::fs::read_to_string(root.join("Cargo.lock")).unwrap()).unwrap();
    let locked: BTreeMap<(&str, &str), Option<&str>> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
            ((text("name").unwrap(), text("version").unwrap()), text("checksum"))
        })
        .collect();
    let components = bom["components"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for component in components {
        let text = |key: &str| component[key].as_str().unwrap();
        let checksum = component["hashes"][0]["content"].as_str();
        assert_eq!(locked[&(text("name"), text("version"))], checksum, "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        names.insert(text("name"));
    }
    for name in ["rustls", "hyper", "aws-lc-sys", "libsqlite3-sys", "sluiced-queue", "lapin", "async-nats"] {
        assert!(names.contains(name), "{name}");
    }
    for name in ["proptest", "rcgen", "insta", "tempfile", "sluiced-test-brokers"] {
        assert!(!names.contains(name), "{name} is for tests only");
    }
    let refs: BTreeSet<_> =
        bom["dependencies"].as_array().unwrap().iter().map(|d| d["ref"].as_str()).collect();
    assert_eq!(refs.len(), components.len() + 1, "each, and the daemon itself");
}
