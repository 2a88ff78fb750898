//! Narrows a handler to what its configuration says: order, receiver, id, actions.

use async_trait::async_trait;

use super::{HandlerError, WebHookHandler, WebHookHandlerContext};

/// Which webhooks a configured handler wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Only this receiver's, whatever the case; `None` is all.
    pub receiver: Option<String>,
    /// Only this id's, whatever the case; `None` is all.
    pub id: Option<String>,
    /// Only those with one of these actions; `None` is all.
    pub actions: Option<Vec<String>>,
}

impl Narrowing {
    /// Whether every webhook of a receiver is wanted, whatever its actions.
    pub fn wants_all_of(&self, receiver: &str, id: &str) -> bool {
        self.actions.is_none() && self.wants_receiver(receiver, id)
    }

    fn wants_receiver(&self, receiver: &str, id: &str) -> bool {
        self.receiver.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(receiver))
            && self.id.as_ref().is_none_or(|wanted| wanted.to_lowercase() == id.to_lowercase())
    }

    fn wants(&self, context: &WebHookHandlerContext) -> bool {
        let any = |wanted: &Vec<String>| wanted.iter().any(|action| context.actions.contains(action));
        self.wants_receiver(&context.receiver, &context.id) && self.actions.as_ref().is_none_or(any)
    }
}

/// A handler at a configured order, for some webhooks only.
pub struct Narrowed<H> {
    order: i32,
    narrowing: Narrowing,
    handler: H,
}

impl<H> Narrowed<H> {
    /// Puts a handler in its place.
    pub fn new(order: i32, narrowing: Narrowing, handler: H) -> Self {
        Self { order, narrowing, handler }
    }
}

#[async_trait]
impl<H: WebHookHandler> WebHookHandler for Narrowed<H> {
    fn order(&self) -> i32 {
        self.order
    }

    fn receiver(&self) -> Option<&str> {
        self.narrowing.receiver.as_deref()
    }

    async fn execute(&self, receiver: &str, context: &mut WebHookHandlerContext) -> Result<(), HandlerError> {
        if !self.narrowing.wants(context) {
            return Ok(());
        }
        self.handler.execute(receiver, context).await
    }
}
