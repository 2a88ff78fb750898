//! What is printed: a row as soon as it has been measured.

use crate::results::{Cell, Pair, cpu};

pub(crate) fn print_heading() {
    println!(
        "{:16} {:>7} {:>9} | {:>8} {:>8} {:>19} {:>5} | {:>8} {:>9} | {:>22} {:>22} | {:>11} | {:>5} {:>7}",
        "",
        "body",
        "load",
        "floor µs",
        "sluiced",
        "ratio (range)",
        "goal",
        "floor/s",
        "sluiced/s",
        "floor p50 p99 p99.9 ms",
        "sluiced p50 p99 p99.9",
        "peak MiB",
        "wrong",
        "spooled"
    );
}

pub(crate) fn print_row(cell: &Cell) {
    let load = cell.load.rate.map_or(format!("{} conns", cell.load.connections), |rate| format!("{rate}/s"));
    let (ratio, least, greatest) = cell.ratio();
    let goal = cell.backend.goal().map_or(String::new(), |goal| format!("{goal:.1}"));
    let ms = |of: fn(&Pair) -> [f64; 3]| {
        let each: Vec<String> =
            (0..3).map(|at| format!("{:.2}", cell.median(|pair| of(pair)[at]) / 1e3)).collect();
        each.join(" ")
    };
    let mib = |of: fn(&Pair) -> Option<u64>| cell.median(|pair| of(pair).unwrap_or(0) as f64 / 1_048_576.0);
    println!(
        "{:16} {:>7} {:>9} | {:>8.1} {:>8.1} {:>19} {:>5} | {:>8.0} {:>9.0} | {:>22} {:>22} | {:>5.0} {:>5.0} | {:>5} {:>7.0}",
        cell.backend.name(),
        cell.size,
        load,
        cell.median(|pair| cpu(&pair.floor)),
        cell.median(|pair| cpu(&pair.daemon)),
        format!("{ratio:.2} ({least:.2}-{greatest:.2})"),
        goal,
        cell.median(|pair| pair.floor.per_second),
        cell.median(|pair| pair.daemon.per_second),
        ms(|pair| [pair.floor.p50_us, pair.floor.p99_us, pair.floor.p999_us]),
        ms(|pair| [pair.daemon.p50_us, pair.daemon.p99_us, pair.daemon.p999_us]),
        mib(|pair| pair.floor.resident_peak_bytes),
        mib(|pair| pair.daemon.resident_peak_bytes),
        cell.wrong(),
        cell.median(|pair| pair.spooled as f64),
    );
}
