//! SIGHUP: the configuration is read again, all or nothing, while webhooks go on.

use std::path::{Path, PathBuf};

use crate::client::{GITHUB, SECRET, github_request, github_signature, hmac_sha256_hex, post, send_raw};
use crate::daemon::{Daemon, wait_until};
use crate::flood::Flood;
use crate::tls_client::Authority;
use crate::worker::drain;

/// A daemon with a configuration file and a secret's file that a test writes again.
struct Reloaded {
    dir: tempfile::TempDir,
    daemon: Daemon,
    seen: usize,
}

impl Reloaded {
    fn start(further: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("secret"), "old-secret");
        let config = config(dir.path(), further);
        let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
        Self { dir, daemon, seen: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, further: &str) {
        write(&self.path("sluiced.toml"), &config(self.dir.path(), further));
    }

    /// Sends SIGHUP and gives the lines that it brought.
    fn hang_up(&mut self) -> Vec<serde_json::Value> {
        self.daemon.signal("HUP");
        let ends = ["configuration read again", "the new configuration can't be used; the old one stays"];
        let mut lines = Vec::new();
        wait_until("the end of reading it again", || {
            lines = self.daemon.log().split_off(self.seen);
            lines.iter().any(|line| ends.contains(&line["msg"].as_str().unwrap_or_default()))
        });
        self.seen = self.daemon.log().len();
        lines.into_iter().filter(|line| line["msg"] != "delivery").collect()
    }

    fn status(&self, receiver: &str, secret: &str) -> u16 {
        let signature = github_signature(secret, b"{}");
        let bytes = post(receiver, &[("X-Hub-Signature-256", &signature)], b"{}");
        send_raw(self.daemon.address, &bytes).unwrap().status
    }
}

