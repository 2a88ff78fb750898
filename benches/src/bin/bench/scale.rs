//! What a webhook costs as things grow: connections, receivers, bodies, and the queue behind. The daemon with its
//! embedded queue.

use std::fmt::Write;
use std::path::Path;

use crate::Failure;
use crate::backend::Backend;
use crate::broker::Broker;
use crate::measure::{self, Amount, Extras, Programs, Site, Who};
use crate::results::{Axis, Load, Point, Results};
use crate::server::Server;

const CONNECTIONS: [u16; 6] = [1, 16, 64, 256, 1_000, 10_000];
/// More connections than webhooks may be in flight can't all send at once: each of them sends now and then.
const RATE_OF_MANY: u64 = 5_000;
const CONNECTIONS_ALL_AT_ONCE: u16 = 1_000;
const RECEIVERS: [u32; 4] = [1, 100, 1_000, 10_000];
const SIZES: [usize; 7] = [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
const DEPTHS: [u64; 3] = [0, 100_000, 1_000_000];
/// A look at one depth mustn't change it much.
const SECONDS_AT_DEPTH: f64 = 2.0;
/// At most so long to the next depth, in pieces.
const FILL_PIECES_MAX: usize = 60;
const FILL_PIECE_SECONDS: f64 = 5.0;

pub(crate) async fn measure(programs: &Programs, seconds: f64, results: &mut Results) -> Result<(), Failure> {
    let broker = Broker::None;
    let site = Site { programs, backend: Backend::Embedded, broker: &broker };
    for connections in CONNECTIONS {
        let rate = (connections > CONNECTIONS_ALL_AT_ONCE).then_some(RATE_OF_MANY);
        let amount = Amount { load: Load { connections, rate }, seconds, ..Amount::default() };
        put(results, once(&site, Axis::Connections, connections.into(), &amount, &Extras::default()).await?);
    }
    for size in SIZES {
        let amount = Amount { size, seconds, ..Amount::default() };
        put(results, once(&site, Axis::BodyBytes, size as u64, &amount, &Extras::default()).await?);
    }
    for receivers in RECEIVERS {
        put(results, with_receivers(&site, receivers, seconds).await?);
    }
    depth(&site, results).await
}

fn put(results: &mut Results, point: Point) {
    println!(
        "{:12} {:>8}: {:>7.1} µs of CPU at {:>6.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} MiB, started in {:.0} ms",
        point.axis.name(),
        point.x,
        point.report.cpu_us.unwrap_or(f64::NAN),
        point.report.per_second,
        point.report.p50_us / 1e3,
        point.report.p99_us / 1e3,
        point.report.resident_peak_bytes.unwrap_or(0) >> 20,
        point.start_ms,
    );
    results.put_point(point);
}

async fn once(
    site: &Site<'_>,
    axis: Axis,
    x: u64,
    amount: &Amount,
    extras: &Extras,
) -> Result<Point, Failure> {
    let dir = site.programs.fresh_dir()?;
    at(site, (axis, x), amount, (dir.path(), extras)).await
}

async fn at(
    site: &Site<'_>,
    (axis, x): (Axis, u64),
    amount: &Amount,
    (dir, extras): (&Path, &Extras),
) -> Result<Point, Failure> {
    let server = site.start(Who::Daemon, dir, extras).await?;
    let report = site.load(&server, amount).await?;
    let start_ms = server.start_ms();
    server.stop().await?;
    Ok(Point { axis, x, start_ms, report })
}

/// All at one provider, each with an id; the last one has the webhooks.
async fn with_receivers(site: &Site<'_>, receivers: u32, seconds: f64) -> Result<Point, Failure> {
    let dir = site.programs.fresh_dir()?;
    let secret = measure::secret_file(dir.path())?;
    let mut text = String::new();
    for number in 1..=receivers {
        let secret = secret.display();
        write!(
            text,
            "[[receivers]]\nname = \"github\"\nid = \"team-{number}\"\nsecret = {{ file = \"{secret}\" }}\n"
        )?;
    }
    let file = dir.path().join("sluiced.toml");
    std::fs::write(&file, text)?;
    let extras = Extras { flags: vec![format!("--config={}", file.display())], ..Extras::default() };
    let path = format!("/api/webhooks/incoming/github/team-{receivers}");
    let amount = Amount { path, seconds, ..Amount::default() };
    at(site, (Axis::Receivers, receivers.into()), &amount, (dir.path(), &extras)).await
}

/// Fills one queue, and looks at it on the way, each time with a daemon that has just opened it.
async fn depth(site: &Site<'_>, results: &mut Results) -> Result<(), Failure> {
    let dir = site.programs.fresh_dir()?;
    let extras = Extras::default();
    let mut depth = 0;
    for wanted in DEPTHS {
        let server = site.start(Who::Daemon, dir.path(), &extras).await?;
        depth += fill(site, &server, wanted.saturating_sub(depth)).await?;
        server.stop().await?;
        let amount = Amount { seconds: SECONDS_AT_DEPTH, ..Amount::default() };
        let point = at(site, (Axis::Depth, depth), &amount, (dir.path(), &extras)).await?;
        depth += point.report.acknowledged_in_all;
        put(results, point);
    }
    Ok(())
}

/// Sends so many, and a piece more; tells how many it were.
async fn fill(site: &Site<'_>, server: &Server, wanted: u64) -> Result<u64, Failure> {
    let mut sent = 0;
    for _ in 0..FILL_PIECES_MAX {
        if sent >= wanted {
            break;
        }
        let amount = Amount { seconds: FILL_PIECE_SECONDS, warm_up: 0.0, ..Amount::default() };
        sent += site.load(server, &amount).await?.acknowledged_in_all;
    }
    Ok(sent)
}
