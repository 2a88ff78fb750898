//! The store as its users see it: real files, and real processes where it says so.
#![allow(clippy::unwrap_used, reason = "allowed in tests, and these are their helpers")]

mod child;
mod common;
mod shim;

mod appending;
mod backlog;
mod damage;
mod deduping;
mod faults;
mod headers;
mod killing;
mod leasing;
mod model;
mod opening;
mod partitions;
mod power;
mod sharing;
mod spooling;
mod stopping;
mod syncing;
mod upgrading;
