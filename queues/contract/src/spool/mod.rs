//! The spool: local disk in front of a broker, so that a webhook is acknowledged in milliseconds while the
//! broker is slow, blocked, frozen, restarting or gone. In reading order:
//!
//! * [`bounds`]: every limit, with its reason.
//! * [`options`]: what the daemon may choose.
//! * [`store`]: [`SpoolStore`], what the spool needs of a disk.
//! * [`spooled`]: [`Spooled`], the decorator: how one message becomes durable.
//! * `broker`: what is known of the broker from how it answers; `outage`: the log's few lines about it.
//! * `late`: publishes that outlive their webhook's answer.
//! * `drain`: entries on their way to the broker; `window`: those that it knows; `pace`: how many at a time;
//!   `routes`: those that the broker refuses.
//! * [`status`]: all of it for `/readyz` and `/metrics`.

pub mod bounds;
pub mod options;
pub mod spooled;
pub mod status;
pub mod store;

mod broker;
mod drain;
mod late;
mod outage;
mod pace;
mod routes;
mod window;

pub use options::{Ack, SpoolOptions};
pub use spooled::Spooled;
pub use status::{Counts, Left, Status};
pub use store::{Claimed, SpoolStore};

#[cfg(test)]
mod tests;
