//! The backend against real NATS servers.

#![allow(clippy::unwrap_used)]

mod connection;
mod dead;
mod faults;
mod kept;
mod login;
mod publish;
mod streams;
mod support;
mod work;
