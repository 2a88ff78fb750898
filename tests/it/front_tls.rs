//! TLS at the front door: protocols, clients' certificates, exchange of certificates, and what isn't TLS.

use std::io::{Read, Write};
use std::path::Path;

use crate::client::{GITHUB, connect, github_request, read_answer};
use crate::command::run;
use crate::daemon::Daemon;
use crate::tls_client::{Authority, Identity, Tls};
use crate::worker::{body, drain};

/// `[tls]` with the files of a directory.
fn tls(dir: &Path, further: &str) -> String {
    let dir = dir.display();
    format!("[tls]\ncert_file = \"{dir}/cert.pem\"\nkey_file = \"{dir}/key.pem\"\n{further}")
}

/// Sends a webhook and gives its status.
fn deliver(tls: &mut Tls, delivery: &str) -> Option<u16> {
    tls.write_all(&github_request(delivery, b"{\"over\":\"TLS\"}")).ok()?;
    read_answer(tls).map(|answer| answer.status)
}

#[test]
fn webhooks_come_in_over_tls_on_connections_that_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let identity = authority.sign(2099);
    identity.write(dir.path());
    let daemon = Daemon::with_config(dir.path(), &tls(dir.path(), ""), &[GITHUB]);
    let mut client = authority.connect(daemon.address, None, &["http/1.1"]).unwrap();
    assert!(identity.is_shown_by(&client));
    assert_eq!(client.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    for number in 0..20 {
        assert_eq!(deliver(&mut client, &format!("d{number}")), Some(200));
    }
    let line = daemon.wait_for_line(|line| line["msg"] == "receiver");
    assert!(line["url"].as_str().unwrap().starts_with("https://127.0.0.1:"), "{line}");
    // The end is said, so that nobody can cut an answer short unseen.
    client.write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut client).unwrap().status, 404);
    assert_eq!(client.read(&mut [0]).expect("a close_notify"), 0);
    daemon.stop();
    let messages = drain(dir.path());
    assert_eq!(messages.len(), 20);
    assert!(messages.iter().all(|message| body(message) == b"{\"over\":\"TLS\"}"));
}

#[tokio::test]
async fn http_2_is_agreed_on_in_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.sign(2099).write(dir.path());
    let daemon = Daemon::with_config(dir.path(), &tls(dir.path(), ""), &[GITHUB]);
    let client = authority.connect(daemon.address, None, &["h2", "http/1.1"]).unwrap();
    assert_eq!(client.conn.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = client;
    // The preface, and a SETTINGS frame without any: the answer begins with one of its own.
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 0x04, "SETTINGS");
    let other = authority.connect(daemon.address, None, &["spdy/3"]);
    assert!(other.is_err(), "no protocol in common");
}

#[test]
fn a_client_without_the_right_certificate_doesnt_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    authority.sign(2099).write(dir.path());
    clients.write(&dir.path().join("clients.pem"));
    let ca = format!("client_ca_file = \"{}/clients.pem\"\n", dir.path().display());
    let (known, unknown, expired) = (clients.sign(2099), others.sign(2099), clients.sign(2001));
    let status = |daemon: &Daemon, identity: Option<&Identity>| {
        // With TLS 1.3 a client learns only with the first answer that it isn't wanted.
        authority.connect(daemon.address, identity, &[]).ok().and_then(|mut tls| deliver(&mut tls, "d"))
    };
    let daemon = Daemon::with_config(dir.path(), &tls(dir.path(), &ca), &[GITHUB]);
    assert_eq!(status(&daemon, Some(&known)), Some(200));
    for wrong in [None, Some(&unknown), Some(&expired)] {
        assert_eq!(status(&daemon, wrong), None);
    }
    let line = daemon.wait_for_delivery(|line| line["reason"] == "tls_handshake");
    assert_eq!((&line["outcome"], &line["client"]), (&"refused".into(), &"127.0.0.1".into()));
    daemon.stop();
    let optional = format!("{ca}client_certificates = \"optional\"\n");
    let daemon = Daemon::with_config(dir.path(), &tls(dir.path(), &optional), &[GITHUB]);
    assert_eq!(status(&daemon, None), Some(200));
    assert_eq!(status(&daemon, Some(&known)), Some(200));
    assert_eq!(status(&daemon, Some(&unknown)), None, "one that is shown must be right");
}

