//! The figures in docs/performance.md, between its markers, and the plots beside it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sluiced_benches::report::Report;

use crate::Failure;
use crate::backend::Backend;
use crate::results::{Axis, Cell, Pair, Point, Results, cpu, wrong};
use crate::svg::{self, Line};

const PAGE: &str = "docs/performance.md";
const PLOTS: &str = "docs/performance";
const SATURATED_SIZE: usize = 1024;

/// Writes what there are figures for; the rest of the page stays as it is.
pub(crate) fn write(results: &Results) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = root.join(PAGE);
    let mut text = fs::read_to_string(&page).map_err(|error| format!("{PAGE}: {error}"))?;
    for (name, figures) in [
        ("machine", machine(results)),
        ("saturated", saturated(results)),
        ("rates", rates(results)),
        ("sizes", sizes(results)),
        ("allocations", allocations(results)),
        ("scale", scale(results)),
    ] {
        text = between_markers(&text, name, &figures)?;
    }
    fs::write(&page, text)?;
    let plots = root.join(PLOTS);
    fs::create_dir_all(&plots)?;
    for (name, plot) in plots_of(results) {
        fs::write(plots.join(format!("{name}.svg")), plot)?;
    }
    eprintln!("written: {PAGE}, {PLOTS}/");
    Ok(())
}

fn between_markers(text: &str, name: &str, figures: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (Some(from), Some(to)) = (text.find(&begin), text.find(&end)) else {
        return Err(format!("{PAGE} has no `{}` and `{end}`", begin.trim_end()).into());
    };
    Ok(format!("{}\n{figures}\n{}", &text[..from + begin.len()], &text[to..]))
}

fn machine(results: &Results) -> String {
    let Results { cpu, cores, kernel, at, .. } = results;
    let kernel = kernel.split('-').next().unwrap_or_default();
    let date = jiff::Timestamp::from_second(i64::try_from(*at).unwrap_or(0)).unwrap_or_default();
    format!("{cpu}, {cores} cores, Linux {kernel}, {}.\n", date.strftime("%Y-%m-%d"))
}

fn find(results: &Results, backend: Backend, size: usize, rate: Option<u64>) -> Option<&Cell> {
    results.cells.iter().find(|cell| (cell.backend, cell.size, cell.load.rate) == (backend, size, rate))
}

fn all_backends() -> impl Iterator<Item = Backend> {
    Backend::USUAL.into_iter().chain(Backend::BESIDE_OTHERS)
}

fn saturated(results: &Results) -> String {
    let mut out = "| | floor | CPU µs at rate | sluiced: CPU µs at rate | ratio (range) | goal | floor p50, p99, p99.9 ms | sluiced p50, p99, p99.9 ms | peak MiB |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n".to_owned();
    for cell in all_backends().filter_map(|backend| find(results, backend, SATURATED_SIZE, None)) {
        let (ratio, least, greatest) = cell.ratio();
        let goal = cell.backend.goal().map_or("-".to_owned(), |goal| format!("{goal:.1}"));
        line(
            &mut out,
            &[
                title(cell.backend).into(),
                cell.backend.floor_title().into(),
                at_rate(cell, |pair| &pair.floor),
                at_rate(cell, |pair| &pair.daemon),
                format!("**{ratio:.2}** ({least:.2} to {greatest:.2})"),
                goal,
                quantiles(cell, |pair| &pair.floor),
                quantiles(cell, |pair| &pair.daemon),
                mib(cell),
            ],
        );
    }
    out
}

fn rates(results: &Results) -> String {
    let mut out = "| | webhooks/s | floor CPU µs | sluiced CPU µs | ratio | floor p50, p99, p99.9 ms | sluiced p50, p99, p99.9 ms | kept up |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n".to_owned();
    for backend in all_backends() {
        for cell in results.cells.iter().filter(|cell| cell.backend == backend) {
            let Some(rate) = cell.load.rate else { continue };
            line(
                &mut out,
                &[
                    title(backend).into(),
                    rate.to_string(),
                    format!("{:.0}", cell.median(|pair| cpu(&pair.floor))),
                    format!("{:.0}", cell.median(|pair| cpu(&pair.daemon))),
                    format!("{:.2}", cell.ratio().0),
                    quantiles(cell, |pair| &pair.floor),
                    quantiles(cell, |pair| &pair.daemon),
                    kept_up(cell, rate),
                ],
            );
        }
    }
    out
}

