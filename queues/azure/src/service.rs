//! One queue of the account: a method per operation, each with a deadline, each error a [`Fault`].

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::RequestContent;
use azure_core::http::headers::HeaderName;
use azure_core::time::OffsetDateTime;
use azure_storage_queue::models::{
    QueueClientGetPropertiesResultHeaders, QueueClientPeekMessagesOptions, QueueClientReceiveMessagesOptions,
    QueueClientSendMessageOptions, QueueClientUpdateMessageOptions, QueueMessage,
};
use azure_storage_queue::{QueueClient, QueueServiceClient, QueueServiceClientOptions};
use bytes::Bytes;
use jiff::Timestamp;

use crate::account::{Account, Proof};
use crate::fault::{Fault, Kind};
use crate::options::{Options, OptionsError};
use crate::shared_key::SharedKeyPolicy;
use crate::transport::{self, Proxies};
use crate::{bounds, entra};

/// Azure's word for "never": the default would be seven days, and then the message is gone.
const NEVER_EXPIRES: i32 = -1;

/// Stands in the answer to a send.
const STORED: &[u8] = b"<MessageId>";

/// The version of the service that is asked for. All that is needed is in it, and an Azurite refuses each that is
/// younger than itself, such as the client's own.
const SERVICE_VERSION: &str = "2021-12-02";

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
        let settings = QueueServiceClientOptions { client_options, version: SERVICE_VERSION.into() };
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

/// A message that was taken, until its visibility time-out.
pub(crate) struct Taken {
    /// Azure's own id of it.
    pub(crate) id: String,
    /// Proves that it is in our hands.
    pub(crate) receipt: String,
    pub(crate) text: String,
    pub(crate) dequeued: u32,
    pub(crate) inserted: Timestamp,
}

/// A message that was looked at.
pub(crate) struct Peeked {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) inserted: Timestamp,
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
        // The client takes nothing but 201 for success. Azure names the message that it stored; who doesn't is
        // somebody else on the way, and knows of no queue.
        let answer = in_time(within, self.client.send_message(content, Some(settings))).await?;
        let named = answer.into_body().windows(STORED.len()).any(|part| part == STORED);
        named.then_some(()).ok_or_else(unreadable)
    }

    /// How many messages there are, those not included that are just being added or taken away.
    pub(crate) async fn count(&self, within: Duration) -> Result<u64, Fault> {
        let response = in_time(within, self.client.get_properties(None)).await?;
        let count = response.approximate_messages_count()?;
        // Its absence would read as an empty queue.
        let count = count.ok_or_else(|| Fault::new(Kind::ServerError, "the answer has no count".into()))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Creates the queue, which is known to be missing; fine if somebody else just did.
    pub(crate) async fn create(&self, within: Duration) -> Result<(), Fault> {
        match in_time(within, self.client.create(None)).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == Kind::QueueExists => Ok(()),
            // A SAS for one queue never may, and one for the account only with `c` or `w` in it.
            Err(fault) if fault.kind == Kind::NotPermitted => Err(Fault::new(
                Kind::NoQueue,
                format!("there is no queue {}, and these credentials may not create it", self.name),
            )),
            Err(fault) => Err(fault),
        }
    }

    /// Takes up to `max` messages; nobody else sees them for `visibility` seconds.
    pub(crate) async fn take(
        &self,
        max: usize,
        visibility: i32,
        within: Duration,
    ) -> Result<Vec<Taken>, Fault> {
        let settings = QueueClientReceiveMessagesOptions {
            number_of_messages: Some(page(max)),
            visibility_timeout: Some(visibility),
            ..QueueClientReceiveMessagesOptions::default()
        };
        let answer = in_time(within, self.client.receive_messages(Some(settings))).await?;
        let messages = answer.into_model()?.items.unwrap_or_default().into_iter().map(|message| {
            Some(Taken {
                id: message.message_id?,
                receipt: message.pop_receipt?,
                text: message.message_text.unwrap_or_default(),
                dequeued: u32::try_from(message.dequeue_count?).unwrap_or(u32::MAX),
                inserted: timestamp(message.insertion_time),
            })
        });
        messages.collect::<Option<_>>().ok_or_else(unreadable)
    }

    /// Up to 32 of the visible messages, those that would be taken first, and leaves them there.
    pub(crate) async fn peek(&self, within: Duration) -> Result<Vec<Peeked>, Fault> {
        let settings = QueueClientPeekMessagesOptions {
            number_of_messages: Some(page(bounds::PAGE_MAX)),
            ..QueueClientPeekMessagesOptions::default()
        };
        let answer = in_time(within, self.client.peek_messages(Some(settings))).await?;
        let messages = answer.into_model()?.items.unwrap_or_default().into_iter().map(|message| {
            Some(Peeked {
                id: message.message_id?,
                text: message.message_text.unwrap_or_default(),
                inserted: timestamp(message.insertion_time),
            })
        });
        messages.collect::<Option<_>>().ok_or_else(unreadable)
    }

    /// Nobody else sees a taken message for `visibility` seconds from now; with `body` its text becomes another.
    /// Gives the receipt that is good from now on.
    pub(crate) async fn update(
        &self,
        (id, receipt): (&str, &str),
        visibility: i32,
        body: Option<Bytes>,
        within: Duration,
    ) -> Result<String, Fault> {
        const RECEIPT: HeaderName = HeaderName::from_static("x-ms-popreceipt");
        let settings = QueueClientUpdateMessageOptions {
            queue_message: body.map(Into::into),
            ..QueueClientUpdateMessageOptions::default()
        };
        let call = self.client.update_message(id, receipt, visibility, Some(settings));
        let answer = in_time(within, call).await?;
        answer.headers().get_optional_string(&RECEIPT).ok_or_else(unreadable)
    }

    /// Deletes a taken message.
    pub(crate) async fn delete(&self, (id, receipt): (&str, &str), within: Duration) -> Result<(), Fault> {
        in_time(within, self.client.delete_message(id, receipt, None)).await.map(drop)
    }
}

/// As many as one request can ask for.
fn page(max: usize) -> i32 {
    i32::try_from(max.clamp(1, bounds::PAGE_MAX)).expect("a page is small")
}

/// Azure gives whole seconds.
fn timestamp(at: Option<OffsetDateTime>) -> Timestamp {
    at.and_then(|at| Timestamp::from_second(at.unix_timestamp()).ok()).unwrap_or_default()
}

fn unreadable() -> Fault {
    Fault::new(Kind::ServerError, "the answer lacks what Azure gives with every message".into())
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
