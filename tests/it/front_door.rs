//! Who a request comes from, who may come, and how often.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::client::{
    Answer, GITHUB, GITHUB_PATH, SECRET, connect, connect_from, github_request, github_signature, post,
    read_answer, send_raw,
};
use crate::command::run;
use crate::daemon::{Daemon, wait_until};
use crate::worker::drain;

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/29\"]\n";

/// A signed webhook with these lines in its head.
fn webhook(delivery: &str, lines: &str) -> Vec<u8> {
    let signature = github_signature(SECRET, b"{}");
    format!(
        "POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\nX-GitHub-Delivery: {delivery}\r\n\
         X-Hub-Signature-256: {signature}\r\n{lines}Content-Length: 2\r\n\r\n{{}}"
    )
    .into_bytes()
}

/// Sends from an address of this machine.
fn send_from(source: [u8; 4], address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect_from(source, address);
    let _ = stream.write_all(bytes);
    read_answer(&mut stream)
}

#[test]
fn a_trusted_proxy_says_who_the_client_is_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), TRUSTED, &[GITHUB]);
    let proxy = [127, 0, 0, 2];
    let stranger = [127, 0, 0, 99];
    for (delivery, from, lines, client) in [
        ("none", proxy, "", "127.0.0.2"),
        ("one", proxy, "X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        ("left", proxy, "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 127.0.0.3\r\n", "203.0.113.7"),
        ("rfc", proxy, "Forwarded: for=198.51.100.1, for=\"[2001:db8::7]:4711\"\r\n", "2001:db8::7"),
        ("both", proxy, "Forwarded: for=198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", "127.0.0.2"),
        ("odd", proxy, "X-Forwarded-For: 198.51.100.1, unknown\r\n", "127.0.0.2"),
        ("spoof", stranger, "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n", "127.0.0.99"),
        ("x-real-ip", proxy, "X-Real-IP: 203.0.113.7\r\nTrue-Client-IP: 203.0.113.7\r\n", "127.0.0.2"),
    ] {
        let answer = send_from(from, daemon.address, &webhook(delivery, lines)).unwrap();
        assert_eq!(answer.status, 200, "{delivery}");
        let line = daemon.wait_for_delivery(|line| line["delivery_id"] == delivery);
        assert_eq!(line["client"], client, "{delivery}");
    }
    daemon.stop();
    let messages = drain(dir.path());
    let remote = |id: &str| {
        let message = messages.iter().find(|message| message["deliveryId"] == id).unwrap();
        message["request"]["remoteAddr"].clone()
    };
    assert_eq!(remote("left"), "203.0.113.7");
    assert_eq!(remote("spoof"), "127.0.0.99");
}

#[test]
fn each_request_of_a_connection_has_a_client_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), TRUSTED, &[GITHUB]);
    let mut stream = connect(daemon.address);
    for number in 1..4 {
        let (delivery, client) = (format!("d{number}"), format!("203.0.113.{number}"));
        stream.write_all(&webhook(&delivery, &format!("X-Forwarded-For: {client}\r\n"))).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200);
        let line = daemon.wait_for_delivery(|line| line["delivery_id"] == delivery.as_str());
        assert_eq!(line["client"], client.as_str());
    }
}