fn config(dir: &Path, further: &str) -> String {
    let secret = dir.join("secret");
    format!(
        "{further}\n[[receivers]]\nname = \"github\"\nid = \"acme\"\nsecret = {{ file = \"{}\" }}\n",
        secret.display()
    )
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn told(lines: &[serde_json::Value], text: &str) -> bool {
    lines.iter().any(|line| line.to_string().contains(text))
}

#[test]
fn secrets_and_receivers_are_read_again() {
    let mut it = Reloaded::start("");
    assert_eq!(it.status("github/acme", "old-secret"), 200);
    write(&it.path("secret"), "new-secret");
    assert_eq!(it.status("github/acme", "new-secret"), 401, "not before the signal");
    let lines = it.hang_up();
    assert!(!told(&lines, "-secret"), "no secret in the log: {lines:?}");
    assert_eq!(it.status("github/acme", "new-secret"), 200);
    assert_eq!(it.status("github/acme", "old-secret"), 401, "what was taken out is out");
    assert_eq!(it.status("github", SECRET), 200, "those of flags stay");
    it.config("[[receivers]]\nname = \"github\"\nid = \"more\"\nsecret = { text = \"more-secret\" }\n");
    let lines = it.hang_up();
    assert!(told(&lines, "\"added\":\"github/more\"") && told(&lines, "\"receivers\":3"), "{lines:?}");
    assert_eq!(it.status("github/more", "more-secret"), 200);
    it.config("");
    assert!(told(&it.hang_up(), "\"removed\":\"github/more\""));
    assert_eq!(it.status("github/more", "more-secret"), 404);
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let mut it = Reloaded::start("");
    let place = it.path("sluiced.toml").display().to_string();
    let gone = it.path("gone").display().to_string();
    write(&it.path("secret"), "new-secret");
    for (further, error) in [
        ("lisen = \"x\"", format!("{place}:1:1: unknown key `lisen`; did you mean `listen`?")),
        ("public_url = 1", format!("{place}:1:")),
        ("[[receivers]]\nname = \"gitub\"", format!("{place}:1: there is no provider `gitub`")),
        (
            &format!("[[receivers]]\nname = \"github\"\nid = \"gone\"\nsecret = {{ file = \"{gone}\" }}"),
            format!("{gone} can't be opened"),
        ),
        ("trusted_proxies = [\"everybody\"]", format!("{place}:1:")),
        (&format!("[tls]\ncert_file = \"{gone}\"\nkey_file = \"{gone}\""), format!("{gone} can't be read")),
    ] {
        it.config(further);
        let lines = it.hang_up();
        assert!(told(&lines, "the old one stays") && told(&lines, &error), "{error}: {lines:?}");
        assert_eq!(it.status("github/acme", "old-secret"), 200, "{error}");
        assert_eq!(it.status("github/acme", "new-secret"), 401, "{error}");
    }
    it.config("");
    it.hang_up();
    assert_eq!(it.status("github/acme", "new-secret"), 200);
}

#[test]
fn who_may_come_and_how_often_is_read_again() {
    let mut it = Reloaded::start("");
    it.config("trusted_proxies = [\"127.0.0.1\"]\n[limits]\naddress_rate = \"2/h\"\n");
    it.hang_up();
    let forwarded = |client: &str| {
        let signature = github_signature(SECRET, b"{}");
        let headers = [("X-Hub-Signature-256", &*signature), ("X-Forwarded-For", client)];
        send_raw(it.daemon.address, &post("github", &headers, b"{}")).unwrap().status
    };
    assert_eq!([0; 3].map(|_| forwarded("203.0.113.1")), [200, 200, 429]);
    assert_eq!(forwarded("203.0.113.2"), 200);
    it.daemon.wait_for_delivery(|line| line["client"] == "203.0.113.2");
    it.config("");
    it.hang_up();
    assert_eq!([0; 5].map(|_| it.status("github", SECRET)), [200; 5]);
}

#[test]
fn what_needs_a_restart_is_named() {
    let mut it = Reloaded::start("listen = \"127.0.0.1:1\"\n[limits]\nbody_max = \"1MiB\"\n");
    it.config(
        "drain_timeout = \"3s\"\ndefault_queue = true\n[limits]\nbody_max = \"10B\"\nheader_timeout = \"3s\"\n\
         [queue]\nname = \"other\"\n[[handlers]]\nreceiver = \"github\"\nid = \"acme\"\ndrop = true\n",
    );
    let lines = it.hang_up();
    for key in ["drain_timeout", "limits.header_timeout", "queue.name", "handlers"] {
        assert!(
            told(&lines, &format!("\"{key} has changed, which takes effect at the next start\"")),
            "{key}"
        );
    }
    for key in ["limits.body_max", "default_queue", "listen "] {
        assert!(!told(&lines, &format!("\"{key} has changed")), "{key}: {lines:?}");
    }
    let answer = send_raw(it.daemon.address, &github_request("long", b"{\"more\":\"than ten\"}")).unwrap();
    assert_eq!(answer.status, 413, "the limit on bodies is read again");
}

#[test]
fn a_wrong_certificate_keeps_the_old_secrets_too() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.sign(2099).write(dir.path());
    write(&dir.path().join("secret"), "old-secret");
    let tls =
        format!("[tls]\ncert_file = \"{0}/cert.pem\"\nkey_file = \"{0}/key.pem\"\n", dir.path().display());
    let daemon = Daemon::with_config(dir.path(), &config(dir.path(), &tls), &[GITHUB]);
    let mut it = Reloaded { dir, daemon, seen: 0 };
    let status = |it: &Reloaded, secret: &str| {
        let mut client = authority.connect(it.daemon.address, None, &[]).unwrap();
        let bytes = post("github/acme", &[("X-Hub-Signature-256", &github_signature(secret, b"{}"))], b"{}");
        std::io::Write::write_all(&mut client, &bytes).unwrap();
        crate::client::read_answer(&mut client).unwrap().status
    };
    write(&it.path("secret"), "new-secret");
    write(&it.path("cert.pem"), "nothing");
    assert!(told(&it.hang_up(), "cert.pem holds no certificate"));
    assert_eq!([status(&it, "old-secret"), status(&it, "new-secret")], [200, 401]);
    let renewed = authority.sign(2098);
    renewed.write(it.dir.path());
    it.hang_up();
    assert_eq!([status(&it, "old-secret"), status(&it, "new-secret")], [401, 200]);
    assert!(renewed.is_shown_by(&authority.connect(it.daemon.address, None, &[]).unwrap()));
}

#[test]
fn nobody_notices_while_it_is_read_again() {
    let mut it = Reloaded::start("");
    let flood = Flood::start(it.daemon.address, 20, "reload");
    for _ in 0..20 {
        let before = flood.acknowledged();
        it.hang_up();
        wait_until("webhooks after it", || flood.acknowledged() > before + 20);
    }
    let tally = flood.stop();
    assert!(tally.broken.is_empty() && tally.refused.is_empty(), "{:?} {:?}", tally.broken, tally.refused);
    let Reloaded { dir, daemon, .. } = it;
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), tally.acknowledged.len());
}

#[test]
fn a_secret_that_others_can_read_is_warned_about_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    write(&secret, "readable-secret");
    for (mode, warned) in [(0o644, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let flag = format!("--receiver=github=file:{}", secret.display());
        let ran = crate::command::run(&["check", &flag]);
        assert_eq!(ran.stdout.contains("every user of this machine can read"), warned, "{mode:o}: {ran:?}");
        assert!(!ran.stdout.contains("readable-secret") && !ran.stderr.contains("readable-secret"));
    }
}

