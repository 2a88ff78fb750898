//! Short runs: each queue keeps its promise in a few rounds with fixed seeds, and the harness sees it when one is
//! broken. Longer ones are run by hand: `docs/reliability.md`.

#![allow(clippy::unwrap_used, reason = "helpers are part of tests")]

use std::path::Path;
use std::process::{Command, Output};

fn torture(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    let output = torture(arguments).output().unwrap();
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

/// These know no message ids, and in a short run a single cut is more than one in a hundred.
const SOME_TWICE: &str = "--duplicates=50";

/// Everything that is acknowledged is there afterwards.
fn keeps(arguments: &[&str]) {
    let more = ["--rate", "100", "--seconds", "2", "--keep", env!("CARGO_TARGET_TMPDIR")];
    let output = run(&[arguments, &more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "see the output");
    assert!(!text.contains("NOTE"), "see the output");
    assert!(!text.contains(" 0 acknowledged"), "nothing was looked at");
}

#[test]
fn embedded_keeps_what_it_acknowledges() {
    // A small disk, a failing one, and one that loses its power.
    keeps(&["--queue", "embedded", "--faults", "disk-full,disk-readonly,kill", "--seed", "3"]);
    keeps(&["--queue", "embedded", "--faults", "eio-sync,eio-write,roll", "--seed", "1"]);
    keeps(&["--queue", "embedded", "--faults", "power,clock,freeze", "--seed", "4"]);
}

#[test]
fn what_is_acknowledged_reaches_the_worker() {
    keeps(&["--queue", "embedded", "--faults", "worker-term,worker-freeze,kill", "--seed", "8"]);
}

#[test]
fn nats_keeps_what_it_acknowledges() {
    keeps(&["--queue", "nats", "--ack", "both", "--rounds", "2", "--seed", "104"]);
}

#[test]
fn rabbitmq_keeps_what_it_acknowledges() {
    keeps(&["--queue", "rabbitmq", "--seed", "5", SOME_TWICE]);
}

#[test]
fn azurite_keeps_what_it_acknowledges() {
    keeps(&["--queue", "azure", "--faults", "answer-503,answer-403,cut,kill", "--seed", "2", SOME_TWICE]);
}

#[test]
fn rounds_of_several_runs_are_counted_together() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rounds.jsonl");
    let file = file.to_str().unwrap();
    for seed in ["5", "7"] {
        let run =
            run(&["--faults", "freeze", "--seconds", "1", "--rate", "50", "--seed", seed, "--record", file]);
        assert_eq!(run.status.code(), Some(0));
    }
    let text = String::from_utf8(run(&["--count", file]).stdout).unwrap();
    assert!(text.contains("| embedded | 5, 7 | 2 |"), "{text}");
    assert!(text.contains("\n2 rounds: "), "{text}");
}

/// A daemon that breaks its promise.
fn liar(what: &str) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/liar.py");
    let program = program.to_str().unwrap();
    let mut command =
        torture(&["--binary", program, "--faults", "freeze", "--seconds", "1", "--rate", "200"]);
    let kept = tempfile::tempdir().unwrap();
    let output = command.args(["--seed", "1", "--keep"]).arg(kept.path()).env("LIAR", what).output().unwrap();
    println!(
        "{what}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn a_daemon_that_loses_alters_or_doubles_is_seen_and_an_honest_one_is_not() {
    assert_eq!(liar("keeps").status.code(), Some(0));
    for what in ["loses", "alters", "doubles"] {
        assert_eq!(liar(what).status.code(), Some(1), "{what}");
    }
}

#[test]
fn a_missing_daemon_is_no_loss() {
    let output = run(&["--binary", "/nowhere/sluiced"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/sluiced"));
}
