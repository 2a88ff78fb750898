//! The load: senders that send signed webhooks at a pace, wait for each answer as senders do, and send again what
//! got no 2xx.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::bounds::{
    ANSWER_BYTES_MAX, ATTEMPTS_MAX, MESSAGES_MAX, RECONNECT_AFTER, RESEND_AFTER, SENDER_PATIENCE,
};
use crate::ledger::Sent;
use crate::webhook;

/// Senders at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<Vec<Sent>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    round: String,
    stop: AtomicBool,
    begun: AtomicU32,
}

impl Load {
    /// Starts it: so many webhooks a second by all senders together, with ids that begin with `round`.
    pub fn start(address: SocketAddr, round: &str, per_second: u32, count: u32) -> Self {
        let (stop, begun) = (AtomicBool::new(false), AtomicU32::new(0));
        let shared = Arc::new(Shared { address, round: round.to_owned(), stop, begun });
        let every = Duration::from_secs(1) * count / per_second;
        let mut senders = JoinSet::new();
        for number in 0..count {
            let begin = Instant::now() + every * number / count;
            senders.spawn(Sender { shared: shared.clone(), number, stream: None }.run(begin, every));
        }
        Self { shared, senders }
    }

    /// Lets each sender end what it is at; everything that was sent, in no order.
    pub async fn stop(self) -> Vec<Sent> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.senders.join_all().await.concat()
    }
}

struct Sender {
    shared: Arc<Shared>,
    number: u32,
    stream: Option<TcpStream>,
}

impl Sender {
    /// A sender that had to wait doesn't catch up: it goes on at its pace.
    async fn run(mut self, begin: Instant, every: Duration) -> Vec<Sent> {
        let mut all = Vec::new();
        let mut next = begin;
        loop {
            sleep_until(next.into()).await;
            if self.is_over() || self.shared.begun.fetch_add(1, Ordering::Relaxed) >= MESSAGES_MAX {
                return all;
            }
            all.extend(self.send(format!("{}{}-{}", self.shared.round, self.number, all.len())).await);
            next = (next + every).max(Instant::now());
        }
    }

    fn is_over(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// One webhook, with what is sent again of it. `None` when there was nobody to send it to.
    async fn send(&mut self, id: String) -> Option<Sent> {
        let request = webhook::request(&id);
        let mut sent =
            Sent { id, attempts: 0, began: Instant::now(), acknowledged: None, refusals: Vec::new() };
        while sent.attempts < ATTEMPTS_MAX {
            if !self.connect().await {
                break;
            }
            sent.attempts += 1;
            sent.began = Instant::now();
            let status = self.exchange(&request).await;
            if (200..300).contains(&status) {
                sent.acknowledged = Some(sent.began.elapsed());
                break;
            }
            sent.refusals.push(status);
            // What is wrong with a webhook doesn't mend by sending it again.
            if (400..500).contains(&status) && status != 408 && status != 429 {
                break;
            }
            sleep(RESEND_AFTER * sent.attempts).await;
        }
        (sent.attempts > 0).then_some(sent)
    }

    /// Until somebody listens, or the load is over.
    async fn connect(&mut self) -> bool {
        // What is sent on a connection that was closed meanwhile would count as sent, and reach nobody.
        let open = |stream: &TcpStream| matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        self.stream = self.stream.take().filter(open);
        while self.stream.is_none() {
            match timeout(SENDER_PATIENCE, TcpStream::connect(self.shared.address)).await {
                Ok(Ok(stream)) => {
                    // Its failing costs time alone.
                    let _ = stream.set_nodelay(true);
                    self.stream = Some(stream);
                }
                _ if self.is_over() => return false,
                _ => sleep(RECONNECT_AFTER).await,
            }
        }
        true
    }

    /// The status, or 0 when the connection broke or the answer took too long. Either ends the connection.
    async fn exchange(&mut self, request: &[u8]) -> u16 {
        let Some(mut stream) = self.stream.take() else { return 0 };
        match timeout(SENDER_PATIENCE, converse(&mut stream, request)).await {
            Ok(Some((status, keep))) => {
                self.stream = keep.then_some(stream);
                status
            }
            _ => 0,
        }
    }
}

/// Sends a request and reads the whole answer: the status, and whether the connection stays.
async fn converse(stream: &mut TcpStream, request: &[u8]) -> Option<(u16, bool)> {
    // An answer may come before the end of the request, and the sending fail because of that.
    let written = stream.write_all(request).await.is_ok();
    let mut answer = Vec::with_capacity(1 << 10);
    while answer.len() < ANSWER_BYTES_MAX {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
        if let Some((status, keep)) = whole(&answer) {
            return Some((status, keep && written));
        }
    }
    None
}

/// Status, and whether the connection stays, once the answer is whole.
fn whole(answer: &[u8]) -> Option<(u16, bool)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = header("content-length:").map_or(Some(0), |text| text.parse().ok())?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (answer.len() >= end + 4 + length).then(|| (status, header("connection:") != Some("close")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(whole(answer), Some((200, true)));
        assert_eq!(whole(&answer[..answer.len() - 1]), None);
        assert_eq!(whole(b"HTTP/1.1 503 No\r\nConnection: close\r\n\r\n"), Some((503, false)));
    }
}
