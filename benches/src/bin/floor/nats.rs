//! JetStream: published, and its acknowledgement awaited.

use async_nats::jetstream::{self, Context};
use bytes::Bytes;

use crate::Failure;

pub(crate) struct Stream {
    context: Context,
    subject: String,
}

impl Stream {
    pub(crate) async fn connect(url: &str, subject: String) -> Result<Self, Failure> {
        let client = async_nats::connect(url).await?;
        Ok(Self { context: jetstream::new(client), subject })
    }

    pub(crate) async fn put(&self, body: Bytes) -> Result<(), Failure> {
        let context = self.context.clone();
        context.publish(self.subject.clone(), body).await?.await?;
        Ok(())
    }
}
