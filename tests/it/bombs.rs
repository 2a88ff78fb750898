//! XML that expands, fetches, or never ends its elements: neither expanded nor fetched nor slow.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::client::{SECRET, github_signature, post, send_raw};
use crate::daemon::Daemon;
use crate::worker::{body, drain};

const ORGANIZATION: &str = "00D200000000ABCEA2";
/// No honest answer of these tests takes as long, on whatever machine; what an expansion takes is beyond it.
const PROMPT: Duration = Duration::from_secs(5);
/// Far under what ten levels of ten make of three bytes.
const MEMORY_KIB_MAX: u64 = 128 << 10;

fn envelope(doctype: &str, organization: &str, more: &str) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\"?>{doctype}<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\"><OrganizationId>{organization}\
         </OrganizationId><SessionId>a-live-session</SessionId>{more}\
         <Notification><Id>04l2000000000001AA</Id></Notification></notifications></s:Body></s:Envelope>"
    )
    .into_bytes()
}

/// Ten levels of ten: a thousand million `lol`s.
fn laughs() -> String {
    let levels = (1..=9).map(|level| {
        let below = format!("&l{};", level - 1).repeat(10);
        format!("<!ENTITY l{level} \"{below}\">")
    });
    format!("<!DOCTYPE s [<!ENTITY l0 \"lol\">{}]>", levels.collect::<String>())
}

fn memory_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn xml_that_expands_or_fetches_is_read_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let salesforce = format!("--receiver=salesforce=text:{ORGANIZATION}");
    let daemon = Daemon::start(dir.path(), &[&salesforce, crate::client::GITHUB]);
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    let external = format!(
        "<!DOCTYPE s [<!ENTITY x SYSTEM \"http://127.0.0.1:{port}/x\"><!ENTITY y SYSTEM \"file:///etc/passwd\">\
         <!ENTITY % z SYSTEM \"http://127.0.0.1:{port}/z\"> %z; <!ENTITY org \"{ORGANIZATION}\">]>"
    );
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=\"x\"")).collect();
    for (name, doctype, organization, more) in [
        ("a thousand million laughs", laughs(), "&l9;", "&l9;".to_owned()),
        ("the key by an entity", external.clone(), "&org;", String::new()),
        ("another's files", external.clone(), "&x;&y;", String::new()),
        ("unclosed", String::new(), "00D9", "<a>".repeat(100_000)),
        ("a comment without end", String::new(), "00D9", "<!--".to_owned()),
        (
            "another's after ours",
            String::new(),
            "00D9",
            format!("<!--<OrganizationId>{ORGANIZATION}</OrganizationId>-->"),
        ),
    ] {
        let begun = Instant::now();
        let answer =
            send_raw(daemon.address, &post("salesforce", &[], &envelope(&doctype, organization, &more)));
        let answer = answer.expect(name);
        assert!(matches!(answer.status, 400 | 401), "{name}: {answer:?}");
        assert!(begun.elapsed() < PROMPT, "{name}: {:?}", begun.elapsed());
    }
    // From who knows the key they are webhooks like any other, and reach the worker as they are.
    let authentic = [
        envelope(&laughs(), ORGANIZATION, "&l9;"),
        envelope(&external, ORGANIZATION, "&x;&y;"),
        envelope("", ORGANIZATION, &deep),
        envelope("", ORGANIZATION, &format!("<a{attributes}/>")),
    ];
    for bytes in &authentic {
        let begun = Instant::now();
        let answer = send_raw(daemon.address, &post("salesforce", &[], bytes)).unwrap();
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
        let headers =
            [("X-Hub-Signature-256", github_signature(SECRET, bytes)), ("Content-Type", "text/xml".into())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(send_raw(daemon.address, &post("github", &headers, bytes)).unwrap().status, 200);
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    }
    assert!(trap.accept().is_err(), "somebody called");
    assert!(memory_kib(&daemon) < MEMORY_KIB_MAX, "{} KiB", memory_kib(&daemon));
    let log = daemon.stop();
    assert!(!log.contains("root:") && !log.contains("a-live-session"));
    let messages = drain(dir.path());
    let of = |receiver: &str| {
        messages.iter().filter(|message| message["receiver"] == receiver).map(body).collect::<Vec<_>>()
    };
    assert_eq!(of("github"), authentic);
    assert!(of("salesforce").iter().all(|body| !body.windows(14).any(|part| part == b"a-live-session")));
}
