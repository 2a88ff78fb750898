//! One queue of the account: a method per operation, each with a deadline, each error a [`Fault`].

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::RequestContent;
use azure_storage_queue::models::{
    QueueClientGetPropertiesResultHeaders, QueueClientSendMessageOptions, QueueMessage,
};
use azure_storage_queue::{QueueClient, QueueServiceClient, QueueServiceClientOptions};
use bytes::Bytes;

use crate::account::{Account, Proof};
use crate::entra;
use crate::fault::{Fault, Kind};
use crate::options::{Options, OptionsError};
use crate::shared_key::SharedKeyPolicy;
use crate::transport::{self, Proxies};

/// Azure's word for "never": the default would be seven days, and then the message is gone.
const NEVER_EXPIRES: i32 = -1;

/// The queues of one account, over one pool of connections.
pub(crate) struct Service {
    client: QueueServiceClient,
    /// Host and port, for the log.
    pub(crate) address: String,
}

impl Service {
    pub(crate) fn new(options: &Options) -> Result<Self, OptionsError> {
        let account = Account::parse(&options.url)?;
        let proxies = if account.is_loopback() { Proxies::None } else { Proxies::OfEnvironment };
        let mut client_options = transport::client_options(options.concurrency, proxies)?;
        let mut credential = None;
        match &account.proof {
            Proof::SharedKey(name, key) => {
                client_options.per_try_policies.push(Arc::new(SharedKeyPolicy::new(name.clone(), key)));
            }
            Proof::Sas(_) => {}
            Proof::Entra => credential = Some(entra::credential(options, &account.endpoint)?),
        }
        let settings = QueueServiceClientOptions { client_options, ..QueueServiceClientOptions::default() };
        let client = QueueServiceClient::new(account.service_url(), credential, Some(settings))
            .map_err(|error| OptionsError(format!("the queue's url: {}", Fault::from(error).text)))?;
        Ok(Self { client, address: account.address() })
    }

    pub(crate) fn queue(&self, name: &str) -> Result<Queue, OptionsError> {
        let client = self.client.queue_client(name);
        let client = client.map_err(|error| OptionsError(Fault::from(error).text))?;
        Ok(Queue { client, name: name.to_owned() })
    }
}

/// One queue.
pub(crate) struct Queue {
    client: QueueClient,
    pub(crate) name: String,
}

impl Queue {
    /// Adds a message for ever. `Ok` means 201 Created: Azure has stored it three times at least.
    pub(crate) async fn send(&self, body: Bytes, within: Duration) -> Result<(), Fault> {
        let settings = QueueClientSendMessageOptions {
            message_time_to_live: Some(NEVER_EXPIRES),
            ..QueueClientSendMessageOptions::default()
        };
        let content: RequestContent<QueueMessage, _> = body.into();
        // The client takes nothing but 201 for success.
        in_time(within, self.client.send_message(content, Some(settings))).await.map(drop)
    }

    /// How many messages there are, those not included that are just being added or taken away.
    pub(crate) async fn count(&self, within: Duration) -> Result<u64, Fault> {
        let response = in_time(within, self.client.get_properties(None)).await?;
        let count = response.approximate_messages_count()?;
        // Its absence would read as an empty queue.
        let count = count.ok_or_else(|| Fault::new(Kind::ServerError, "the answer has no count".into()))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Creates the queue; fine if somebody else just did.
    pub(crate) async fn create(&self, within: Duration) -> Result<(), Fault> {
        match in_time(within, self.client.create(None)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == Kind::QueueExists => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

async fn in_time<T>(
    within: Duration,
    call: impl Future<Output = azure_core::Result<T>> + Send,
) -> Result<T, Fault> {
    match tokio::time::timeout(within, Box::pin(call)).await {
        Ok(answer) => answer.map_err(Fault::from),
        Err(_) => Err(Fault::late(within)),
    }
}
