//! Idle connections and slow-loris connections beside honest senders: no error for the honest ones, and
//! bounded memory. `SLUICED_TEST_IDLE=10000 SLUICED_TEST_LORIS=200 SLUICED_TEST_IDLE_RATE=1000
//! SLUICED_TEST_IDLE_SECONDS=30` is the full size; the process needs 12,000 open files then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::client::{GITHUB, GITHUB_PATH, github_request};
use crate::daemon::{Daemon, environment};
use crate::flood::raise_open_files;
use crate::worker::drain_each;

/// Addresses of strangers, so that each has its share of connections.
const STRANGERS: u64 = 8;

async fn connect_from(last: u8, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 1, last], 0)))?;
    socket.connect(address).await
}

/// Trickles headers until it is let go, and comes again.
async fn loris(address: SocketAddr, last: u8, stop: Arc<AtomicBool>, let_go: Arc<AtomicU64>) {
    let head = format!("POST {GITHUB_PATH} HTTP/1.1\r\nHost: t\r\nX-Slow: ");
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = connect_from(last, address).await else { continue };
        let mut answer = [0; 512];
        let _ = stream.write_all(head.as_bytes()).await;
        while !stop.load(Ordering::Relaxed) {
            let wait = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
            if wait.is_ok() || stream.write_all(b"x").await.is_err() {
                let_go.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
    }
}

/// Sends webhooks at a steady pace, one after the other; gives latencies in µs, or what went wrong.
async fn honest(address: SocketAddr, sender: u64, pace: Duration, end: Instant) -> Result<Vec<u64>, String> {
    let mut stream = connect_from(200, address).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let mut latencies = Vec::new();
    let mut tick = tokio::time::interval(pace);
    while Instant::now() < end {
        tick.tick().await;
        let request = github_request(&format!("honest-{sender}-{}", latencies.len()), b"{}");
        let begun = Instant::now();
        stream.write_all(&request).await.map_err(|e| e.to_string())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut answer).await.map_err(|e| e.to_string())? == 0 {
                return Err(format!("closed after {}", latencies.len()));
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer).into_owned());
        }
        latencies.push(begun.elapsed().as_micros() as u64);
    }
    Ok(latencies)
}

fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_slow_connections_cost_honest_senders_nothing() {
    raise_open_files();
    let idle = environment("SLUICED_TEST_IDLE", 1_000);
    let slow = environment("SLUICED_TEST_LORIS", 50);
    let seconds = environment("SLUICED_TEST_IDLE_SECONDS", 4);
    let rate = environment("SLUICED_TEST_IDLE_RATE", 300);
    let dir = tempfile::tempdir().unwrap();
    // Room for all of them: what is past it is refused, which is another test.
    let config = format!(
        "[limits]\nconnections_max = {}\nidle_timeout = \"10m\"\nheader_timeout = \"{}\"\n",
        idle + slow + 100,
        if seconds < 10 { "2s" } else { "10s" }
    );
    let daemon = Daemon::with_config(dir.path(), &config, &[GITHUB]);
    let empty = memory_kib(daemon.pid(), "VmRSS:");
    let mut held = Vec::new();
    for number in 0..idle {
        let mut stream = connect_from((number % STRANGERS) as u8 + 1, daemon.address).await.unwrap();
        // Idle means: it has had an answer. Anything else is over after the time for headers.
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        assert!(stream.read(&mut [0; 1_024]).await.unwrap() > 0);
    }
    let with_idle = memory_kib(daemon.pid(), "VmRSS:");
    let (stop, let_go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut lorises = JoinSet::new();
    for number in 0..slow {
        let last = (number % STRANGERS) as u8 + 101;
        lorises.spawn(loris(daemon.address, last, stop.clone(), let_go.clone()));
    }
    let senders = 50.min(rate);
    let pace = Duration::from_secs(1) * u32::try_from(senders).unwrap() / u32::try_from(rate).unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut honest_ones = JoinSet::new();
    for sender in 0..senders {
        honest_ones.spawn(honest(daemon.address, sender, pace, end));
    }
    let mut latencies = Vec::new();
    for result in honest_ones.join_all().await {
        latencies.extend(result.expect("no error for an honest sender"));
    }
    stop.store(true, Ordering::Relaxed);
    lorises.join_all().await;
    latencies.sort_unstable();
    let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize];
    let peak = memory_kib(daemon.pid(), "VmHWM:");
    println!(
        "{idle} idle, {slow} slow-loris ({} let go), {} webhooks in {seconds} s: p50 {} us, p99 {} us, max {} us; \
         memory: {} MiB empty, {} MiB with the idle ones, {} MiB at its peak",
        let_go.load(Ordering::Relaxed),
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        empty >> 10,
        with_idle >> 10,
        peak >> 10
    );
    assert!(latencies.len() as u64 > rate * seconds / 2, "{} webhooks", latencies.len());
    assert!(let_go.load(Ordering::Relaxed) >= slow, "each was let go once at least");
    assert!(peak < empty + 32 * (idle + slow) + (64 << 10), "{peak} KiB, {empty} KiB when empty");
    for stream in &mut held {
        let begun = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 1])).await;
        assert!(begun.is_err(), "an idle connection was closed before its time");
    }
    drop(held);
    daemon.stop();
    let mut queued = 0;
    drain_each(dir.path(), |_| queued += 1);
    assert_eq!(queued, latencies.len());
}
