//! Where values come from: flags over environment over file over defaults; and which receivers there are.

use std::path::Path;

use crate::client::{GITHUB, SECRET, github_signature, post, request, send_raw};
use crate::command::{Ended, run, run_in};
use crate::daemon::{Daemon, SERVE, sluiced};

#[test]
fn flags_win_over_the_environment_that_over_the_file_that_over_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let config = "listen = \"127.0.0.1:1001\"\ndrain_delay = \"1s\"\n[log]\nlevel = \"error\"\n";
    let file = written(dir.path(), config);
    let environment = [("SLUICED_LISTEN", "127.0.0.1:1002"), ("SLUICED_DRAIN_DELAY", "2s")];
    let ran = run_in(&environment, &["check", GITHUB, "--config", &file, "--listen", "127.0.0.1:1003"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(shown(&ran, "listen"), ["127.0.0.1:1003", "--listen"]);
    assert_eq!(shown(&ran, "drain_delay"), ["2s", "SLUICED_DRAIN_DELAY"]);
    assert_eq!(shown(&ran, "log.level"), ["error", &format!("{file}:4")]);
    assert_eq!(shown(&ran, "drain_timeout"), ["25s", "default"]);
}

#[test]
fn every_flag_of_serve_has_a_key_in_the_file_and_a_variable() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [
        ("listen", "\"127.0.0.1:1\"", "127.0.0.1:1"),
        ("ops_listen", "\"off\"", "off"),
        ("public_url", "\"https://h.example\"", "https://h.example"),
        ("data_dir", "\"/not/there\"", "/not/there"),
        ("drain_delay", "\"3s\"", "3s"),
        ("drain_timeout", "\"9s\"", "9s"),
        ("queue.name", "\"mine\"", "mine"),
        ("log.format", "\"text\"", "text"),
        ("log.level", "\"warn\"", "warn"),
    ];
    let variable = |key: &str| format!("SLUICED_{}", key.replace('.', "_").to_uppercase());
    for (key, toml, value) in rows {
        let file = written(dir.path(), &format!("{key} = {toml}\n"));
        assert_eq!(shown(&run(&["check", GITHUB, "--config", &file]), key), [value, &format!("{file}:1")]);
        let ran = run_in(&[(&variable(key), value)], &["check", GITHUB]);
        assert_eq!(shown(&ran, key), [value, &variable(key)]);
        let flag = key.replace(['.', '_'], "-");
        let ran = run(&["check", GITHUB, &format!("--{flag}={value}")]);
        assert_eq!(shown(&ran, key), [value, &format!("--{flag}")]);
    }
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    for (config, told) in [
        ("\nlisten_on = \"x\"\n", "sluiced.toml:2:1: unknown key `listen_on`; did you mean `listen`?"),
        (
            "[limits]\n  body_maxx = \"1MiB\"\n",
            "sluiced.toml:2:3: unknown key `body_maxx`; did you mean `body_max`?",
        ),
        ("[limts]\n", "sluiced.toml:1:2: unknown key `limts`; did you mean `limits`?"),
        ("[limits]\nbody_max = \"huge\"\n", "sluiced.toml:2:12: `huge` is not a size"),
        ("listen = \"a\"\nlisten = \"b\"\n", "sluiced.toml:2:1"),
        ("listen = \n", "sluiced.toml:1:"),
        ("[[receivers]]\nname = \"github\"\nsecret = \"hunter2\"\n", "sluiced.toml:3:"),
        (
            "[[receivers]]\nname = \"gitub\"\nsecret = { env = \"A\" }\n",
            "sluiced.toml:1: there is no provider `gitub`",
        ),
        ("[limits]\nconnections_max = 0\n", "sluiced.toml:2: limits.connections_max is 0"),
    ] {
        let file = written(dir.path(), config);
        let ran = run(&["check", GITHUB, "--config", &file]);
        assert_eq!(ran.code, Some(78), "{config}: {ran:?}");
        assert!(ran.stderr.contains(told), "{config}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn receivers_can_be_given_by_variables() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = with_environment(
        dir.path(),
        &[
            ("SLUICED_RECEIVER_GITHUB", SECRET),
            ("SLUICED_RECEIVER_GITHUB__ACME", "secret-of-acme"),
            ("SLUICED_RECEIVER_STANDARD_WEBHOOKS", crate::signing::WHSEC),
        ],
        &[],
    );
    assert_eq!(github(&daemon, "github", SECRET), 200);
    assert_eq!(github(&daemon, "github/acme", "secret-of-acme"), 200);
    assert_eq!(github(&daemon, "github/acme", SECRET), 401, "each has its own");
    let signed = crate::signing::standard("msg_1", crate::signing::seconds_from_now(0), b"{}");
    assert_eq!(send_raw(daemon.address, &signed).unwrap().status, 200, "a dash is written as an underscore");
    assert_eq!(request(daemon.address, "POST", "/api/webhooks/incoming/stripe", &[], b"").status, 404);
}

#[test]
fn several_secrets_are_valid_at_once() {
    let lines = tempfile::tempdir().unwrap();
    let daemon =
        with_environment(lines.path(), &[("SLUICED_RECEIVER_GITHUB", "old-secret\nnew-secret\n")], &[]);
    let repeated = tempfile::tempdir().unwrap();
    let flags = ["--receiver=github=text:old-secret", "--receiver=GitHub=text:new-secret"];
    let other = with_environment(repeated.path(), &[], &flags);
    for daemon in [&daemon, &other] {
        assert_eq!(github(daemon, "github", "old-secret"), 200);
        assert_eq!(github(daemon, "github", "new-secret"), 200);
        assert_eq!(github(daemon, "github", "older-secret"), 401);
        assert_eq!(github(daemon, "github", "old-secret\nnew-secret"), 401);
    }
}

#[test]
fn a_secret_that_was_replaced_by_a_flag_is_out() {
    let dir = tempfile::tempdir().unwrap();
    let environment = [("SLUICED_RECEIVER_GITHUB", "from-the-environment")];
    let daemon = with_environment(dir.path(), &environment, &["--receiver=github=text:from-the-flag"]);
    assert_eq!(github(&daemon, "github", "from-the-flag"), 200);
    assert_eq!(github(&daemon, "github", "from-the-environment"), 401);
}

#[test]
fn a_receiver_named_without_a_secret_keeps_the_one_said_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let environment = [("SLUICED_RECEIVER_GITHUB", "from-the-environment")];
    let daemon = with_environment(dir.path(), &environment, &["--receiver=github", "--receiver=asana"]);
    assert_eq!(github(&daemon, "github", "from-the-environment"), 200);
    assert_eq!(request(daemon.address, "POST", "/api/webhooks/incoming/asana", &[], b"").status, 401);
}

