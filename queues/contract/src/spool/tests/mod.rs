//! The decorator against a broker that does what it is told, and a store in memory: faults that real ones
//! don't produce on demand.

mod acknowledging;
mod doubles;
mod draining;
mod routes;
mod stopping;