#[test]
fn a_proxy_header_names_the_client() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("{TRUSTED}proxy_protocol = true\n");
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let v2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[203, 0, 113, 8, 127, 0, 0, 1, 0, 80, 0, 80]].concat();
    for (delivery, header, client) in [
        ("v1", b"PROXY TCP4 203.0.113.7 127.0.0.1 56324 443\r\n".to_vec(), "203.0.113.7"),
        ("v2", v2, "203.0.113.8"),
        ("unknown", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("local", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let mut stream = connect(daemon.address);
        stream.write_all(&header).unwrap();
        stream.write_all(&webhook(delivery, "X-Forwarded-For: 198.51.100.1\r\n")).unwrap();
        assert_eq!(read_answer(&mut stream).unwrap().status, 200, "{delivery}");
        let line = daemon.wait_for_delivery(|line| line["delivery_id"] == delivery);
        // Only what the proxy says for itself can be its own.
        let by_header = delivery == "local";
        assert_eq!(line["client"], if by_header { "198.51.100.1" } else { client }, "{delivery}");
        // A second header is no HTTP.
        stream.write_all(&header).unwrap();
        assert_eq!(read_answer(&mut stream).map_or(400, |answer| answer.status), 400, "{delivery}");
    }
}

#[test]
fn whoever_hides_behind_a_proxy_isnt_taken_for_the_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "{TRUSTED}[[listeners]]\nlisten = \"127.0.0.1:0\"\nproxy_protocol = true\n[[receivers]]\nname = \"github\"\n\
         secret = {{ text = \"{SECRET}\" }}\nallow = [\"127.0.0.0/8\"]\n"
    );
    let daemon = Daemon::with_config(dir.path(), &config, &[]);
    let proxy = [127, 0, 0, 2];
    for (delivery, lines, status) in [
        ("itself", "", 200),
        ("named", "X-Forwarded-For: 127.0.0.99\r\n", 200),
        ("elsewhere", "X-Forwarded-For: 203.0.113.7\r\n", 404),
        ("two", "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=127.0.0.99\r\n", 404),
        ("quote", "Forwarded: for=\"x, for=203.0.113.7\r\n", 404),
        ("unknown", "X-Forwarded-For: unknown\r\n", 404),
        ("hidden", "Forwarded: for=\"_hidden\", for=127.0.0.3\r\n", 404),
    ] {
        let answer = send_from(proxy, daemon.address, &webhook(delivery, lines)).unwrap();
        assert_eq!(answer.status, status, "{delivery}");
    }
    let line = daemon.wait_for_line(|line| line["msg"] == "also listening");
    let with_header: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'x'; 216]].concat();
    let (local, unspecified) = (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0");
    let forwarded = "X-Forwarded-For: 127.0.0.99\r\n";
    for (delivery, header, lines, status) in [
        ("local", &local[..], "", 200),
        ("v1", b"PROXY TCP4 127.0.0.99 127.0.0.1 1 2\r\n", "", 200),
        ("v1-unknown", b"PROXY UNKNOWN\r\n", "", 404),
        ("v1-unknown-forged", b"PROXY UNKNOWN\r\n", forwarded, 404),
        ("v2-unspecified", unspecified, forwarded, 404),
        ("v2-unix", &unix, forwarded, 404),
    ] {
        let bytes = [header, &webhook(delivery, lines)].concat();
        let answer = send_from(proxy, with_header, &bytes).unwrap();
        assert_eq!(answer.status, status, "{delivery}");
    }
}

#[test]
fn a_proxy_behind_a_proxy_speaks_on_behalf_of_many() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits]\nconnections_per_address_max = 2\n";
    let daemon =
        Daemon::with_config(dir.path(), &format!("{TRUSTED}proxy_protocol = true\n{limits}"), &[GITHUB]);
    let through = |source: &str, number: u8| {
        let mut stream = connect(daemon.address);
        stream.write_all(format!("PROXY TCP4 {source} 127.0.0.1 1 2\r\n").as_bytes()).unwrap();
        let client = format!("X-Forwarded-For: 203.0.113.{number}\r\n");
        let _ = stream.write_all(&webhook(&format!("{source}-{number}"), &client));
        let status = read_answer(&mut stream).map(|answer| answer.status);
        (stream, status)
    };
    let of_the_proxy: Vec<_> = (0..5).map(|number| through("127.0.0.3", number)).collect();
    assert!(of_the_proxy.iter().all(|(_, status)| *status == Some(200)));
    let of_a_client: Vec<_> = (0..3).map(|number| through("203.0.113.9", number)).collect();
    let statuses: Vec<_> = of_a_client.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, [Some(200), Some(200), None]);
}