#[test]
fn a_secret_in_a_file_loses_its_trailing_newline_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, " a secret with spaces \n").unwrap();
    let flag = format!("--receiver=github=file:{}", secret.display());
    let daemon = Daemon::start(&dir.path().join("data"), &[&flag]);
    assert_eq!(github(&daemon, "github", " a secret with spaces "), 200);
    assert_eq!(github(&daemon, "github", "a secret with spaces"), 401);
}

#[test]
fn what_may_mean_two_receivers_is_exit_78() {
    let dir = tempfile::tempdir().unwrap();
    let twice = [("SLUICED_RECEIVER_GITHUB", "a"), ("SLUICED_RECEIVER_GitHub", "b")];
    let ran = run_in(&twice, &["check"]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.stderr.contains("SLUICED_RECEIVER_GITHUB") && ran.stderr.contains("SLUICED_RECEIVER_GitHub"));
    let config = "[[receivers]]\nname = \"github\"\nid = \"a-b\"\nsecret = { text = \"x\" }\n\
                  [[receivers]]\nname = \"github\"\nid = \"a_b\"\nsecret = { text = \"x\" }\n";
    let file = written(dir.path(), config);
    let ran = run_in(&[("SLUICED_RECEIVER_GITHUB__A_B", "y")], &["check", "--config", &file]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.stderr.contains("a-b or a_b"), "{}", ran.stderr);
    let same = config.replace("a_b", "A-B");
    let ran = run(&["check", "--config", &written(dir.path(), &same)]);
    assert_eq!(ran.code, Some(78), "{ran:?}");
    assert!(ran.stderr.contains("already"), "{}", ran.stderr);
}

fn with_environment(dir: &Path, environment: &[(&str, &str)], args: &[&str]) -> Daemon {
    let mut command = sluiced();
    command.args(SERVE).args(["--log-format=json", "--data-dir"]).arg(dir).args(args);
    command.envs(environment.iter().copied());
    Daemon::spawn(command).unwrap_or_else(|log| panic!("it didn't start:\n{log}"))
}

/// The status that a GitHub webhook signed with a secret gets.
fn github(daemon: &Daemon, receiver: &str, secret: &str) -> u16 {
    let bytes = post(receiver, &[("X-Hub-Signature-256", &github_signature(secret, b"{}"))], b"{}");
    send_raw(daemon.address, &bytes).unwrap().status
}

/// A key's value and where it came from, as `check` shows them.
fn shown(ran: &Ended, key: &str) -> Vec<String> {
    let line = ran.stdout.lines().find(|line| line.split_whitespace().next() == Some(key));
    let line = line.unwrap_or_else(|| panic!("no {key}: {ran:?}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

fn written(dir: &Path, config: &str) -> String {
    let path = dir.join("sluiced.toml");
    std::fs::write(&path, config).unwrap();
    path.display().to_string()
}
