//! The command line, and what it means to measure.

use std::path::PathBuf;

use clap::Parser;
use sluiced_benches::bounds;

use crate::backend::Backend;
use crate::results::Load;

#[derive(Parser)]
#[command(
    name = "benches/run",
    about = "What a webhook costs, beside the least code that does the same",
    after_help = "Examples:\n  benches/run\n  benches/run --only nats --size 1024 --pairs 5 --seconds 4\n  \
                  benches/run --only embedded,refuse --rate 1000,5000\n  \
                  benches/run --only rabbitmq --daemon some/other/sluiced\n  \
                  benches/run --page     (everything, and docs/performance.md from it: about an hour)"
)]
pub(crate) struct Flags {
    /// What to compare; without it all but those with another floor
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
    pub(crate) pairs: usize,
    /// Measured in each run, after a second that isn't
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// Counts allocations instead
    #[arg(long)]
    pub(crate) allocations: bool,
    /// Lets connections, receivers, sizes and depth grow instead
    #[arg(long)]
    pub(crate) scale: bool,
    /// Measures everything that docs/performance.md shows, and writes it
    #[arg(long)]
    pub(crate) page: bool,
    /// Writes docs/performance.md from the figures that are there
    #[arg(long)]
    pub(crate) render: bool,
    /// Another daemon than the one that was just built
    #[arg(long)]
    pub(crate) daemon: Option<PathBuf>,
    /// Where the figures are kept as JSON: new ones replace those of the same comparison
    /// [default: bench/results.json in the target directory]
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

impl Flags {
    pub(crate) fn backends(&self) -> Vec<Backend> {
        match (self.only.is_empty(), self.page) {
            (true, true) => Backend::USUAL.into_iter().chain(Backend::BESIDE_OTHERS).collect(),
            (true, false) => Backend::USUAL.to_vec(),
            (false, _) => self.only.clone(),
        }
    }

    /// Body sizes and loads of a backend.
    pub(crate) fn amounts(&self, backend: Backend) -> Vec<(usize, Load)> {
        if self.page {
            return whole_page(backend);
        }
        self.size.iter().flat_map(|size| self.loads().into_iter().map(|load| (*size, load))).collect()
    }

    fn loads(&self) -> Vec<Load> {
        if self.rate.is_empty() {
            return vec![Load {
                connections: self.connections.unwrap_or(bounds::CONNECTIONS_CLOSED),
                rate: None,
            }];
        }
        let connections = self.connections.unwrap_or(bounds::CONNECTIONS_OPEN);
        self.rate.iter().map(|rate| Load { connections, rate: Some(*rate) }).collect()
    }
}

/// Rates at 1 KiB, and sizes as fast as they go. Azurite is slow, and no message of Azure's is as long as 256 KiB.
fn whole_page(backend: Backend) -> Vec<(usize, Load)> {
    let (rates, sizes): (&[u64], &[usize]) = match backend {
        Backend::Azure => (&[200], &[1 << 10, 10 << 10]),
        Backend::EmbeddedSqlite | Backend::RabbitmqShared => (&[], &[1 << 10]),
        _ => (&[1_000, 5_000, 20_000], &[1 << 10, 10 << 10, 256 << 10]),
    };
    let closed =
        sizes.iter().map(|size| (*size, Load { connections: bounds::CONNECTIONS_CLOSED, rate: None }));
    let open = rates.iter().map(|rate| {
        let load = Load { connections: bounds::CONNECTIONS_OPEN, rate: Some(*rate) };
        (1 << 10, load)
    });
    closed.chain(open).collect()
}