#[test]
fn without_a_proxy_header_from_a_trusted_proxy_nobody_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("{TRUSTED}proxy_protocol = true\n[limits]\nheader_timeout = \"1s\"\n");
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let (proxy, stranger) = ([127, 0, 0, 1], [127, 0, 0, 99]);
    let header = &b"PROXY TCP4 203.0.113.7 127.0.0.1 56324 443\r\n"[..];
    for (source, start, detail) in [
        (stranger, header, "the peer is not one of trusted_proxies"),
        (proxy, b"", "no PROXY header"),
        (proxy, b"PROXY TCP4 203.0.113.7\r\n", "a malformed PROXY line"),
        (proxy, b"PROXY UDP4 203.0.113.7 127.0.0.1 1 2\r\n", "a malformed PROXY line"),
    ] {
        let bytes = [start, &github_request("hidden", b"{}")].concat();
        assert!(send_from(source, daemon.address, &bytes).is_none(), "{detail}: no answer");
        daemon.wait_for_delivery(|line| line["reason"] == "proxy_header" && line["detail"] == detail);
    }
    let mut slow = connect(daemon.address);
    slow.write_all(b"PROXY TCP4 203.0").unwrap();
    assert_eq!(slow.read(&mut [0]).unwrap(), 0, "closed without a word");
    daemon.wait_for_delivery(|line| line["detail"] == "the PROXY header came too slowly");
    daemon.stop();
    assert!(drain(dir.path()).is_empty());
}

#[test]
fn a_proxy_header_where_none_is_expected_is_no_http() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::with_config(dir.path(), TRUSTED, &[GITHUB]);
    let header = &b"PROXY TCP4 203.0.113.7 127.0.0.1 56324 443\r\n"[..];
    let answer = send_raw(daemon.address, &[header, &github_request("hidden", b"{}")].concat());
    assert_eq!(answer.unwrap().status, 400);
}

#[test]
fn a_receiver_is_not_there_for_other_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "{TRUSTED}[[receivers]]\nname = \"github\"\nid = \"closed\"\nsecret = {{ text = \"{SECRET}\" }}\n\
         allow = [\"203.0.113.0/24\", \"2001:db8::/32\"]\n"
    );
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let send = |path: &str, client: &str| {
        let signature = github_signature(SECRET, b"{}");
        let headers = [("X-Hub-Signature-256", &*signature), ("X-Forwarded-For", client)];
        send_raw(daemon.address, &post(path, &headers, b"{}")).unwrap()
    };
    for client in ["203.0.113.200", "2001:db8:1::1", "::ffff:203.0.113.1"] {
        assert_eq!(send("github/closed", client).status, 200, "{client}");
    }
    let undated = |answer: Answer| {
        let lines = answer.head.lines().filter(|line| !line.starts_with("date:"));
        (lines.collect::<Vec<_>>().join("\n"), answer.body)
    };
    let unknown = undated(send("github/nobody", "203.0.113.200"));
    for client in ["203.0.114.1", "127.0.0.1", "2001:db9::1", "203.0.113.1, 198.51.100.1", "garbage"] {
        assert_eq!(undated(send("github/closed", client)), unknown, "the same bytes: {client}");
        assert_eq!(send("github", client).status, 200, "the others are there");
    }
    let line = daemon.wait_for_delivery(|line| line["reason"] == "address_not_allowed");
    assert_eq!((&line["status"], &line["id"]), (&404.into(), &"closed".into()));
    // Not even the methods are told.
    let get = b"GET /api/webhooks/incoming/github/closed HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(send_raw(daemon.address, get).unwrap().status, 404);
}

#[test]
fn an_address_that_asks_too_often_is_told_when_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("{TRUSTED}[limits]\naddress_rate = \"5/m\"\n");
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let send = |client: &str| {
        send_raw(daemon.address, &webhook("d", &format!("X-Forwarded-For: {client}\r\n"))).unwrap()
    };
    let statuses = |client: &str| (0..8).map(|_| send(client).status).collect::<Vec<_>>();
    let expected = [200, 200, 200, 200, 200, 429, 429, 429];
    assert_eq!(statuses("203.0.113.1"), expected);
    assert_eq!(statuses("203.0.113.2"), expected, "another has its own");
    assert_eq!(send("198.51.100.1, 203.0.113.1").status, 429, "what it says of itself doesn't help");
    let answer = send("203.0.113.2");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{answer:?}");
    assert_eq!(answer.reason(), "rate_limited");
    // An address is counted before it can scan for receivers.
    let scan = post("nobody", &[("X-Forwarded-For", "203.0.113.2")], b"");
    assert_eq!(send_raw(daemon.address, &scan).unwrap().status, 429);
    daemon.wait_for_delivery(|line| line["reason"] == "rate_limited" && line["client"] == "203.0.113.1");
}

