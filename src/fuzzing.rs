//! The whole path from a connection's bytes to the queue, whatever the bytes: the fuzz target `front_door` runs it,
//! and so does an ordinary test with random ones.

#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use clap::{CommandFactory, FromArgMatches};
use sluiced_queue::{Durable, EnqueueError, Health, Receipt, WebHookQueueContext, WebHookQueueHandler};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::app::{App, Phase};
use crate::cli::{Cli, Command};
use crate::config::{Config, resolve};
use crate::handlers::{Chain, QueueHandler};
use crate::http::budget::Budget;
use crate::http::client::{Client, Origin};
use crate::http::connection;
use crate::http::wire::{Shared, Wire};
use crate::live::{Live, Swap};
use crate::log::Logger;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const BODY: &[u8] = br#"{"the":"signed body"}"#;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Every wait of a connection whose sender is done is far shorter.
const HANG: Duration = Duration::from_secs(20);
/// What the bytes may change in one go.
const EDITS_MAX: usize = 16;

/// Whatever a connection carries, the daemon neither panics nor hangs, and what gets into the queue was signed:
/// that is judged here by an HMAC of its own. The first byte says what the others are: the connection's bytes;
/// frames of HTTP/2; changes to a genuine webhook; a body in place of its own; what stands around it.
pub fn front_door(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let genuine = genuine(BODY);
    let bytes = match kind % 5 {
        0 => rest.to_vec(),
        1 => [PREFACE, rest].concat(),
        2 => edited(genuine, rest),
        3 => [&genuine[..genuine.len() - BODY.len()], rest].concat(),
        _ => {
            let (before, after) = rest.split_at(rest.len() / 2);
            [before, &genuine, after].concat()
        }
    };
    let answers = FRONT.serve(&bytes);
    assert!(!contains(&answers, b"handler_failed"), "a webhook's task panicked");
    for context in FRONT.queue.take() {
        assert!(is_signed(&context), "an unverified body is in the queue: {context:?}");
    }
}

/// A webhook as GitHub would send it.
fn genuine(body: &[u8]) -> Vec<u8> {
    let signature: String = mac(body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let head = format!(
        "POST /api/webhooks/incoming/github HTTP/1.1\r\nHost: t\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: 1\r\n\
         X-Hub-Signature-256: sha256={signature}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Four bytes each: where, and what becomes of it.
fn edited(mut bytes: Vec<u8>, edits: &[u8]) -> Vec<u8> {
    for edit in edits.chunks_exact(4).take(EDITS_MAX) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
        match edit[2] % 5 {
            0 => bytes[at] = edit[3],
            1 => bytes.insert(at, edit[3]),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            3 => bytes.extend_from_within(at..),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

fn mac(body: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body)
}

/// Whether the message has GitHub's signature of its very body.
fn is_signed(context: &WebHookQueueContext) -> bool {
    let expected: String = mac(context.data.bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let mut signatures = context.request.headers.get_all("x-hub-signature-256");
    signatures.any(|value| value.trim().to_ascii_lowercase() == format!("sha256={expected}"))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// Keeps what is put into it.
#[derive(Default)]
struct Kept(Mutex<Vec<WebHookQueueContext>>);

impl Kept {
    fn take(&self) -> Vec<WebHookQueueContext> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl WebHookQueueHandler for Kept {
    async fn enqueue(&self, context: &WebHookQueueContext) -> Result<Receipt, EnqueueError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(context.clone());
        Ok(Receipt::confirmed(Durable::Embedded))
    }

    fn message_bytes_max(&self) -> usize {
        usize::MAX
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    async fn close(&self) {}
}

/// A daemon without a process.
struct Front {
    runtime: Runtime,
    listener: TcpListener,
    app: Arc<App>,
    queue: Arc<Kept>,
}

static FRONT: LazyLock<Front> = LazyLock::new(Front::new);

impl Front {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port of this machine");
        let config = config();
        let nowhere = OpenOptions::new().write(true).open("/dev/null").expect("it is always there");
        let queue = Arc::new(Kept::default());
        let handlers = vec![Box::new(QueueHandler::new(queue.clone())) as _];
        let app = App {
            live: Swap::new(Live::compile(&config).expect("the configuration is good")),
            keys: Default::default(),
            chain: Chain::new(handlers),
            queue: queue.clone(),
            remote: None,
            budget: Budget::new(config.limits.body_memory_bytes_max),
            in_flight: Arc::new(Semaphore::new(config.limits.in_flight_max as usize)),
            limits: config.limits,
            webhooks: Default::default(),
            phase: watch::Sender::new(Phase::Serving),
            logger: Logger::start_on(nowhere, config.log_format, config.log_level),
            quiet: Default::default(),
            summary: Default::default(),
            metrics: Default::default(),
        };
        Self { runtime, listener, app: Arc::new(app), queue }
    }

    /// Serves a connection that says this and no more; gives what was answered.
    fn serve(&self, bytes: &[u8]) -> Vec<u8> {
        let served = self.runtime.block_on(async { timeout(HANG, self.connection(bytes)).await });
        let mut client = served.expect("a connection whose sender is done ends");
        let mut answers = Vec::new();
        // It may have been reset.
        let _ = client.read_to_end(&mut answers);
        answers
    }

    async fn connection(&self, bytes: &[u8]) -> StdStream {
        let address = self.listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let (mut client, (server, peer)): (TcpStream, (TcpStream, SocketAddr)) =
            (client.expect("a connection"), accepted.expect("a connection"));
        let stream = Arc::new(server);
        let from = Client::new(Origin::sender(peer.ip()), &stream);
        let serving = connection::serve(Wire::Plain(Shared::new(stream)), from, self.app.clone());
        let sending = async {
            // It may be refused before all is sent.
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
        };
        tokio::join!(serving, sending);
        while self.app.in_flight.available_permits() < self.app.limits.in_flight_max as usize {
            yield_now().await;
        }
        let client = client.into_std().expect("it is registered");
        client.set_nonblocking(false).expect("it is open");
        client
    }
}

fn config() -> Config {
    let receiver = format!("--receiver=github=text:{SECRET}");
    let matches = Cli::command().get_matches_from(["sluiced", "serve", &receiver]);
    let cli = Cli::from_arg_matches(&matches).expect("the command line is good");
    let Command::Serve(flags) = cli.command else { unreachable!("it serves") };
    let (_, matches) = matches.subcommand().expect("it serves");
    resolve(&flags, matches).expect("the configuration is good")
}
