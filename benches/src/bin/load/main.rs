//! Sends signed webhooks as GitHub does, and prints as one line of JSON what came of it.
//!
//! One thread and no runtime: it shares the machine with what it measures.

mod connection;
mod histogram;
mod process;
mod run;
mod webhook;

use std::error::Error;
use std::net::SocketAddr;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sluiced_benches::bounds;

#[derive(Parser)]
#[command(about = "Sends signed webhooks as GitHub does; prints one line of JSON")]
pub(crate) struct Flags {
    /// Where the server listens
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, default_value = "/api/webhooks/incoming/github")]
    path: String,
    #[arg(long)]
    secret: String,
    /// Signs with another secret: all are to be refused
    #[arg(long)]
    forge: bool,
    /// Bytes of a body
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Keep-alive connections, each with one webhook at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=bounds::CONNECTIONS_MAX))]
    connections: u16,
    /// Webhooks a second, at even times; latencies count from those. Without it each connection sends as soon as
    /// it has its answer
    #[arg(long)]
    rate: Option<u64>,
    /// Not measured, before the rest
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// The server, whose processor time and memory are measured
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    if !(0.0..=bounds::SECONDS_MAX as f64).contains(&(flags.warm_up + flags.seconds)) {
        return Err(format!("--seconds: at most {} in all", bounds::SECONDS_MAX).into());
    }
    if flags.rate == Some(0) {
        return Err("--rate: at least 1".into());
    }
    raise_open_files(u64::from(flags.connections) + bounds::OTHER_FILES)?;
    let report = run::run(&flags)?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn raise_open_files(wanted: u64) -> Result<(), Box<dyn Error>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
            .map_err(|error| format!("{wanted} open files are needed: {error}; see `ulimit -n`"))?;
    }
    Ok(())
}
