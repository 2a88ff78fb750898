//! `[[providers]]`: rows of one's own, in the file and wherever providers are named.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::client::{hmac_sha256_hex, post, send_raw};
use crate::command::{Ended, end, run, run_with};
use crate::daemon::{Daemon, sluiced};
use crate::worker::drain;

const ROW: &str = r#"
[[providers]]
name = "billing"
aliases = ["invoices"]
title = "Our billing"
replay = "unprotected"
signs = "body"
secret = "the shared key"
delivery_id = "json:/id"
actions = "json:/type"

[[providers.schemes]]
name = "v1"
verify = "mac"
algorithm = "hmac-sha256"
signature = { from = "header:X-Billing-Signature", encoding = "hex" }
message = "{body}"

[[providers.vectors]]
name = "made up"
secret = "0123456789abcdef"
now = 1700000000
url = "https://hooks.example.com/in/billing"
headers = { "X-Billing-Signature" = "SIGNATURE" }
body = '{"id":"1","type":"paid"}'
expect = "event"
actions = ["paid"]
delivery_id = "1"
"#;

const BODY: &[u8] = br#"{"id":"1","type":"paid"}"#;

fn row() -> String {
    ROW.replace("SIGNATURE", &hmac_sha256_hex("0123456789abcdef", BODY))
}

fn written(dir: &Path, config: &str) -> String {
    let path: PathBuf = dir.join("sluiced.toml");
    std::fs::write(&path, config).unwrap();
    path.display().to_string()
}

fn check(config: &str) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), config);
    let ended = run(&["check", "--config", &path, "--receiver", "billing=text:0123456789abcdef"]);
    Ended { stderr: ended.stderr.replace(&path, "s.toml"), ..ended }
}

#[test]
fn a_receiver_of_a_row_of_ones_own_works_from_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = row() + "[[receivers]]\nname = \"Invoices\"\nsecret = { text = \"0123456789abcdef\" }\n";
    let daemon = Daemon::with_config(dir.path(), &config, &[]);
    let signature = hmac_sha256_hex("0123456789abcdef", BODY);
    let sent = post("invoices", &[("X-Billing-Signature", &signature)], BODY);
    assert_eq!(send_raw(daemon.address, &sent).unwrap().status, 200);
    let forged = post("invoices", &[("X-Billing-Signature", &signature)], b"{}");
    assert_eq!(send_raw(daemon.address, &forged).unwrap().status, 401);
    let messages = drain(dir.path());
    assert_eq!((&messages[0]["receiver"], &messages[0]["actions"][0]), (&"invoices".into(), &"paid".into()));
    daemon.stop();
}

#[test]
fn a_secret_that_the_sender_hands_over_is_kept_before_the_answer() {
    const HANDSHAKE: &str = "\n[[providers.handshakes]]\nname = \"hello\"\nmatch = [{ from = \"header:X-Billing-Secret\" }]\n\
         capture = \"header:X-Billing-Secret\"\n";
    let dir = tempfile::tempdir().unwrap();
    let config = row() + HANDSHAKE;
    let start = || Daemon::with_config(dir.path(), &config, &["--receiver", "billing/eu"]);
    let send = |daemon: &Daemon, header: (&str, &str)| {
        send_raw(daemon.address, &post("billing/eu", &[header], BODY)).unwrap().status
    };
    let signature = hmac_sha256_hex("handed over", BODY);
    let signed = ("X-Billing-Signature", signature.as_str());
    let daemon = start();
    assert_eq!(send(&daemon, signed), 401);
    assert_eq!(send(&daemon, ("X-Billing-Secret", "handed over")), 200);
    let kept = dir.path().join("secrets/billing%2Feu");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "handed over\n");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(send(&daemon, signed), 200);
    assert_eq!(send(&daemon, ("X-Billing-Secret", "another")), 403);
    daemon.stop();
    let daemon = start();
    assert_eq!((send(&daemon, signed), send(&daemon, ("X-Billing-Secret", "another"))), (200, 403));
    daemon.stop();
}

