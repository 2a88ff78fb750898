//! The backend against real NATS servers.

#![allow(clippy::unwrap_used)]

mod dead;
mod faults;
mod publish;
mod support;
mod work;
