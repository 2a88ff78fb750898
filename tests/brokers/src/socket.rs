//! Questions that a broker answers once it is up.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bounds;
use crate::process::Process;
use crate::wait::until_within;

/// Waits until a broker gives the answer that says it is up.
///
/// # Panics
/// With the broker's own log, when it ends or doesn't come up.
pub(crate) async fn until_up(
    process: &mut Process,
    address: SocketAddr,
    hello: &[u8],
    is_up: impl Fn(&[u8]) -> bool,
) {
    let began = std::time::Instant::now();
    while !ask(address, hello, &is_up).await {
        let ended = process.has_ended();
        if ended || began.elapsed() > bounds::START_DEADLINE {
            let what = if ended { "ended while starting" } else { "didn't come up" };
            panic!("the broker at {address} {what}; its log ends:\n{}", process.log_tail());
        }
        tokio::time::sleep(bounds::LOOK_EVERY).await;
    }
}

/// A dying broker still accepts for a while; starting the next one before that has ended fails.
pub(crate) async fn until_refused(address: SocketAddr) {
    let refused = async || matches!(connect(address).await, Some(Err(_)));
    until_within(bounds::STOP_DEADLINE, "the port refuses", refused).await;
}

/// Whether the answer, as far as it has come, is the right one.
async fn ask(address: SocketAddr, hello: &[u8], is_up: impl Fn(&[u8]) -> bool) -> bool {
    let Some(Ok(mut stream)) = connect(address).await else { return false };
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(hello).await.ok()?;
        while answer.len() < bounds::ANSWER_BYTES_MAX && !is_up(&answer) {
            if stream.read_buf(&mut answer).await.ok()? == 0 {
                return None;
            }
        }
        Some(is_up(&answer))
    };
    let in_time = tokio::time::timeout(bounds::PROBE_DEADLINE, talk).await;
    in_time.ok().flatten().unwrap_or(false)
}

/// `None` when it takes too long.
async fn connect(address: SocketAddr) -> Option<std::io::Result<TcpStream>> {
    const SHORT: Duration = bounds::PROBE_DEADLINE;
    tokio::time::timeout(SHORT, TcpStream::connect(address)).await.ok()
}
