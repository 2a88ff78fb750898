//! The backend against a real RabbitMQ. A broker takes eight seconds to start, so tests that don't hurt each
//! other share one: each `#[tokio::test]` is one broker, and runs scenarios with names of their own.

#![allow(clippy::unwrap_used, reason = "helpers and scenarios are part of tests")]

mod cuts;
mod dead;
mod outages;
mod publishing;
mod raw;
mod support;
mod tls;
mod working;