#[test]
fn a_receivers_rate_is_used_up_by_authentic_webhooks_only() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[limits]\nreceiver_rate = \"1000/s\"\n[[receivers]]\nname = \"github\"\nid = \"few\"\nrate = \"3/h\"\n\
         secret = {{ text = \"{SECRET}\" }}\n"
    );
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let send = |secret: &str| {
        let signature = github_signature(secret, b"{}");
        send_raw(daemon.address, &post("github/few", &[("X-Hub-Signature-256", &signature)], b"{}")).unwrap()
    };
    assert!((0..20).all(|_| send("guess").status == 401));
    assert_eq!((0..5).map(|_| send(SECRET).status).collect::<Vec<_>>(), [200, 200, 200, 429, 429]);
    let wait: u64 = send(SECRET).header("retry-after").unwrap().parse().unwrap();
    assert!((1_100..=1_200).contains(&wait), "a third of an hour: {wait}");
    assert_eq!(send("guess").status, 401, "a stranger doesn't learn that the rate is used up");
    assert_eq!(send_raw(daemon.address, &github_request("other", b"{}")).unwrap().status, 200);
    daemon.stop();
    assert_eq!(drain(dir.path()).len(), 4);
}

#[test]
fn an_address_has_its_own_share_of_the_connections() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[limits]\nconnections_max = 20\nconnections_per_address_max = 5\n";
    let daemon = Daemon::with_config(dir.path(), config, &[GITHUB]);
    let held: Vec<TcpStream> = (0..5).map(|_| answered(&daemon, [127, 0, 0, 1])).collect();
    for _ in 0..50 {
        let answer = read_answer(&mut connect(daemon.address)).expect("an answer");
        assert_eq!((answer.status, answer.reason().as_str()), (503, "overloaded"));
        answered(&daemon, [127, 0, 0, 2]);
    }
    daemon.wait_for_delivery(|line| line["detail"] == "too many connections of this address");
    drop(held);
    wait_until("a place", || {
        send_raw(daemon.address, &github_request("later", b"{}")).is_some_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_proxy_has_no_share_and_its_clients_have_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits]\nconnections_per_address_max = 2\n";
    let plain = Daemon::with_config(dir.path(), &format!("{TRUSTED}{limits}"), &[GITHUB]);
    let _held: Vec<TcpStream> = (0..20).map(|_| answered(&plain, [127, 0, 0, 1])).collect();
    let dir = tempfile::tempdir().unwrap();
    let config = format!("{TRUSTED}proxy_protocol = true\n{limits}");
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let open = |client: &str| {
        let mut stream = connect(daemon.address);
        let header = format!("PROXY TCP4 {client} 127.0.0.1 56324 443\r\n");
        stream.write_all(&[header.as_bytes(), &github_request("d", b"{}")].concat()).unwrap();
        read_answer(&mut stream).map(|_| stream)
    };
    let _held = [open("203.0.113.1").unwrap(), open("203.0.113.1").unwrap()];
    assert!(open("203.0.113.1").is_none());
    assert!(open("203.0.113.2").is_some());
}

#[test]
fn what_is_wrong_with_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.toml");
    for (config, told) in [
        ("proxy_protocol = true\n", "s.toml:1: proxy_protocol needs trusted_proxies"),
        ("trusted_proxies = [\"10.0.0.1/8\"]\n", "s.toml:1:19: `10.0.0.1/8` has bits behind its prefix"),
        ("forwarded_header = \"x-real-ip\"\n", "s.toml:1:20: unknown value `x-real-ip`"),
        ("[limits]\naddress_rate = \"many\"\n", "s.toml:2:16: `many` is not a rate"),
        ("[[receivers]]\nname = \"github\"\nallow = [\"all\"]\n", "s.toml:3:9: `all` is not a network"),
    ] {
        std::fs::write(&file, config).unwrap();
        let ran = run(&["check", GITHUB, "--config", &file.display().to_string()]);
        assert_eq!(ran.code, Some(78), "{ran:?}");
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

/// A connection from this address that has had an answer.
fn answered(daemon: &Daemon, source: [u8; 4]) -> TcpStream {
    let mut stream = connect_from(source, daemon.address);
    stream.write_all(&github_request("held", b"{}")).unwrap();
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 200);
    stream
}
