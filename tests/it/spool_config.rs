//! Flags and keys of remote queues: what is wrong is told before anything starts, credentials never.

use std::path::Path;

use crate::client::{GITHUB, github_request, send_raw};
use crate::daemon::{sluiced, wait_until};
use crate::spool_common::{Broker, durable_of, metric};

/// What `check` says: its exit code, and all that it wrote.
fn check(dir: &Path, config: &str, args: &[&str]) -> (i32, String) {
    let path = dir.join("check.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = sluiced();
    command.args(["check", GITHUB, "--config"]).arg(&path).arg("--data-dir").arg(dir.join("data")).args(args);
    let output = command.env("TEST_QUEUE_URL", "amqp://user:made-up@mq.example:5672/%2f").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_broker_needs_an_address_and_the_answer_shows_how_one_looks() {
    let dir = tempfile::tempdir().unwrap();
    for (backend, example) in
        [("rabbitmq", "amqp://"), ("nats", "nats://"), ("azure", "UseDevelopmentStorage")]
    {
        let (code, text) = check(dir.path(), "", &[&format!("--queue={backend}")]);
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(&format!("--queue-url {example}")) && text.contains("env:"), "{text}");
    }
    // An address without a backend would be the embedded queue, and nothing at the broker.
    let in_file = "[queue]\nurl = \"nats://mq.example\"\n";
    for (config, flag) in [("", "--queue-url=nats://mq.example"), (in_file, "--log-level=info")] {
        let (code, text) = check(dir.path(), config, &[flag]);
        assert!(code == 78 && text.contains("--queue rabbitmq"), "{text}");
        assert_eq!(check(dir.path(), config, &[flag, "--queue=embedded"]).0, 0, "chosen");
    }
    let (code, text) = check(dir.path(), "", &["--queue=rabitmq"]);
    assert!(code == 78 && text.contains("embedded, rabbitmq, nats, azure"), "{text}");
}

#[test]
fn credentials_are_never_shown_and_warned_about_where_they_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let url = "amqp://user:made-up@mq.example:5672/%2f";
    let file = dir.path().join("url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let from_file = format!("[queue]\nbackend = \"rabbitmq\"\nurl = {{ file = \"{}\" }}\n", file.display());
    let in_file = format!("[queue]\nbackend = \"rabbitmq\"\nurl = \"{url}\"\n");
    let flag = format!("--queue-url={url}");
    let cases: [(&str, &[&str], bool); 4] = [
        ("", &["--queue=rabbitmq", &flag], true),
        ("", &["--queue=rabbitmq", "--queue-url=env:TEST_QUEUE_URL"], false),
        (&from_file, &[], false),
        (&in_file, &[], true),
    ];
    for (config, args, warned) in cases {
        let (code, text) = check(dir.path(), config, args);
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains("made-up") && text.contains("amqp://***@mq.example:5672/%2f"), "{text}");
        assert_eq!(text.contains("the queue's URL has credentials in it"), warned, "{text}");
    }
    let (code, text) = check(dir.path(), "", &["--queue=rabbitmq", "--queue-url=env:TEST_NO_SUCH"]);
    assert!(code == 78 && text.contains("--queue-url: the variable TEST_NO_SUCH isn't set"), "{text}");
}

