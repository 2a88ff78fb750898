//! An HTTP proxy in front of Azurite that answers in its place when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use sluiced_test_brokers::Port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Hands it on, and the answer back.
    #[default]
    Pass,
    /// Answers with this status; the service sees nothing of it.
    Answer(u16),
    /// Hands it on, and answers 500 whatever the service says.
    LoseAnswer,
}

/// The proxy; gone with its connections when dropped.
#[derive(Debug)]
pub struct Front {
    port: Port,
    mode: Arc<watch::Sender<Mode>>,
    _accepting: JoinSet<()>,
}

/// A request or an answer may have this many bytes: a message of 64 KiB in base64, and its XML.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

impl Front {
    /// In front of a service.
    ///
    /// # Panics
    /// When it can't listen.
    pub async fn to(service: SocketAddr) -> Self {
        let port = Port::take();
        let listener = TcpListener::bind(port.address()).await.expect("a port of ours can be listened on");
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let mut accepting = JoinSet::new();
        let shared = mode.clone();
        accepting.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    let _: AbortHandle = open.spawn(serve(client, service, shared.clone()));
                }
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, mode, _accepting: accepting }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// From the next request on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

/// One connection, until either side ends it.
async fn serve(mut client: TcpStream, service: SocketAddr, mode: Arc<watch::Sender<Mode>>) {
    let mut to_service = None;
    let mut rest = Vec::new();
    while let Some(request) = whole(&mut client, &mut rest, false).await {
        let now = *mode.borrow();
        let answer = match now {
            Mode::Answer(status) => Some(refusal(status)),
            Mode::Pass => ask(&mut to_service, service, &request).await,
            Mode::LoseAnswer => ask(&mut to_service, service, &request).await.map(|_| refusal(500)),
        };
        let Some(answer) = answer else { return };
        if client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn ask(connection: &mut Option<TcpStream>, service: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    if connection.is_none() {
        *connection = Some(TcpStream::connect(service).await.ok()?);
    }
    let stream = connection.as_mut()?;
    stream.write_all(request).await.ok()?;
    whole(stream, &mut Vec::new(), request.starts_with(b"HEAD ")).await
}

fn refusal(status: u16) -> Vec<u8> {
    let code = match status {
        403 => "AuthorizationFailure",
        503 => "ServerBusy",
        _ => "InternalError",
    };
    let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code></Error>");
    let head = format!(
        "HTTP/1.1 {status} Torture\r\nx-ms-error-code: {code}\r\ncontent-type: application/xml\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// The next request or answer, head and body as they came; `None` at the end, or when it isn't what this reads.
pub(crate) async fn whole(stream: &mut TcpStream, rest: &mut Vec<u8>, bodiless: bool) -> Option<Vec<u8>> {
    let mut wanted = None;
    loop {
        if wanted.is_none() {
            wanted = length(rest, bodiless);
        }
        if let Some(bytes) = wanted.filter(|bytes| rest.len() >= *bytes) {
            let after = rest.split_off(bytes);
            return Some(std::mem::replace(rest, after));
        }
        if let Some(end) = chunked_end(rest) {
            let after = rest.split_off(end);
            return Some(std::mem::replace(rest, after));
        }
        if rest.len() > MESSAGE_BYTES_MAX || stream.read_buf(rest).await.ok()? == 0 {
            return None;
        }
    }
}

/// Of head and body, once the head is there and says so.
fn length(bytes: &[u8], bodiless: bool) -> Option<usize> {
    let (head, end) = head(bytes)?;
    if head.contains("transfer-encoding: chunked") {
        return None;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Some(0), |text| text.trim().parse().ok())?;
    Some(end + if bodiless { 0 } else { length })
}

/// The end of a chunked body, once it is there: Azurite answers so. Its bodies are XML, without line breaks of HTTP.
fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let (head, end) = head(bytes)?;
    if !head.contains("transfer-encoding: chunked") {
        return None;
    }
    let last = b"0\r\n\r\n";
    let body = &bytes[end..];
    let at = body.windows(last.len()).position(|window| window == last)?;
    Some(end + at + last.len())
}

fn head(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    Some((String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_head_says() {
        let plain = b"POST /q HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET";
        assert_eq!(length(plain, false), Some(plain.len() - 3));
        let chunked = b"HTTP/1.1 201 C\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP";
        assert_eq!(length(chunked, false), None);
        assert_eq!(chunked_end(chunked), Some(chunked.len() - 4));
        assert_eq!(chunked_end(&chunked[..chunked.len() - 6]), None);
    }
}
