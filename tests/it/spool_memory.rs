//! Large bodies in front of a broker: what they take is bounded, and small senders go on.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sluiced_test_brokers::nats;

use crate::client::{github_request, read_answer};
use crate::daemon::{Daemon, environment, wait_until};
use crate::flood::Flood;
use crate::spool_common::{Broker, last_durable, send};

const LARGE: usize = 25 << 20;
/// Bodies and their encoded copies, copies in publishes that outlive their answer (32 MiB), in the spool's writer,
/// SQLite's and the client library's own: 280 to 330 MiB were measured in all, and 575 to 850 while freed blocks
/// stayed with the process. Unbounded it would be 3.7 GiB.
const RESIDENT_KIB_MAX: u64 = 448 << 10;

#[test]
fn fifty_large_bodies_at_once_are_bounded_and_small_senders_go_on() {
    large_beside_small(false);
}

#[test]
fn and_so_they_are_while_the_broker_is_frozen() {
    large_beside_small(true);
}

fn large_beside_small(frozen: bool) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut broker = Broker::with(nats::Options { max_payload: Some(60 << 20), ..nats::Options::default() });
    broker.restart();
    let daemon = broker.serve(dir.path(), &[]);
    wait_until("the broker", || {
        send(&daemon, "up", 1);
        last_durable(&daemon) == "broker"
    });
    if frozen {
        broker.freeze();
    }
    let senders = environment("SLUICED_TEST_SMALL_SENDERS", 100) as usize;
    let flood = Flood::start(daemon.address, senders, "small");
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(LARGE - 8)).into_bytes();
    let large: Vec<_> = (0..50)
        .map(|n| {
            let (address, request) = (daemon.address, github_request(&format!("large-{n}"), &body));
            std::thread::spawn(move || send_large(address, &request))
        })
        .collect();
    let statuses: Vec<u16> = large.into_iter().map(|thread| thread.join().unwrap()).collect();
    let tally = flood.stop();
    let resident = resident_kib_most(&daemon);
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    println!(
        "frozen: {frozen}; {accepted} of 50 large ones, {} small ones, p99 {} ms, {} MiB resident at most",
        tally.acknowledged.len(),
        p99(tally.latencies_us) / 1_000,
        resident >> 10
    );
    assert!(accepted > 0 && statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert!(tally.refused.is_empty() && tally.broken.is_empty(), "{:?} {:?}", tally.refused, tally.broken);
    assert!(tally.acknowledged.len() > senders);
    assert!(resident < RESIDENT_KIB_MAX, "{} MiB", resident >> 10);
}

/// The status, or 503 where the answer came before all was sent and was lost with the connection.
fn send_large(address: SocketAddr, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let begun = Instant::now();
    let _ = stream.write_all(request);
    let answer = read_answer(&mut stream);
    assert!(begun.elapsed() < Duration::from_secs(60));
    answer.map_or(503, |answer| answer.status)
}

fn resident_kib_most(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn p99(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