#[test]
fn what_cannot_be_meant_so_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let nats: &[&str] = &["--queue=nats", "--queue-url=nats://127.0.0.1:1"];
    let rabbitmq: &[&str] = &["--queue=rabbitmq", "--queue-url=amqp://127.0.0.1:1"];
    let azure: &[&str] = &["--queue=azure", "--queue-url=UseDevelopmentStorage=true"];
    let handler = |rest: &str| format!("[[handlers]]\nname = \"audit\"\n{rest}\n");
    let cases: [(String, &[&str], &[&str], &str); 9] = [
        (String::new(), nats, &["--ack=spool", "--spool=off"], "needs the spool"),
        (String::new(), nats, &["--ack-deadline=1ms"], "10ms to 20s"),
        (String::new(), nats, &["--spool-max=1KiB"], "at least"),
        ("[queue.nats]\nsubjct = \"x\"\n".into(), nats, &[], "did you mean `subject`?"),
        ("[spool]\nmaximum = \"1GiB\"\n".into(), nats, &[], "did you mean `max`?"),
        (handler("dedupe = \"1h\""), rabbitmq, &[], "can't leave out duplicates"),
        (handler("dedupe = \"1h\""), nats, &[], "remembers message ids for 600s"),
        (handler("queue = { exchange = \"x\" }"), &[], &[], "the embedded queue has queues only"),
        (handler("dedupe = \"5m\""), azure, &[], "can't leave out duplicates"),
    ];
    for (config, backend, args, expected) in cases {
        let (code, text) = check(dir.path(), &config, &[backend, args].concat());
        assert!(code == 78 && text.contains(expected), "{config} {args:?}: {text}");
    }
    let (code, text) = check(dir.path(), &handler("dedupe = \"5m\""), nats);
    assert_eq!(code, 0, "{text}");
    // A section of another backend is no mistake: one file for several deployments.
    let (code, text) = check(dir.path(), "[queue.rabbitmq]\nexchange = \"hooks\"\n", nats);
    assert_eq!(code, 0, "{text}");
}

/// What only the backend can tell is told by `serve`, before it listens.
#[test]
fn a_backends_own_options_are_checked_before_it_listens() {
    let dir = tempfile::tempdir().unwrap();
    for (config, expected) in [
        ("[queue.nats]\nsubject = \"webhooks.{who}\"\n", "{receiver}"),
        ("[[handlers]]\nname = \"audit\"\nqueue = { exchange = \"x\" }\n", "nats has no exchanges"),
    ] {
        let path = dir.path().join("serve.toml");
        std::fs::write(&path, config).unwrap();
        let flag = format!("--config={}", path.display());
        let log = Broker::absent().try_serve(dir.path(), &[&flag]).err().expect("it doesn't start");
        assert!(log.starts_with("exit status: 78") && log.contains(expected), "{log}");
    }
}

#[test]
fn connecting_is_checked_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let flags = broker.flags();
    let flags = [flags[0].as_str(), flags[1].as_str(), "--connect"];
    let (code, text) = check(dir.path(), "", &flags);
    assert!(code == 1 && text.contains("nats can't be used: "), "{code} {text}");
    broker.restart();
    let (code, text) = check(dir.path(), "", &flags);
    assert!(code == 0 && text.contains("The queue is there."), "{code} {text}");
    assert!(!dir.path().join("data").exists(), "nothing is made by looking");
}

/// A handler of its own: its own queue at the broker, its own part of the spool, its own health.
#[test]
fn a_handlers_own_queue_is_spooled_for_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::absent();
    let config = "[[handlers]]\nname = \"audit\"\nactions = [\"push\"]\nqueue = { name = \"audit\" }\n";
    let path = dir.path().join("serve.toml");
    std::fs::write(&path, config).unwrap();
    let daemon = broker.serve(dir.path(), &[&format!("--config={}", path.display())]);
    for n in 0..3 {
        let answer = send_raw(daemon.address, &github_request(&format!("d-{n}"), b"{}")).unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(durable_of(&daemon, "d-2"), "spool");
    let text = String::from_utf8(crate::client::get(daemon.ops, "/metrics").body).unwrap();
    let gauges: Vec<&str> = text.lines().filter(|line| line.starts_with("sluiced_spool_messages{")).collect();
    assert!(gauges.len() == 2 && gauges.iter().all(|line| line.ends_with(" 3")), "{gauges:?}");
    assert!(gauges.iter().any(|line| line.contains("handler audit")), "{gauges:?}");
    broker.restart();
    wait_until("an empty spool", || {
        let text = String::from_utf8(crate::client::get(daemon.ops, "/metrics").body).unwrap();
        text.lines()
            .filter(|line| line.starts_with("sluiced_spool_messages{"))
            .all(|line| line.ends_with(" 0"))
    });
    assert!(metric(&daemon, "sluiced_spool_drained_total") >= Some(3));
    daemon.stop();
    assert_eq!(broker.deliveries().len(), 3);
    let audit = broker.work(&["--print", "--exit-when-empty", "--queue-name=audit"]).output().unwrap();
    assert_eq!(audit.stdout.iter().filter(|b| **b == b'\n').count(), 3, "{audit:?}");
}