#[test]
fn what_isnt_tls_ends_quietly_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.sign(2099).write(dir.path());
    let config = format!("{}[limits]\nheader_timeout = \"1s\"\n", tls(dir.path(), ""));
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let read = |bytes: &[u8]| {
        let mut stream = connect(daemon.address);
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let answer = read(&github_request("plain", b"{}"));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    daemon.wait_for_delivery(|line| line["reason"] == "tls_handshake");
    // Half a handshake ends with its time, and a look at the port is no handshake at all.
    assert!(read(b"\x16\x03\x01\x02\x00\x01").is_empty());
    daemon.wait_for_delivery(|line| line["detail"] == "the handshake came too slowly");
    drop(connect(daemon.address));
    let mut client = authority.connect(daemon.address, None, &[]).unwrap();
    assert_eq!(deliver(&mut client, "after"), Some(200));
    daemon.wait_for_delivery(|line| line["delivery_id"] == "after");
    assert_eq!(daemon.deliveries().len(), 3);
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.sign(2099).write(dir.path());
    let config = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[[listeners]]\nlisten = \"127.0.0.1:0\"\nproxy_protocol = true\n\
         tls = {{ cert_file = \"{0}/cert.pem\", key_file = \"{0}/key.pem\" }}\n",
        dir.path().display()
    );
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let line = daemon.wait_for_line(|line| line["msg"] == "also listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let mut client = authority
        .connect_after(b"PROXY TCP4 203.0.113.7 127.0.0.1 56324 443\r\n", address, None, &[])
        .unwrap();
    assert_eq!(deliver(&mut client, "proxied"), Some(200));
    daemon.wait_for_delivery(|line| line["delivery_id"] == "proxied" && line["client"] == "203.0.113.7");
    // The other listener is as it was.
    let answer = crate::client::send_raw(daemon.address, &github_request("plain", b"{}")).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn each_listener_has_its_own_certificate_and_asks_for_its_own_clients() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = |name: &str, last_year: i32| {
        let sub = dir.path().join(name);
        std::fs::create_dir_all(&sub).unwrap();
        let identity = authority.sign(last_year);
        identity.write(&sub);
        identity
    };
    let (first, second) = (identity("first", 2097), identity("second", 2098));
    clients.write(&dir.path().join("clients.pem"));
    let config = format!(
        "{}[[listeners]]\nlisten = \"127.0.0.1:0\"\ntls = {{ cert_file = \"{1}/second/cert.pem\", \
         key_file = \"{1}/second/key.pem\", client_ca_file = \"{1}/clients.pem\" }}\n",
        tls(&dir.path().join("first"), ""),
        dir.path().display()
    );
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let line = daemon.wait_for_line(|line| line["msg"] == "also listening");
    let mutual = line["address"].as_str().unwrap().parse().unwrap();
    let known = clients.sign(2099);
    let open = authority.connect(daemon.address, None, &[]).unwrap();
    assert!(first.is_shown_by(&open));
    let status = |address, identity: Option<&Identity>| {
        authority.connect(address, identity, &[]).ok().and_then(|mut tls| deliver(&mut tls, "d"))
    };
    assert_eq!(status(daemon.address, None), Some(200), "nobody is asked for one here");
    assert_eq!((status(mutual, None), status(mutual, Some(&known))), (None, Some(200)));
    assert!(second.is_shown_by(&authority.connect(mutual, Some(&known), &[]).unwrap()));
    // Only the one is exchanged whose files are others.
    let renewed = identity("second", 2099);
    daemon.wait_for_line(|line| line["msg"] == "certificate read again" && line["address"] == "127.0.0.1:0");
    assert!(renewed.is_shown_by(&authority.connect(mutual, Some(&known), &[]).unwrap()));
    assert!(first.is_shown_by(&authority.connect(daemon.address, None, &[]).unwrap()));
    assert_eq!(status(mutual, None), None, "its clients are still asked for theirs");
}

#[test]
fn another_certificate_is_taken_by_itself_and_a_wrong_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (old, new) = (authority.sign(2098), authority.sign(2099));
    let (cert, _) = old.write(dir.path());
    let daemon = Daemon::with_config(dir.path(), &tls(dir.path(), ""), &[GITHUB]);
    let mut kept = authority.connect(daemon.address, None, &[]).unwrap();
    assert!(old.is_shown_by(&kept));
    // The key of another: nothing changes.
    std::fs::write(&cert, &new.certificate_pem).unwrap();
    daemon.wait_for_line(|line| line["msg"] == "the new certificate can't be used; the old one stays");
    assert!(old.is_shown_by(&authority.connect(daemon.address, None, &[]).unwrap()));
    new.write(dir.path());
    daemon.wait_for_line(|line| line["msg"] == "certificate read again");
    assert!(new.is_shown_by(&authority.connect(daemon.address, None, &[]).unwrap()));
    assert_eq!(deliver(&mut kept, "kept"), Some(200), "open connections go on");
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    for (last_year, warning) in [(2099, None), (2025, Some("has expired at 2025-01-01T00:00:00Z"))] {
        let (_, key) = authority.sign(last_year).write(dir.path());
        let file = dir.path().join("s.toml");
        std::fs::write(&file, tls(dir.path(), "")).unwrap();
        let check = || run(&["check", GITHUB, "--config", &file.display().to_string()]);
        let ran = check();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stdout.contains("expire"), warning.is_some(), "{}", ran.stdout);
        assert!(warning.is_none_or(|warning| ran.stdout.contains(warning)), "{}", ran.stdout);
        assert!(!ran.stdout.contains("can read"), "{}", ran.stdout);
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(check().stdout.contains("every user of this machine can read"));
    }
}

#[test]
fn wrong_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.sign(2099).write(dir.path());
    let file = dir.path().join("s.toml");
    std::fs::write(&file, tls(dir.path(), "")).unwrap();
    let told = || {
        let ran = run(&["check", GITHUB, "--config", &file.display().to_string()]);
        assert_eq!(ran.code, Some(78), "{ran:?}");
        ran.stderr
    };
    std::fs::write(&key, authority.sign(2099).key_pem).unwrap();
    assert!(told().contains("can't be used"), "another's key");
    std::fs::write(&key, "no key\n").unwrap();
    assert!(told().contains("key.pem holds no private key in PEM"));
    std::fs::remove_file(&cert).unwrap();
    assert!(told().contains("cert.pem can't be read"));
    std::fs::write(&file, "[tls]\ncert_file = \"x\"\n").unwrap();
    assert!(told().contains("s.toml:1:1: missing field `key_file`"));
}