/// Each is in the file before its sender has its answer, and reading it again mustn't lose it on the way.
#[test]
fn secrets_that_senders_hand_over_meanwhile_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[[receivers]]\nname = \"asana\"\nset = { capture = \"add\" }\n";
    let daemon = Daemon::with_config(dir.path(), config, &[]);
    let send = |headers: &[(&str, &str)]| {
        send_raw(daemon.address, &post("asana", headers, b"{}")).expect("an answer").status
    };
    for number in 0..12 {
        let secret = |number: u32| format!("handed-over-{number}");
        daemon.signal("HUP");
        assert_eq!(send(&[("X-Hook-Secret", &secret(number))]), 200);
        for known in 0..=number {
            let signature = hmac_sha256_hex(&secret(known), b"{}");
            assert_eq!(send(&[("X-Hook-Signature", &signature)]), 200, "{known} after {number}");
        }
    }
    daemon.wait_for_line(|line| line["msg"] == "configuration read again");
    daemon.stop();
}

#[test]
fn another_secret_of_the_broker_is_named_and_a_missing_one_changes_nothing() {
    let further = "[queue]\nbackend = \"nats\"\nurl = \"nats://127.0.0.1:1\"\n[queue.nats]\nuser = \"u\"\n";
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("secret"), "old-secret");
    let password = dir.path().join("password");
    write(&password, "old-password");
    let further = format!("{further}password = {{ file = \"{}\" }}\n", password.display());
    let daemon = Daemon::with_config(dir.path(), &config(dir.path(), &further), &[]);
    let mut it = Reloaded { dir, daemon, seen: 0 };
    write(&password, "new-password");
    let lines = it.hang_up();
    assert!(
        told(&lines, "a secret of the queue has changed, which takes effect at the next start"),
        "{lines:?}"
    );
    it.config(&further.replace("user = \"u\"", "user = \"another\""));
    assert!(told(&it.hang_up(), "the backend's section under [queue] has changed"));
    std::fs::remove_file(&password).unwrap();
    write(&it.path("secret"), "new-secret");
    let lines = it.hang_up();
    assert!(told(&lines, "the old one stays") && told(&lines, "password can't be opened"), "{lines:?}");
    assert_eq!(it.status("github/acme", "old-secret"), 200);
    let text = it.daemon.stop();
    assert!(!text.contains("-password\"") && !text.contains("-secret"), "{text}");
}

#[test]
fn every_file_with_a_secret_that_others_can_read_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        write(&path, text);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let warned = |mode: u32| {
        let url = file("url", "nats://u:hunter2@127.0.0.1:1", mode);
        let token = file("token", "hunter2", mode);
        let key = file("key.pem", "hunter2", mode);
        let config = file(
            "sluiced.toml",
            &format!(
                "[queue]\nbackend = \"nats\"\nurl = {{ file = \"{url}\" }}\n[queue.nats]\ntoken = {{ file = \"{token}\" }}\n\
                 client_key_file = \"{key}\"\n[[receivers]]\nname = \"github\"\nsecret = {{ text = \"hunter2\" }}\n"
            ),
            mode,
        );
        let ran = crate::command::run(&["check", "--config", &config]);
        assert!(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "{ran:?}");
        [url, token, key, config]
            .map(|path| ran.stdout.contains(&format!("every user of this machine can read {path} ")))
    };
    assert_eq!(warned(0o644), [true; 4]);
    assert_eq!(warned(0o600), [false; 4]);
}

/// The process's memory is read as a debugger would.
#[test]
fn a_secret_that_was_exchanged_is_gone_from_memory() {
    let mut it = Reloaded::start("");
    let secret = |name: &str| format!("{name}-{}", "0123456789-made-up-".repeat(3));
    let (first, second) = (secret("first"), secret("second"));
    for present in [&first, &second, &"a third one".to_owned()] {
        write(&it.path("secret"), present);
        it.hang_up();
        assert_eq!(it.status("github/acme", present), 200);
    }
    assert!(holds(&it.daemon, b"a third one"), "or it isn't found at all");
    // Parts too: a buffer that grew may have left one behind.
    for gone in [&first[..24], &second[..24], &first[first.len() - 24..], &first[20..44]] {
        // A request that is still under way keeps what it began with.
        wait_until("the end of an old secret", || !holds(&it.daemon, gone.as_bytes()));
    }
}

/// Whether these bytes stand anywhere in memory that the daemon can write to.
fn holds(daemon: &Daemon, bytes: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).unwrap();
    let memory = std::fs::File::open(format!("/proc/{}/mem", daemon.pid())).unwrap();
    let writable =
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")));
    writable.into_iter().any(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        // Some regions can't be read; what the daemon uses can.
        let mut region = vec![0; (end - start) as usize];
        let read = memory.read_at(&mut region, start).unwrap_or(0);
        memchr::memmem::find(&region[..read], bytes).is_some()
    })
}
