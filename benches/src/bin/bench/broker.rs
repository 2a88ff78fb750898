//! The broker behind daemon and floor, and its emptying between runs.

use async_nats::jetstream;
use aws_lc_rs::hmac;
use azure_core::http::Url;
use azure_storage_queue::QueueClient;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lapin::options::{QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sluiced_benches::bounds;
use sluiced_test_brokers::azurite::{ACCOUNT, ACCOUNT_KEY};
use sluiced_test_brokers::{Azurite, Nats, RabbitMq};
use tokio::time::{Instant, sleep, timeout};

use crate::Failure;
use crate::backend::Backend;

/// Destinations as the daemon names them.
const STREAM: &str = "WEBHOOKS";
const QUEUE: &str = "webhooks";

/// A private instance, gone with this value.
pub(crate) enum Broker {
    None,
    Nats(Nats),
    RabbitMq(RabbitMq),
    Azurite(Azurite),
}

impl Broker {
    pub(crate) async fn start(backend: Backend) -> Result<Self, Failure> {
        Ok(match backend {
            Backend::Refuse | Backend::Embedded | Backend::EmbeddedSqlite | Backend::Spool => Self::None,
            Backend::Nats => Self::Nats(Nats::start().await),
            Backend::Rabbitmq | Backend::RabbitmqShared => Self::RabbitMq(RabbitMq::start().await),
            Backend::Azure => Self::Azurite(Azurite::start().await),
        })
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Nats(nats) => nats.url(),
            Self::RabbitMq(rabbitmq) => rabbitmq.url(),
            Self::Azurite(azurite) => format!("http://{}/{ACCOUNT}?{}", azurite.address(), sas()),
        }
    }

    /// Waits for the daemon to have declared its destination.
    pub(crate) async fn wait_for_destination(&self) -> Result<(), Failure> {
        let until = Instant::now() + bounds::START_DEADLINE;
        loop {
            match self.empty().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => sleep(bounds::POLL).await,
            }
        }
    }

    /// Takes all messages away, so that every run begins with none.
    pub(crate) async fn empty(&self) -> Result<(), Failure> {
        match self {
            Self::None => Ok(()),
            Self::Nats(nats) => timeout(bounds::CALL_DEADLINE, purge_stream(&nats.url())).await?,
            Self::RabbitMq(rabbitmq) => timeout(bounds::CALL_DEADLINE, purge_queue(&rabbitmq.url())).await?,
            Self::Azurite(_) => timeout(bounds::CALL_DEADLINE, clear(&self.url())).await?,
        }
    }
}

async fn purge_stream(url: &str) -> Result<(), Failure> {
    let context = jetstream::new(async_nats::connect(url).await?);
    context.get_stream(STREAM).await?.purge().await?;
    Ok(())
}

async fn purge_queue(url: &str) -> Result<(), Failure> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), passive, FieldTable::default()).await?;
    channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

async fn clear(url: &str) -> Result<(), Failure> {
    let url = Url::parse(&url.replacen('?', &format!("/{QUEUE}?"), 1))?;
    QueueClient::new(url, None, None)?.clear(None).await?;
    Ok(())
}

/// A shared access signature for the account's queues: what a client can use without a signature for each request.
/// <https://learn.microsoft.com/rest/api/storageservices/create-account-sas>
fn sas() -> String {
    let (permissions, services, types, ends) = ("rwdlacup", "q", "sco", "2099-01-01T00:00:00Z");
    let (protocols, version) = ("https,http", "2019-12-12");
    let text = format!("{ACCOUNT}\n{permissions}\n{services}\n{types}\n\n{ends}\n\n{protocols}\n{version}\n");
    let key = BASE64.decode(ACCOUNT_KEY).expect("the account's key is in base64");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
    let signature = BASE64.encode(tag).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!(
        "sv={version}&ss={services}&srt={types}&sp={permissions}&se={ends}&spr={protocols}&sig={signature}"
    )
}
