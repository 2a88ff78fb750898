//! The backend against a real Azurite, and against a double for the faults that it doesn't have.

#![allow(clippy::unwrap_used, reason = "a test's helpers are part of it")]

mod credentials;
mod dead;
mod double;
mod entra;
mod faults;
mod publish;
mod secrets;
mod signature;
mod support;
mod work;
