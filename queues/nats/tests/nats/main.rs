//! The backend against real NATS servers.

#![allow(clippy::unwrap_used)]

mod publish;
mod support;
