//! The least code that does a webhook's step: takes it, verifies it, makes it durable, answers. What the daemon
//! costs over that is the daemon's own.
//!
//! hyper on the runtime that the daemon has, one HMAC, the same client libraries, nothing else: no bounds, no
//! deadlines, no message, no log, no metrics. Not for use.

mod append;
mod azure;
mod nats;
mod rabbitmq;
mod sink;
mod sqlite;
mod writer;

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::hmac;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sluiced_benches::{bounds, github};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use sink::Sink;

#[derive(Parser)]
#[command(about = "The least code that takes a webhook of GitHub's and makes it durable")]
struct Flags {
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[arg(long)]
    secret: String,
    #[command(subcommand)]
    durable: Durable,
}

/// What happens to a verified body.
#[derive(Subcommand)]
enum Durable {
    /// Nothing: it is verified, and answered
    None,
    /// A plain file: one thread, one write and one fdatasync for all that wait
    Append { file: PathBuf },
    /// SQLite: one thread, one transaction for all that wait
    Sqlite { file: PathBuf },
    /// JetStream's acknowledgement
    Nats { url: String, subject: String },
    /// RabbitMQ's confirmation, on channels with one message in flight each
    Rabbitmq {
        url: String,
        queue: String,
        #[arg(long, default_value_t = bounds::RABBITMQ_CHANNELS)]
        channels: u16,
    },
    /// RabbitMQ's confirmation, on one channel for all, which isn't safe (see queues/rabbitmq/README.md)
    RabbitmqShared { url: String, queue: String },
    /// Azure Storage Queue's 201; the URL is the queue's, with a SAS
    Azure { url: String },
}

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: Flags) -> Result<(), Failure> {
    let sink = match flags.durable {
        Durable::None => Sink::None,
        Durable::Append { file } => Sink::Writer(writer::start(append::Plain::create(&file)?)),
        Durable::Sqlite { file } => Sink::Writer(writer::start(sqlite::Table::create(&file)?)),
        Durable::Nats { url, subject } => Sink::Nats(nats::Stream::connect(&url, subject).await?),
        Durable::Rabbitmq { url, queue, channels } => {
            Sink::RabbitMq(rabbitmq::Pool::connect(&url, &queue, channels).await?)
        }
        Durable::RabbitmqShared { url, queue } => {
            Sink::RabbitMqShared(rabbitmq::Shared::connect(&url, &queue).await?)
        }
        Durable::Azure { url } => Sink::Azure(azure::Queue::connect(&url)?),
    };
    let shared = Arc::new((github::key(&flags.secret), sink));
    let listener = TcpListener::bind(flags.listen).await?;
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &shared.0, &shared.1));
            // A sender that hangs up isn't our concern.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    key: &hmac::Key,
    sink: &Sink,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let status = match body.collect().await.map(|body| body.to_bytes()) {
        Err(_) => StatusCode::BAD_REQUEST,
        Ok(body) => match head.headers.get(github::SIGNATURE) {
            Some(value) if github::verify(key, &body, value.as_bytes()) => match sink.put(body).await {
                Ok(()) => StatusCode::OK,
                Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            _ => StatusCode::UNAUTHORIZED,
        },
    };
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
