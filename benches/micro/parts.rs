//! Parts of what the daemon does with a webhook, one by one and without a network.
//!
//!     cargo bench -p sluiced-benches --bench parts

use std::fs::File;
use std::hint::black_box;
use std::net::Ipv4Addr;

use aws_lc_rs::hmac;
use bytes::Bytes;
use clap::{CommandFactory, FromArgMatches};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use http::header::HeaderValue;
use http::{Method, StatusCode};
use jiff::Timestamp;
use sluiced::catalog;
use sluiced::cli::{Cli, Command};
use sluiced::delivery::Delivery;
use sluiced::log::{DeliveryRecord, Format, Level, Logger, Outcome};
use sluiced::message::{self, MessageOptions};
use sluiced::receivers::Receivers;
use sluiced::verify::{Admission, ReceiverSettings, Verified, Verifier};

const SECRET: &str = "it-is-only-a-benchmark's-secret";
const PATH: &str = "/api/webhooks/incoming/github/acme";
const SIZES: [usize; 3] = [1 << 10, 10 << 10, 256 << 10];
const RECEIVERS: [usize; 3] = [1, 100, 10_000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    verification(&mut criterion);
    messages(&mut criterion);
    log_lines(&mut criterion);
    look_up(&mut criterion);
    criterion.final_summary();
}

/// From an untouched delivery to what may be queued.
fn verification(criterion: &mut Criterion) {
    let verifier = verifier();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let mut group = criterion.benchmark_group("verify");
    for size in SIZES {
        let delivery = delivery(&verifier, size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            let admit = |delivery| verifier.admit(delivery, Timestamp::UNIX_EPOCH);
            bencher.iter_batched(|| delivery.clone(), admit, BatchSize::SmallInput);
        });
        // What it costs at least.
        group.bench_function(BenchmarkId::new("one HMAC alone", size), |bencher| {
            bencher.iter(|| hmac::sign(&key, black_box(&delivery.body)));
        });
    }
    group.finish();
}

/// From there to the bytes that a broker gets.
fn messages(criterion: &mut Criterion) {
    let verifier = verifier();
    let options = MessageOptions { receiver: "github".into(), raw_body: false, mask: true };
    for part in ["message: build", "message: build and encode"] {
        let mut group = criterion.benchmark_group(part);
        for size in SIZES {
            let verified = verified(&verifier, size);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                if part.ends_with("encode") {
                    bencher.iter(|| message::build(black_box(&verified), &options).encode());
                } else {
                    bencher.iter(|| message::build(black_box(&verified), &options));
                }
            });
        }
        group.finish();
    }
}

/// One line per delivery, into a sink whose end throws all away.
fn log_lines(criterion: &mut Criterion) {
    let nowhere = File::options().write(true).open("/dev/null").expect("it is there");
    let logger = Logger::start_on(nowhere, Format::Json, Level::Info);
    let mut record = DeliveryRecord::new(Ipv4Addr::LOCALHOST.into());
    record.actions = vec!["push".into()];
    record.delivery_id = Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".into());
    record.bytes = 1024;
    record.verify_us = Some(7);
    record.enqueue_us = Some(950);
    criterion.bench_function("log line", |bencher| {
        bencher.iter(|| record.write(&logger, Outcome::Accepted, None, StatusCode::OK));
    });
    logger.close();
}

/// Which receiver a path means.
fn look_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("look-up");
    for count in RECEIVERS {
        let receivers = receivers(count);
        let path = format!("/api/webhooks/incoming/github/team-{count}");
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| receivers.find(black_box(&path)).expect("it is configured"));
        });
    }
    group.finish();
}

/// As the command line gives them.
fn receivers(count: usize) -> Receivers {
    let given = (1..=count).map(|number| format!("--receiver=github/team-{number}=text:{SECRET}"));
    let words = ["sluiced", "serve"].into_iter().map(str::to_owned).chain(given);
    let matches = Cli::command().try_get_matches_from(words).expect("the flags are right");
    let cli = Cli::from_arg_matches(&matches).expect("the flags are right");
    let Command::Serve(flags) = &cli.command else { unreachable!("it is `serve`") };
    let (_, matches) = matches.subcommand().expect("it is `serve`");
    let config = sluiced::config::resolve(flags, matches).expect("the configuration is right");
    Receivers::compile(&config).expect("GitHub needs nothing but a secret")
}

fn verifier() -> Verifier {
    let row = catalog::find("github").expect("the catalogue has GitHub");
    let settings = ReceiverSettings { secrets: vec![SECRET.into()], ..ReceiverSettings::default() };
    Verifier::compile(row, &settings).expect("GitHub needs nothing but a secret")
}

fn verified(verifier: &Verifier, size: usize) -> Verified {
    match verifier.admit(delivery(verifier, size), Timestamp::UNIX_EPOCH) {
        Admission::Event(verified) => verified,
        other => panic!("it is signed: {other:?}"),
    }
}

/// As GitHub sends it.
fn delivery(verifier: &Verifier, size: usize) -> Delivery {
    let (begin, end) = ("{\"action\":\"opened\",\"padding\":\"", "\"}");
    let body = format!("{begin}{}{end}", "x".repeat(size - begin.len() - end.len()));
    let url = format!("https://hooks.example.com{PATH}");
    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let signed = verifier
        .sign(Some("pull_request"), Some(Bytes::from(body)), &url, Timestamp::UNIX_EPOCH, id)
        .expect("an HMAC can be signed");
    let mut headers = signed.headers;
    for (name, value) in [
        ("host", "hooks.example.com"),
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("accept", "*/*"),
        ("x-github-hook-id", "292430182"),
        ("x-github-hook-installation-target-id", "79929171"),
        ("x-github-hook-installation-target-type", "repository"),
        ("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Delivery {
        method: Method::POST,
        uri: PATH.parse().expect("a path"),
        headers,
        body: signed.body,
        client: Ipv4Addr::LOCALHOST.into(),
        id: "acme".to_owned(),
        received_at: Timestamp::UNIX_EPOCH,
    }
}