#[test]
fn so_it_does_from_flags_variables_and_commands() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &row());
    let mut command = sluiced();
    command.args(["check", "--config", &path]).env("SLUICED_RECEIVER_BILLING__EU", "0123456789abcdef");
    let ended = end(command, b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("receiver billing/eu") && ended.stdout.contains("its vector passes"));
    let daemon = Daemon::with_config(dir.path(), &row(), &["--receiver", "billing=text:0123456789abcdef"]);
    let to = format!("http://{}", daemon.address);
    let args =
        ["send", "billing", "paid", "--to", &to, "--secret", "text:0123456789abcdef", "--config", &path];
    let sent = run(&args);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    daemon.stop();
    let request =
        post("billing", &[("X-Billing-Signature", &hmac_sha256_hex("0123456789abcdef", BODY))], BODY);
    let args = ["verify", "billing", "--secret", "text:0123456789abcdef", "--config", &path];
    assert_eq!(run_with(&args, &request).code, Some(0));
    let listed = run(&["providers", "--config", &path]);
    assert!(listed.stdout.lines().any(|line| line.starts_with("billing ")), "{listed:?}");
    let shown = run(&["providers", "invoices", "--config", &path]);
    assert!(
        shown.stdout.contains(&format!("sluiced serve --config {path} --receiver billing=")),
        "{shown:?}"
    );
}

#[test]
fn a_name_of_the_catalogue_is_taken() {
    for name in ["github", "GitHub", "salesforce"] {
        let ended = check(&row().replace("\"invoices\"", &format!("{name:?}")));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains("s.toml:2: the provider `billing` can't be used: "), "{ended:?}");
    }
}

#[test]
fn a_slip_of_the_pen_is_named_with_file_line_and_column() {
    for (from, to, says) in [
        ("signs = ", "sings = ", "s.toml:7:1: unknown key `sings`; did you mean `signs`?"),
        ("encoding = ", "encodin = ", "s.toml:16:52: unknown key `encodin`; did you mean `encoding`?"),
        ("\"mac\"", "\"mak\"", "s.toml:14:10: unknown value `mak`; did you mean `mac`?"),
        ("expect = ", "expects = ", "s.toml:26:1: unknown key `expects`; did you mean `expect`?"),
        ("hmac-sha256", "hmac-md5", "s.toml:2: the provider `billing` can't be used: billing, scheme v1: "),
        ("{body}", "{bdy}", "s.toml:2: the provider `billing` can't be used: billing, scheme v1: "),
        ("title = \"Our billing\"\n", "", "s.toml:2:1: missing field `title`"),
    ] {
        assert!(ROW.contains(from), "{from}");
        let ended = check(&row().replace(from, to));
        assert_eq!(ended.code, Some(78), "{to}: {ended:?}");
        assert!(ended.stderr.contains(says), "{to}: {ended:?}");
    }
}

#[test]
fn a_vector_that_fails_fails_the_check() {
    assert_eq!(check(&row()).code, Some(0));
    for (from, to, says) in [
        ("actions = [\"paid\"]", "actions = [\"due\"]", "the actions is [\"paid\"] and should be [\"due\"]"),
        ("expect = \"event\"", "expect = \"answer\"", "the outcome is \"event\" and should be \"answer\""),
        ("secret = \"0123456789abcdef\"", "secret = \"another\"", "the outcome is \"signature_mismatch\""),
    ] {
        let ended = check(&row().replace(from, to));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let vector = "s.toml:2: the provider `billing` fails its vector \"made up\": ";
        assert!(ended.stderr.contains(vector) && ended.stderr.contains(says), "{ended:?}");
    }
}

#[test]
fn the_example_in_the_docs_works() {
    let page = std::fs::read_to_string("docs/providers-of-your-own.md").unwrap();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), example);
    let mut command = sluiced();
    command.args(["check", "--config", &path]).env("BILLING_EU", "a made-up key of billing");
    let ended = end(command, b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("its 3 vectors pass"), "{ended:?}");
    assert!(!ended.stdout.contains("warning"), "{ended:?}");
}
