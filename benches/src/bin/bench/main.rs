//! Runs the daemon and its floor in turns, on real brokers, and compares them. `benches/run` builds and calls this.
//! In reading order:
//!
//! * `options`: the command line. `backend`: what is compared with what. `broker`, `server`: the processes.
//! * `measure`: pairs of runs. `allocations`, `scale`: other questions to the same programs.
//! * `results`: the figures, as a file. `table`: as they come. `page`, `svg`: as documentation.

mod allocations;
mod backend;
mod broker;
mod measure;
mod options;
mod page;
mod results;
mod scale;
mod server;
mod svg;
mod table;

use std::error::Error;
use std::path::Path;

use clap::Parser;

use broker::Broker;
use measure::{Amount, Programs, Site};
use options::Flags;
use results::{Cell, Results};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let flags = Flags::parse();
    let programs = Programs::find(flags.daemon.clone())?;
    let out = flags.out.clone().unwrap_or_else(|| programs.dir.join("results.json"));
    let mut results = Results::read_or_new(&out)?;
    if !flags.render {
        measure_all(&flags, &programs, &mut results, &out).await?;
    }
    if flags.page || flags.render {
        page::write(&results)?;
    }
    Ok(())
}

/// Keeps each figure as soon as it is there.
async fn measure_all(
    flags: &Flags,
    programs: &Programs,
    results: &mut Results,
    out: &Path,
) -> Result<(), Failure> {
    let compare = flags.page || !(flags.allocations || flags.scale);
    if compare {
        table::print_heading();
    }
    for backend in flags.backends() {
        if !(compare || flags.allocations) {
            break;
        }
        let broker = Broker::start(backend).await?;
        let site = Site { programs, backend, broker: &broker };
        site.declare().await?;
        for (size, load) in flags.amounts(backend) {
            let amount = Amount { size, load, seconds: flags.seconds, ..Amount::default() };
            if compare {
                let mut pairs = Vec::new();
                for turn in 0..flags.pairs {
                    pairs.push(site.pair(&amount, turn).await?);
                }
                let cell = Cell { backend, size, load, pairs };
                table::print_row(&cell);
                results.put(cell);
            }
            if (flags.allocations || flags.page) && load.rate.is_none() {
                results.put_allocations(allocations::count(&site, &amount).await?);
            }
            results.write(out)?;
        }
    }
    if flags.scale || flags.page {
        scale::measure(programs, flags.seconds, results).await?;
        results.write(out)?;
    }
    eprintln!("figures: {}", out.display());
    Ok(())
}
