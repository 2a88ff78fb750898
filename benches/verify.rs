//! What verification costs over the HMAC that it can't do without: a GitHub delivery of 1 KiB.
//!
//!     cargo bench --bench verify
//!
//! Both are measured in turns within one run, so that whatever else the machine does weighs on both alike; the
//! figures are medians over the turns. No framework does that, and none is needed for two numbers.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;
use jiff::Timestamp;
use sluiced::catalog;
use sluiced::delivery::Delivery;
use sluiced::verify::{Admission, ReceiverSettings, Verifier};

const SECRET: &str = "it-is-only-a-benchmark's-secret";
const BODY_BYTES: usize = 1024;
const TURNS: usize = 5_001;
/// So few that their headers stay in the cache: the daemon has just read its delivery when it verifies it.
const CALLS_EACH_TURN: usize = 64;

fn main() {
    let verifier = verifier();
    let delivery = delivery(&verifier);
    let body = delivery.body.clone();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let (mut floor, mut whole) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    for _ in 0..TURNS {
        floor.push(bare_hmac_ns(&key, &body));
        whole.push(admit_ns(&verifier, &delivery));
    }
    let (floor, whole) = (median(floor), median(whole));
    println!("bare HMAC-SHA256 of {BODY_BYTES} bytes   {floor:8.0} ns");
    println!("Verifier::admit of the same    {whole:8.0} ns");
    println!("ratio                          {:8.2}", whole / floor);
}

fn verifier() -> Verifier {
    let row = catalog::find("github").expect("the catalogue has GitHub");
    let settings = ReceiverSettings { secrets: vec![SECRET.into()], ..ReceiverSettings::default() };
    Verifier::compile(row, &settings).expect("GitHub needs nothing but a secret")
}

/// As GitHub sends it, behind a proxy.
fn delivery(verifier: &Verifier) -> Delivery {
    let event = format!("{{\"action\":\"opened\",\"padding\":\"{}\"}}", "x".repeat(BODY_BYTES - 32));
    let body = Bytes::from(event[..BODY_BYTES - 2].to_owned() + "\"}");
    let url = "https://hooks.example.com/api/webhooks/incoming/github/acme";
    let signed = verifier
        .sign(
            Some("pull_request"),
            Some(body),
            url,
            Timestamp::UNIX_EPOCH,
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        )
        .expect("an HMAC can be signed");
    let mut headers = signed.headers;
    for (name, value) in [
        ("host", "hooks.example.com"),
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("accept", "*/*"),
        ("content-length", "1024"),
        ("x-github-hook-id", "292430182"),
        ("x-github-hook-installation-target-id", "79929171"),
        ("x-github-hook-installation-target-type", "repository"),
        ("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
        ("x-forwarded-for", "192.0.2.60"),
        ("x-forwarded-proto", "https"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Delivery {
        method: Method::POST,
        uri: "/api/webhooks/incoming/github/acme".parse().expect("a path"),
        headers,
        body: signed.body,
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        id: "acme".to_owned(),
        received_at: Timestamp::UNIX_EPOCH,
    }
}

fn bare_hmac_ns(key: &hmac::Key, body: &[u8]) -> f64 {
    let begun = Instant::now();
    for _ in 0..CALLS_EACH_TURN {
        black_box(hmac::sign(key, black_box(body)));
    }
    each_ns(begun)
}

/// The daemon hands its delivery over and keeps the verdict, so neither copies nor drops are measured.
fn admit_ns(verifier: &Verifier, delivery: &Delivery) -> f64 {
    let deliveries = vec![delivery.clone(); CALLS_EACH_TURN];
    let mut verdicts = Vec::with_capacity(CALLS_EACH_TURN);
    let begun = Instant::now();
    for delivery in deliveries {
        verdicts.push(verifier.admit(black_box(delivery), Timestamp::UNIX_EPOCH));
    }
    let ns = each_ns(begun);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Admission::Event(_))));
    ns
}

fn each_ns(begun: Instant) -> f64 {
    begun.elapsed().as_nanos() as f64 / CALLS_EACH_TURN as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
