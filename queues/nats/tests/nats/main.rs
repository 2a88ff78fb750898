//! The backend against real NATS servers.

#![allow(clippy::unwrap_used)]

mod dead;
mod faults;
mod login;
mod publish;
mod streams;
mod support;
mod work;
