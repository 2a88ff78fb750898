//! `sluiced providers`: the catalogue as a table, as JSON, and one provider in full.

use serde_json::Value;

use crate::command::run;
use crate::daemon::{SERVE, sluiced};

#[test]
fn the_list_is_a_table_with_a_line_for_each() {
    let ended = run(&["providers"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut lines = ended.stdout.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "TITLE", "SCHEME", "EVIDENCE", "REPLAY", "HANDSHAKES"]);
    let names: Vec<&str> = lines.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert!(names.len() > 50 && names.is_sorted() && names.contains(&"github"));
    let github = ended.stdout.lines().find(|line| line.starts_with("github ")).unwrap();
    for word in ["GitHub", "hmac-sha256", "proven", "unprotected", "ping"] {
        assert!(github.contains(word), "{github}");
    }
}

#[test]
fn the_list_as_json_is_an_array() {
    let json = run(&["providers", "--json"]).json();
    let rows = json.as_array().unwrap();
    let sfsoap = rows.iter().find(|row| row["name"] == "sfsoap").unwrap();
    assert_eq!(sfsoap["aliases"][0], "salesforce");
    for row in rows {
        let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
        let known = ["aliases", "docs", "evidence", "handshakes", "name", "replay", "scheme", "title"];
        assert_eq!(keys, known);
        assert!(["proven", "documented", "unconfirmed"].contains(&row["evidence"].as_str().unwrap()));
        assert!(["protected", "unprotected"].contains(&row["replay"].as_str().unwrap()));
        assert!(row["handshakes"].is_array() && row["scheme"] != "" && row["title"] != "", "{row}");
    }
}

#[test]
fn one_provider_is_shown_in_full() {
    let ended = run(&["providers", "GitHub"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "GitHub (github)",
        "https://docs.github.com/",
        "header:X-Hub-Signature-256, hex after \"sha256=\"",
        "scheme sha1: hmac-sha1, on request",
        "handshake ping: POST, signed",
        "Repository or organisation: Settings",
        "sender waits",
        "sluiced serve --receiver github=env:GITHUB_SECRET",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let json = run(&["providers", "google-pubsub", "--json"]).json();
    assert_eq!(json["name"], "google-pubsub");
    assert_eq!(json["settings"][0]["name"], "audience");
    assert_eq!(json["settings"][0]["required"], true);
    assert_eq!(json["row"]["schemes"][0]["verify"], "jwt");
    assert!(!json["guide"].as_str().unwrap().is_empty());
    assert_eq!(
        json["serve"],
        "sluiced serve --receiver google-pubsub \
         --receiver-set google-pubsub.audience=env:GOOGLE_PUBSUB_AUDIENCE \
         --receiver-set google-pubsub.service_account=env:GOOGLE_PUBSUB_SERVICE_ACCOUNT"
    );
}

/// The line to start with, of every provider, starts the daemon: but for the secret, which not every text is.
#[test]
fn every_line_to_start_with_is_understood() {
    let names = run(&["providers", "--json"]).json();
    // A dozen, spread over the list, keep this quick.
    let step = names.as_array().unwrap().len() / 12;
    for row in names.as_array().unwrap().iter().step_by(step) {
        let name = row["name"].as_str().unwrap();
        let line: Value = run(&["providers", name, "--json"]).json();
        let words: Vec<String> = line["serve"].as_str().unwrap().split(' ').map(str::to_owned).collect();
        let mut command = sluiced();
        command.arg("check").args(&SERVE[1..]).args(&words[2..]);
        for word in words.iter().filter_map(|word| word.split_once("=env:")) {
            command.env(word.1, "0123456789abcdef0123456789abcdef");
        }
        let ended = crate::command::end(command, b"");
        let is_good = ended.code == Some(0) || ended.stderr.contains("can't be used");
        assert!(is_good, "{words:?}: {ended:?}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let ended = run(&["providers", "gihub"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("there is no provider `gihub`; did you mean `github`?"), "{ended:?}");
}
