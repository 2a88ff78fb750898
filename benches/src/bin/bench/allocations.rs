//! Allocations per webhook, counted by a library that is loaded before the C library's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::measure::{Amount, Extras, Site, Who};
use crate::results::{Allocated, Allocations};

const SOURCE: &str = "allocations.c";

/// Counts those of both under the load of `amount`. What a start and connections cost is in it, and is little in
/// tens of thousands of webhooks.
pub(crate) async fn count(site: &Site<'_>, amount: &Amount) -> Result<Allocations, Failure> {
    let library = compile(&site.programs.dir)?;
    let floor = run(site, Who::Floor, amount, &library).await?;
    let daemon = run(site, Who::Daemon, amount, &library).await?;
    println!(
        "{:16} {:>7} allocations per webhook: floor {:.1} ({:.0} bytes), sluiced {:.1} ({:.0} bytes)",
        site.backend.name(),
        amount.size,
        floor.count,
        floor.bytes,
        daemon.count,
        daemon.bytes
    );
    Ok(Allocations { backend: site.backend, size: amount.size, floor, daemon })
}

async fn run(site: &Site<'_>, who: Who, amount: &Amount, library: &Path) -> Result<Allocated, Failure> {
    site.broker.empty().await?;
    let dir = site.programs.fresh_dir()?;
    let counters = dir.path().join("allocations");
    std::fs::write(&counters, [0; 16])?;
    let extras = Extras {
        variables: vec![("LD_PRELOAD", library.to_owned()), ("ALLOCATIONS_FILE", counters.clone())],
        ..Extras::default()
    };
    let server = site.start(who, dir.path(), &extras).await?;
    let before = read(&counters)?;
    let report = site.load(&server, amount).await?;
    let after = read(&counters)?;
    server.stop().await?;
    if after.0 == before.0 {
        return Err("no allocation was counted: the server isn't linked with the C library's malloc".into());
    }
    let each = |before: u64, after: u64| (after - before) as f64 / report.answered_in_all.max(1) as f64;
    Ok(Allocated { count: each(before.0, after.0), bytes: each(before.1, after.1) })
}

fn read(counters: &Path) -> Result<(u64, u64), Failure> {
    let bytes = std::fs::read(counters)?;
    let number =
        |at: usize| -> Result<u64, Failure> { Ok(u64::from_ne_bytes(bytes[at..at + 8].try_into()?)) };
    Ok((number(0)?, number(8)?))
}

fn compile(into: &Path) -> Result<PathBuf, Failure> {
    let library = into.join("allocations.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).args([&library, &source]);
    let output =
        cc.output().map_err(|error| format!("cc can't be started, which compiles {SOURCE}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{SOURCE}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(library)
}
