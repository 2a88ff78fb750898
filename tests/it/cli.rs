//! The command line: help that helps, errors that name the way out, exit codes that tell them apart.

use std::net::TcpListener;

use crate::client::{GITHUB, SECRET, github_request, send_raw};
use crate::command::{Ended, run, run_in};
use crate::daemon::{Daemon, sluiced};

#[test]
fn help_of_every_command_leads_with_examples() {
    let top = run(&["--help"]);
    let commands: Vec<&str> = top
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    for wanted in ["serve", "work", "send", "check"] {
        assert!(commands.contains(&wanted), "{wanted}: {commands:?}");
    }
    for command in commands.iter().map(|name| vec![*name, "--help"]).chain([vec!["--help"]]) {
        let help = run(&command);
        assert_eq!(help.code, Some(0));
        assert!(help.stdout.starts_with("Examples:\n  "), "{command:?}:\n{}", help.stdout);
        assert!(help.stdout.lines().nth(1).unwrap().contains("sluiced "), "{command:?}");
    }
    assert!(top.stdout.contains("78 configuration"), "exit codes are told");
}

#[test]
fn wrong_usage_is_exit_2() {
    for args in [
        &[] as &[&str],
        &["serv"],
        &["serve", "--lisen", "127.0.0.1:0"],
        &["serve", "--drain-delay", "soon"],
        &["serve", "--log-level", "loud"],
        &["work"],
        &["work", "--print", "--limit", "many"],
        &["send", "github"],
        &["check", "--nothing"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
    assert!(run(&["serve", "--lisen", "x"]).stderr.contains("--listen"), "the nearest flag is named");
}

#[test]
fn the_version_is_told() {
    assert_eq!(run(&["--version"]).stdout, format!("sluiced {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_configuration_that_cannot_be_used_is_exit_78_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, newline) = (dir.path().join("empty"), dir.path().join("newline"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&newline, "\n").unwrap();
    let file = |path: &std::path::Path| format!("--receiver=github=file:{}", path.display());
    let (empty, newline, missing) = (file(&empty), file(&newline), file(&dir.path().join("missing")));
    let rows: [(&[&str], &[&str]); 15] = [
        (&[], &["no receiver", "--receiver github=env:"]),
        (&["--receiver=gihtub=text:x"], &["`gihtub`", "did you mean `github`"]),
        (&["--receiver=github"], &["github needs a secret", "--receiver github=env:"]),
        (&["--receiver=github=hunter2"], &["env:NAME, file:PATH or text:VALUE"]),
        (&["--receiver=github=env:NOT_SET_ANYWHERE"], &["NOT_SET_ANYWHERE", "isn't set"]),
        (&["--receiver=github=env:EMPTY"], &["EMPTY", "is empty"]),
        (&[&empty], &["empty", "is empty"]),
        (&[&newline], &["newline", "is empty"]),
        (&[&missing], &["missing", "No such file"]),
        (&["--receiver=github/a b=text:x"], &["`a b`", "can't be an id"]),
        (&[GITHUB, "--receiver-set=stripe.tolerance=text:1"], &["no receiver stripe"]),
        (&[GITHUB, "--queue=kafka"], &["`kafka`", "embedded"]),
        (&[GITHUB, "--queue-name=a/b"], &["`a/b`"]),
        (&[GITHUB, "--public-url=hooks.example.com"], &["https://hooks.example.com"]),
        (&[GITHUB, "--config=/not/there.toml"], &["/not/there.toml", "No such file"]),
    ];
    for (args, told) in rows {
        for command in ["check", "serve"] {
            let ran = in_vain(command, args, dir.path());
            assert_eq!(ran.code, Some(78), "{command} {args:?}: {ran:?}");
            for part in told {
                assert!(ran.stderr.contains(part), "{command} {args:?} says {part}: {}", ran.stderr);
            }
            assert!(!ran.stderr.contains("hunter2"), "what may be a secret isn't repeated");
        }
    }
    assert!(!dir.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    for flag in ["--listen", "--ops-listen"] {
        let other = if flag == "--listen" { "--ops-listen" } else { "--listen" };
        let ran = run(&[
            "serve",
            GITHUB,
            "--data-dir",
            &data,
            &format!("{flag}={address}"),
            &format!("{other}=127.0.0.1:0"),
        ]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for part in [address.as_str(), flag, "another process"] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_place_that_can_hold_no_data_is_named_with_the_way_out() {
    for queue in [&["--queue=embedded"][..], &["--queue=nats", "--queue-url=nats://127.0.0.1:1"]] {
        let common = ["serve", GITHUB, "--ops-listen=off", "--listen=127.0.0.1:0", "--data-dir=/proc/none"];
        let ran = run(&[&common[..], queue].concat());
        assert_eq!(ran.code, Some(78), "{ran:?}");
        for part in ["/proc/none", "--data-dir", "data_dir"] {
            assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_daemon_that_could_not_listen_leaves_the_store_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    assert_eq!(run(&["serve", GITHUB, "--ops-listen=off", "--data-dir", &data, &listen]).code, Some(1));
    Daemon::start(dir.path(), &[GITHUB]).stop();
}

#[test]
fn the_ops_listener_can_be_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = sluiced();
    command.args(["serve", "--listen=127.0.0.1:0", "--ops-listen=off", GITHUB, "--data-dir"]).arg(dir.path());
    let daemon = Daemon::spawn(command).unwrap_or_else(|log| panic!("it didn't start:\n{log}"));
    assert_eq!(daemon.ops.port(), 0, "it never said that it listens");
    assert_eq!(send_raw(daemon.address, &github_request("d", b"{}")).unwrap().status, 200);
}

#[test]
fn a_variable_that_means_nothing_is_warned_about() {
    let ran = run_in(&[("SLUICED_LISTN", "127.0.0.1:1")], &["check", GITHUB]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("SLUICED_LISTN") && ran.stdout.contains("SLUICED_LISTEN"), "{}", ran.stdout);
}

#[test]
fn check_shows_receivers_with_their_urls_and_no_secret() {
    let ran =
        run(&["check", GITHUB, "--receiver=stripe/eu=text:another-secret", "--public-url=https://h.example"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in [
        "https://h.example/api/webhooks/incoming/github",
        "https://h.example/api/webhooks/incoming/stripe/eu",
        "can be sent again",
        "The configuration is good",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains(SECRET) && !ran.stdout.contains("another-secret"));
}

#[test]
fn who_reads_no_further_ends_nothing_badly() {
    for args in [&["check", GITHUB][..], &["providers"], &["providers", "github"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = sluiced().args(args).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && said.is_empty(), "{args:?}: {} {said}", ran.status);
    }
}

/// Runs a command that must fail before it does anything.
fn in_vain(command: &str, args: &[&str], dir: &std::path::Path) -> Ended {
    let data = dir.join("data").display().to_string();
    let common = [command, "--data-dir", &data, "--listen=127.0.0.1:0", "--ops-listen=off"];
    run_in(&[("EMPTY", "")], &[&common, args].concat())
}
