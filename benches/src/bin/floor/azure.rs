//! Azure Storage Queue: sent in base64, as its consumers expect, and its 201 awaited.

use azure_core::http::{ClientOptions, RetryOptions, Url};
use azure_storage_queue::models::QueueMessage;
use azure_storage_queue::{QueueClient, QueueClientOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::Failure;

pub(crate) struct Queue(QueueClient);

impl Queue {
    pub(crate) fn connect(url: &str) -> Result<Self, Failure> {
        let client_options = ClientOptions { retry: RetryOptions::none(), ..ClientOptions::default() };
        let options = QueueClientOptions { client_options, ..QueueClientOptions::default() };
        Ok(Self(QueueClient::new(Url::parse(url)?, None, Some(options))?))
    }

    pub(crate) async fn put(&self, body: Bytes) -> Result<(), Failure> {
        let message = QueueMessage { message_text: Some(BASE64.encode(&body)) };
        self.0.send_message(message.try_into()?, None).await?;
        Ok(())
    }
}
