//! Runs the daemon and its floor in turns, on real brokers, and compares them. `benches/run` builds and calls this.

mod backend;
mod broker;
mod measure;
mod results;
mod server;
mod table;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use sluiced_benches::bounds;

use backend::Backend;
use broker::Broker;
use measure::{Load, Programs};
use results::{Cell, Results};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Parser)]
#[command(
    name = "benches/run",
    about = "What a webhook costs, beside the least code that does the same",
    after_help = "Examples:\n  benches/run\n  benches/run --only nats --size 1024 --pairs 5 --seconds 4\n  \
                  benches/run --only embedded,refuse --rate 1000,5000\n  \
                  benches/run --only rabbitmq --daemon some/other/sluiced"
)]
struct Flags {
    /// What to compare; without it all but the two with another floor
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Backend>,
    /// Bytes of a body
    #[arg(long, value_delimiter = ',', default_value = "1024")]
    size: Vec<usize>,
    /// Webhooks a second, evenly sent; without it each connection sends as soon as it has its answer
    #[arg(long, value_delimiter = ',')]
    rate: Vec<u64>,
    /// Keep-alive connections [default: 64, and 256 with --rate]
    #[arg(long)]
    connections: Option<u16>,
    /// Runs of each, daemon and floor in turns, each first in every second pair
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Measured in each run, after a second that isn't
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Another daemon than the one that was just built
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Where the figures go, as JSON [default: bench/results.json in the target directory]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Flags {
    fn backends(&self) -> Vec<Backend> {
        if self.only.is_empty() { Backend::USUAL.to_vec() } else { self.only.clone() }
    }

    fn loads(&self) -> Vec<Load> {
        let closed = Load { connections: self.connections.unwrap_or(bounds::CONNECTIONS_CLOSED), rate: None };
        if self.rate.is_empty() {
            return vec![closed];
        }
        let connections = self.connections.unwrap_or(bounds::CONNECTIONS_OPEN);
        self.rate.iter().map(|rate| Load { connections, rate: Some(*rate) }).collect()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let flags = Flags::parse();
    let programs = Programs::find(flags.daemon.clone())?;
    let out = flags.out.clone().unwrap_or_else(|| programs.dir.join("results.json"));
    let mut results = Results::here();
    for backend in flags.backends() {
        let broker = Broker::start(backend).await?;
        measure::declare(&programs, backend, &broker).await?;
        for &size in &flags.size {
            for load in flags.loads() {
                let mut pairs = Vec::new();
                for turn in 0..flags.pairs {
                    pairs.push(
                        measure::pair(&programs, (backend, &broker), (size, load, flags.seconds), turn)
                            .await?,
                    );
                }
                let cell = Cell { backend, size, load, pairs };
                table::print_row(&cell, results.cells.is_empty());
                results.cells.push(cell);
            }
        }
    }
    std::fs::write(&out, serde_json::to_string_pretty(&results)?)?;
    eprintln!("figures: {}", out.display());
    Ok(())
}
