//! A double of the queue service, for the faults that Azurite doesn't have: it answers each request as a closure
//! says, on one connection at a time and request, as HTTP/1.1 does.

#![allow(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The account's key in connection strings to a double, made up.
pub(crate) const KEY: &str = "bWFkZSB1cA==";

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `POST`, …
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The request line and the headers.
    head: String,
    pub(crate) body: String,
    pub(crate) at: tokio::time::Instant,
}

impl Asked {
    pub(crate) fn is_send(&self) -> bool {
        self.method == "POST"
    }

    /// Names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, &str)> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The probe's question for the queue's properties.
    pub(crate) fn is_probe(&self) -> bool {
        self.method == "GET" && self.target.contains("comp=metadata")
    }

    pub(crate) fn is_create(&self) -> bool {
        self.method == "PUT" && !self.target.contains("/messages")
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 201 with the XML that Azure sends.
    Created,
    /// Status, headers and body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// The connection ends without an answer.
    Hang,
    /// Nothing ever comes.
    Stall,
    /// 200, and a body without an end.
    Flood,
}

/// An error as Azure answers it: the code in a header, and a body that nobody wants to see.
pub(crate) fn error(status: u16, code: &str) -> Reply {
    error_with(status, code, Vec::new())
}

pub(crate) fn error_with(status: u16, code: &str, mut headers: Vec<(&'static str, String)>) -> Reply {
    headers.push(("x-ms-error-code", code.to_owned()));
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>a long story\n\
         RequestId:1</Message></Error>"
    );
    Reply::Say(status, headers, body)
}

/// The queue is there, with so many messages in it.
pub(crate) fn there(count: u64) -> Reply {
    Reply::Say(200, vec![("x-ms-approximate-messages-count", count.to_string())], String::new())
}

pub(crate) struct Double {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Double {
    /// `reply` is given each request, and how many came before it.
    pub(crate) async fn start(reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_over(None, reply).await
    }

    /// The same over TLS.
    pub(crate) async fn start_over(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, reply) = (asked.clone(), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, reply, tls) = (log.clone(), reply.clone(), tls.clone());
                tokio::spawn(async move {
                    let _ = match tls {
                        None => serve(stream, &log, &*reply).await,
                        Some(tls) => serve(tls.accept(stream).await?, &log, &*reply).await,
                    };
                    std::io::Result::Ok(())
                });
            }
        });
        Self { port, asked }
    }

    /// A connection string with a made-up key.
    pub(crate) fn url(&self) -> String {
        format!("AccountName=acme;AccountKey={KEY};QueueEndpoint=http://127.0.0.1:{}/acme", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn sends(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(Asked::is_send).collect()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: &Mutex<Vec<Asked>>,
    reply: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(asked) = read(&mut stream, &mut buffer).await? {
        let before = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        let (status, headers, body) = match reply(&asked, before) {
            Reply::Created => (201, Vec::new(), created()),
            Reply::Say(status, headers, body) => (status, headers, body),
            Reply::Hang => return Ok(()),
            Reply::Stall => return std::future::pending().await,
            Reply::Flood => return flood(stream).await,
        };
        let mut head = format!("HTTP/1.1 {status} said\r\n");
        let cut_off = headers.iter().any(|(name, _)| *name == "content-length");
        if !cut_off && status != 204 {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
        if cut_off {
            return Ok(());
        }
    }
    Ok(())
}

/// Until the other side has had enough.
async fn flood(mut stream: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 said\r\ncontent-length: 1000000000000\r\n\r\n").await?;
    loop {
        stream.write_all(&[b' '; 65_536]).await?;
    }
}

fn created() -> String {
    "\u{feff}<?xml version=\"1.0\"?><QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage>\
     </QueueMessagesList>"
        .into()
}

/// One request; `None` at the end of the connection.
async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> std::io::Result<Option<Asked>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
                buffer.drain(..end + 4 + length);
                let mut words = head.split_whitespace().map(str::to_owned);
                let (method, target) = (words.next().unwrap(), words.next().unwrap());
                return Ok(Some(Asked { method, target, head, body, at: tokio::time::Instant::now() }));
            }
        }
        let read = stream.read_buf(buffer).await?;
        if read == 0 {
            return Ok(None);
        }
    }
}

/// Between two requests, in whole milliseconds.
pub(crate) fn between(earlier: &Asked, later: &Asked) -> Duration {
    later.at.duration_since(earlier.at)
}