/// Who answered at least 99 of 100 in time to keep the rate, and all as expected.
fn kept_up(cell: &Cell, rate: u64) -> String {
    let enough = |answered: f64| answered >= 0.99 * rate as f64;
    let good = |report: fn(&Pair) -> &Report| {
        enough(cell.median(|pair| report(pair).per_second))
            && cell.pairs.iter().all(|pair| wrong(cell.backend, report(pair)) == 0)
    };
    match (good(|pair| &pair.floor), good(|pair| &pair.daemon)) {
        (true, true) => "both",
        (true, false) => "floor",
        (false, true) => "sluiced",
        (false, false) => "neither",
    }
    .to_owned()
}

fn sizes(results: &Results) -> String {
    let mut out = "| | body | floor: CPU µs at rate | sluiced: CPU µs at rate | ratio (range) | sluiced p50, p99, p99.9 ms | peak MiB |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n".to_owned();
    for backend in all_backends() {
        let mut cells: Vec<&Cell> =
            results.cells.iter().filter(|cell| cell.backend == backend && cell.load.rate.is_none()).collect();
        cells.sort_by_key(|cell| cell.size);
        for cell in cells.into_iter().filter(|cell| cell.size != SATURATED_SIZE) {
            let (ratio, least, greatest) = cell.ratio();
            line(
                &mut out,
                &[
                    title(backend).into(),
                    format!("{} KiB", cell.size >> 10),
                    at_rate(cell, |pair| &pair.floor),
                    at_rate(cell, |pair| &pair.daemon),
                    format!("{ratio:.2} ({least:.2} to {greatest:.2})"),
                    quantiles(cell, |pair| &pair.daemon),
                    mib(cell),
                ],
            );
        }
    }
    out
}

fn allocations(results: &Results) -> String {
    let mut out = "| | body | floor | sluiced | floor, bytes | sluiced, bytes |\n| --- | ---: | ---: | ---: | ---: | ---: |\n".to_owned();
    for backend in all_backends() {
        for counted in results.allocations.iter().filter(|counted| counted.backend == backend) {
            line(
                &mut out,
                &[
                    title(backend).into(),
                    format!("{} KiB", counted.size >> 10),
                    format!("{:.1}", counted.floor.count),
                    format!("{:.1}", counted.daemon.count),
                    format!("{:.0}", counted.floor.bytes),
                    format!("{:.0}", counted.daemon.bytes),
                ],
            );
        }
    }
    out
}

fn scale(results: &Results) -> String {
    let mut out = "| | | CPU µs | webhooks/s | p50, p99 ms | peak MiB | start ms |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n".to_owned();
    for axis in Axis::ALL {
        for point in points(results, axis) {
            let report = &point.report;
            line(
                &mut out,
                &[
                    axis.name().into(),
                    point.x.to_string(),
                    format!("{:.0}", cpu(report)),
                    format!("{:.0}", report.per_second),
                    format!("{:.2}, {:.2}", report.p50_us / 1e3, report.p99_us / 1e3),
                    (report.resident_peak_bytes.unwrap_or(0) >> 20).to_string(),
                    format!("{:.0}", point.start_ms),
                ],
            );
        }
    }
    out
}

fn points(results: &Results, axis: Axis) -> Vec<&Point> {
    let mut points: Vec<&Point> = results.scale.iter().filter(|point| point.axis == axis).collect();
    points.sort_by_key(|point| point.x);
    points
}

