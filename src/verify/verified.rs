//! The proof that a delivery was verified: only this module's parent can make one.

use std::sync::Arc;

use super::admission::Reply;
use super::events::Event;
use super::mask::Mask;
use crate::delivery::Delivery;

/// A verified delivery and what it says of itself.
#[derive(Clone, Debug)]
pub struct Verified {
    delivery: Delivery,
    actions: Vec<String>,
    delivery_id: Option<String>,
    masks: Arc<[Mask]>,
    scheme: Arc<str>,
    acknowledgement: Reply,
}

/// By what it was accepted, and what that is answered with.
pub(super) struct Accepted {
    pub(super) scheme: Arc<str>,
    pub(super) acknowledgement: Reply,
}

impl Verified {
    pub(super) fn new(delivery: Delivery, event: Event, masks: Arc<[Mask]>, by: Accepted) -> Self {
        let Accepted { scheme, acknowledgement } = by;
        let Event { actions, delivery_id } = event;
        Self { delivery, actions, delivery_id, masks, scheme, acknowledgement }
    }

    /// The answer once it is durable.
    pub fn acknowledgement(&self) -> &Reply {
        &self.acknowledgement
    }

    /// The request, as received.
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The request, by value.
    pub fn into_delivery(self) -> Delivery {
        self.delivery
    }

    /// The events' names; empty when there are none.
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    /// The provider's id of the delivery.
    pub fn delivery_id(&self) -> Option<&str> {
        self.delivery_id.as_deref()
    }

    /// Where credentials are, for [`super::mask()`].
    pub fn masks(&self) -> &[Mask] {
        &self.masks
    }

    /// The scheme that accepted it.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }
}
