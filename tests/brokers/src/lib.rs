//! Real brokers for tests, each a private instance on ports and in a directory of its own, gone with the
//! value that started it. In reading order:
//!
//! * [`bounds`]: every limit, with its reason.
//! * [`RabbitMq`], [`Nats`], [`Azurite`]: start, kill, restart, freeze, thaw, stop.
//! * [`Proxy`]: stands between a client and a broker, and cuts, stalls, delays or throttles what flows.
//! * [`until`]: waits for a condition, with a deadline.
//! * [`Process`]: a child that can't outlive its test. `ports`: ports that no two tests share. `programs`: where
//!   the brokers' programs are; `tests/run` installs them. `socket`: questions that a broker answers once it is up.
//!
//! What goes wrong here is a panic that says what and why: these are tests' own parts.

pub mod azurite;
pub mod bounds;
pub mod nats;
mod ports;
mod process;
mod programs;
pub mod proxy;
pub mod rabbitmq;
mod socket;
mod wait;

pub use azurite::Azurite;
pub use nats::Nats;
pub use ports::Port;
pub use process::Process;
pub use proxy::{Direction, Flow, Proxy};
pub use rabbitmq::RabbitMq;
pub use wait::{until, until_within};