fn plots_of(results: &Results) -> Vec<(String, String)> {
    let usual = Backend::USUAL.into_iter();
    let saturated = usual.filter_map(|backend| find(results, backend, SATURATED_SIZE, None));
    let rows: Vec<svg::Row> = saturated
        .map(|cell| {
            let figures = vec![cell.median(|pair| cpu(&pair.floor)), cell.median(|pair| cpu(&pair.daemon))];
            (title(cell.backend).to_owned(), figures)
        })
        .collect();
    let cpu_title = "CPU µs per webhook, 1 KiB, 64 connections, as fast as they go";
    let mut plots = vec![("cpu".to_owned(), svg::bars(cpu_title, &["floor", "sluiced"], &rows))];
    let over_rate = |figure: fn(&Report) -> f64| -> Vec<Line> {
        all_backends()
            .filter_map(|backend| {
                let mut points: Vec<(f64, f64)> = results
                    .cells
                    .iter()
                    .filter(|cell| cell.backend == backend)
                    .filter_map(|cell| {
                        Some((cell.load.rate? as f64, cell.median(|pair| figure(&pair.daemon))))
                    })
                    .collect();
                points.sort_by(|one, other| one.0.total_cmp(&other.0));
                (!points.is_empty()).then(|| (title(backend).to_owned(), points))
            })
            .collect()
    };
    let x_title = "webhooks a second, 1 KiB";
    let p99 = over_rate(|report| report.p99_us / 1e3);
    plots.push((
        "latency".to_owned(),
        svg::lines("sluiced: p99 in ms from the intended time on", x_title, true, &p99),
    ));
    let per_webhook = over_rate(cpu);
    plots.push((
        "cpu-by-rate".to_owned(),
        svg::lines("sluiced: CPU µs per webhook", x_title, false, &per_webhook),
    ));
    for axis in Axis::ALL {
        let line = |name: &str, figure: fn(&Report) -> f64| -> Line {
            let points = points(results, axis);
            (name.to_owned(), points.iter().map(|point| (point.x as f64, figure(&point.report))).collect())
        };
        let lines = [line("CPU µs per webhook", cpu), line("p99 in 100 µs", |report| report.p99_us / 100.0)];
        let log_y = axis == Axis::BodyBytes;
        let file = format!("scale-{}", axis.name().replace(' ', "-"));
        plots.push((file, svg::lines("sluiced, embedded queue", axis.name(), log_y, &lines)));
    }
    plots
}

fn line(out: &mut String, fields: &[String]) {
    writeln!(out, "| {} |", fields.join(" | ")).expect("a String takes everything");
}

fn title(backend: Backend) -> &'static str {
    backend.title()
}

fn at_rate(cell: &Cell, of: impl Fn(&Pair) -> &Report) -> String {
    format!("{:.1} at {:.0}/s", cell.median(|pair| cpu(of(pair))), cell.median(|pair| of(pair).per_second))
}

fn quantiles(cell: &Cell, of: impl Fn(&Pair) -> &Report) -> String {
    let ms = |figure: fn(&Report) -> f64| cell.median(|pair| figure(of(pair)) / 1e3);
    format!("{:.2}, {:.2}, {:.2}", ms(|r| r.p50_us), ms(|r| r.p99_us), ms(|r| r.p999_us))
}

/// Of floor and daemon.
fn mib(cell: &Cell) -> String {
    let peak = |of: fn(&Pair) -> &Report| {
        cell.median(|pair| of(pair).resident_peak_bytes.unwrap_or(0) as f64 / f64::from(1 << 20))
    };
    format!("{:.0}, {:.0}", peak(|pair| &pair.floor), peak(|pair| &pair.daemon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_replace_what_is_between_their_markers_and_nothing_else() {
        let text = "a\n<!-- begin: x -->\n\nold\n\n<!-- end: x -->\nb\n";
        let new = between_markers(text, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin: x -->\n\nnew\n\n<!-- end: x -->\nb\n");
        assert_eq!(between_markers(&new, "x", "old\n").unwrap(), text);
        assert!(between_markers(text, "y", "new\n").is_err());
    }

    #[test]
    fn the_page_has_a_place_for_all_figures() {
        let page = include_str!("../../../../docs/performance.md");
        for name in ["machine", "saturated", "rates", "sizes", "allocations", "scale"] {
            between_markers(page, name, "").unwrap();
        }
    }
}
