//! Many senders at once, each with a keep-alive connection of its own, one webhook after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::github_request;

/// A flood under way.
pub struct Flood {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<Tally>,
}

/// What the senders saw.
#[derive(Debug, Default)]
pub struct Tally {
    /// Delivery ids that got a 200.
    pub acknowledged: Vec<String>,
    /// From the first byte sent to the last one received, for each of those.
    pub latencies_us: Vec<u64>,
    /// Statuses other than 200.
    pub refused: Vec<u16>,
    /// Answers that asked to close the connection.
    pub closing: usize,
    /// Connections that broke: what the sender was doing, and the error.
    pub broken: Vec<(Doing, String)>,
}

/// How far a sender was when its connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Connecting: nothing was sent.
    Connecting,
    /// Waiting for the answer to the first request of its connection.
    First,
    /// Waiting for an answer on a connection that had answered before.
    Later,
}

impl Flood {
    /// Starts so many senders. Delivery ids begin with `prefix`. A sender ends when its connection
    /// breaks, or is closed by an answer that says so.
    pub fn start(address: SocketAddr, senders: usize, prefix: &str) -> Self {
        Self::every(Duration::ZERO, address, senders, prefix)
    }

    /// The same with so many webhooks a second by all of them together, evenly spread. A sender that had to wait
    /// for an answer catches up.
    pub fn paced(per_second: u32, address: SocketAddr, senders: usize, prefix: &str) -> Self {
        let every = Duration::from_secs(1) * u32::try_from(senders).unwrap() / per_second;
        Self::every(every, address, senders, prefix)
    }

    fn every(every: Duration, address: SocketAddr, senders: usize, prefix: &str) -> Self {
        raise_open_files();
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (stop.clone(), acknowledged.clone());
        let prefix = prefix.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for number in 0..senders {
                    let (stop, acknowledged) = shared.clone();
                    let prefix = format!("{prefix}-{number}");
                    let begin = every * u32::try_from(number).unwrap() / u32::try_from(senders).unwrap();
                    tasks.spawn(async move {
                        tokio::time::sleep(begin).await;
                        send(address, every, &prefix, &stop, &acknowledged).await
                    });
                }
                tasks.join_all().await.into_iter().fold(Tally::default(), Tally::plus)
            })
        });
        Self { stop, acknowledged, thread }
    }

    /// Webhooks acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets each sender finish the webhook that it is at.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until every sender has ended by itself.
    pub fn join(self) -> Tally {
        self.thread.join().unwrap()
    }
}

/// The body of a delivery: to be told from every other, and of another length than most.
pub fn body_of(delivery: &str) -> Vec<u8> {
    let length = delivery.bytes().map(usize::from).sum::<usize>() % 512;
    format!("{{\"delivery\":\"{delivery}\",\"padding\":\"{}\"}}", "x".repeat(length)).into_bytes()
}

impl Tally {
    fn plus(mut self, other: Self) -> Self {
        self.acknowledged.extend(other.acknowledged);
        self.latencies_us.extend(other.latencies_us);
        self.refused.extend(other.refused);
        self.closing += other.closing;
        self.broken.extend(other.broken);
        self
    }
}

async fn send(
    address: SocketAddr,
    every: Duration,
    prefix: &str,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Tally {
    let mut tally = Tally::default();
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => {
            tally.broken.push((Doing::Connecting, error.to_string()));
            return tally;
        }
    };
    stream.set_nodelay(true).unwrap();
    let mut number = 0;
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let delivery = format!("{prefix}-{number}");
        let request = github_request(&delivery, &body_of(&delivery));
        let begun = Instant::now();
        match exchange(&mut stream, &request).await {
            Ok((200, closing)) => {
                tally.latencies_us.push(begun.elapsed().as_micros() as u64);
                tally.acknowledged.push(delivery);
                acknowledged.fetch_add(1, Ordering::Relaxed);
                if closing {
                    tally.closing += 1;
                    return tally;
                }
            }
            Ok((status, closing)) => {
                tally.refused.push(status);
                if closing {
                    return tally;
                }
            }
            Err(error) => {
                let doing = if number == 0 { Doing::First } else { Doing::Later };
                tally.broken.push((doing, error.to_string()));
                return tally;
            }
        }
        number += 1;
        tokio::time::sleep_until((started + every * number).into()).await;
    }
    tally
}

/// One request and its whole answer: the status, and whether the connection is to be closed.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<(u16, bool)> {
    stream.write_all(request).await?;
    let mut answer = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(whole) = parse(&answer) {
            return Ok(whole);
        }
    }
}

/// Status and `Connection: close`, once the answer is whole.
fn parse(answer: &[u8]) -> Option<(u16, bool)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = header("content-length:").map_or(0, |length| length.parse().unwrap());
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (answer.len() >= end + 4 + length).then_some((status, header("connection:") == Some("close")))
}

/// A thousand connections are more than a process may have by default.
pub fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
