//! The handlers that answer: with a response of their own, or with an empty 200 and nothing queued.

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;

use super::{HandlerError, WebHookHandler, WebHookHandlerContext};
use crate::verify::Reply;

/// Sets a configured response, which ends the chain: 410 for a hook that is no longer wanted, a Slack
/// reply, and what else a sender understands.
pub struct Respond {
    reply: Reply,
}

impl Respond {
    /// Responds with this.
    pub fn new(reply: Reply) -> Self {
        Self { reply }
    }

    /// Drops what comes: an empty 200, so that the sender is content, and nothing is queued.
    pub fn dropping() -> Self {
        Self::new(Reply {
            status: StatusCode::OK,
            content_type: None,
            headers: Vec::new(),
            body: Bytes::new(),
        })
    }
}

#[async_trait]
impl WebHookHandler for Respond {
    async fn execute(
        &self,
        _receiver: &str,
        context: &mut WebHookHandlerContext,
    ) -> Result<(), HandlerError> {
        context.response = Some(self.reply.clone());
        Ok(())
    }
}
