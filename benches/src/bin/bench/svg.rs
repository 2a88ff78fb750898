//! Plots, written by hand: bars that lie, and lines over a logarithmic axis.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 48.0;
const BAR: f64 = 15.0;
const GAP: f64 = 14.0;
const LINES_HEIGHT: f64 = 380.0;
const COLOURS: [&str; 7] = ["#9aa5b1", "#1f6feb", "#d1495b", "#2e933c", "#8e5ea2", "#e08e0b", "#17a2a2"];

/// A name, and a figure of each series.
pub(crate) type Row = (String, Vec<f64>);

/// A line: a name, and its points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// Groups of bars that lie, one for each row, one bar in them for each series.
pub(crate) fn bars(title: &str, series: &[&str], rows: &[Row]) -> String {
    let group = BAR * series.len() as f64 + GAP;
    let height = TOP + group * rows.len() as f64 + 12.0;
    let most = rows.iter().flat_map(|(_, values)| values).copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut out = begin(title, height);
    legend(&mut out, series.iter().copied());
    for (at, (name, values)) in rows.iter().enumerate() {
        let top = TOP + group * at as f64;
        text(&mut out, (LEFT - 10.0, top + group / 2.0 - 2.0), "end", name);
        for (nth, value) in values.iter().enumerate() {
            let (y, length) = (top + BAR * nth as f64, (WIDTH - LEFT - RIGHT) * value / most);
            let colour = COLOURS[nth % COLOURS.len()];
            let thick = BAR - 2.0;
            put(
                &mut out,
                &format!(
                    "<rect x='{LEFT}' y='{y:.1}' width='{length:.1}' height='{thick}' fill='{colour}'/>"
                ),
            );
            text(&mut out, (LEFT + length + 6.0, y + 11.0), "start", &short(*value));
        }
    }
    out + "</svg>\n"
}

/// Lines over a logarithmic x; y is logarithmic too if `log_y`, and begins at 0 otherwise.
pub(crate) fn lines(title: &str, x_title: &str, log_y: bool, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let xs = Scale::new(points().map(|(x, _)| x), true, (LEFT / 2.0, WIDTH - RIGHT));
    let ys = Scale::new(points().map(|(_, y)| y), log_y, (LINES_HEIGHT - BOTTOM, TOP));
    let mut out = begin(title, LINES_HEIGHT);
    legend(&mut out, lines.iter().map(|(name, _)| name.as_str()));
    for (value, y) in ys.ticks() {
        let (from, to) = (LEFT / 2.0, WIDTH - RIGHT);
        put(&mut out, &format!("<line x1='{from}' x2='{to}' y1='{y:.1}' y2='{y:.1}' stroke='#e3e7eb'/>"));
        text(&mut out, (from - 8.0, y + 4.0), "end", &short(value));
    }
    for (value, x) in xs.ticks() {
        text(&mut out, (x, LINES_HEIGHT - BOTTOM + 18.0), "middle", &short(value));
    }
    text(&mut out, (WIDTH / 2.0, LINES_HEIGHT - 10.0), "middle", x_title);
    for (nth, (_, points)) in lines.iter().enumerate() {
        let colour = COLOURS[(nth + 1) % COLOURS.len()];
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = (xs.place(*x), ys.place(*y));
            path += &format!("{x:.1},{y:.1} ");
            put(&mut out, &format!("<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='{colour}'/>"));
        }
        let path = path.trim_end();
        put(&mut out, &format!("<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"));
    }
    out + "</svg>\n"
}

/// From figures to places.
struct Scale {
    least: f64,
    most: f64,
    log: bool,
    places: (f64, f64),
}

impl Scale {
    fn new(values: impl Iterator<Item = f64>, log: bool, places: (f64, f64)) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && (!log || *value > 0.0)).collect();
        let most = values.iter().copied().fold(1.0, f64::max);
        let least = if log { values.iter().copied().fold(most, f64::min) } else { 0.0 };
        Self { least, most, log, places }
    }

    /// What a logarithm can't show stands at the beginning.
    fn place(&self, value: f64) -> f64 {
        let part = if self.log {
            let span = (self.most / self.least).ln();
            if span > 0.0 { (value.max(self.least) / self.least).ln() / span } else { 0.0 }
        } else {
            value / self.most
        };
        self.places.0 + part * (self.places.1 - self.places.0)
    }

    /// Powers of ten, with their halves where there are few; or fifths of the whole.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let values: Vec<f64> = if self.log {
            let steps: &[f64] = if self.most / self.least > 3_000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let decades = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
            let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
            all.filter(|value| *value >= self.least * 0.999 && *value <= self.most * 1.001).collect()
        } else {
            (0..=5).map(|fifth| self.most * f64::from(fifth) / 5.0).collect()
        };
        values.into_iter().map(|value| (value, self.place(value))).collect()
    }
}

fn begin(title: &str, height: f64) -> String {
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0}' \
         font-family='system-ui, sans-serif' font-size='12' fill='#24292f'>\n"
    );
    put(&mut out, "<rect width='100%' height='100%' fill='white'/>");
    put(&mut out, &format!("<text x='16' y='24' font-size='15' font-weight='600'>{title}</text>"));
    out
}

/// A single series of a line plot has the second colour: grey is the floor's.
fn legend<'a>(out: &mut String, names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    let first = usize::from(!names.contains(&"floor"));
    let mut x = 16.0;
    for (nth, name) in names.into_iter().enumerate() {
        let colour = COLOURS[(nth + first) % COLOURS.len()];
        put(out, &format!("<rect x='{x:.0}' y='36' width='11' height='11' fill='{colour}'/>"));
        text(out, (x + 16.0, 46.0), "start", name);
        x += 34.0 + 7.0 * name.chars().count() as f64;
    }
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    put(out, &format!("<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{text}</text>"));
}

fn put(out: &mut String, element: &str) {
    writeln!(out, "{element}").expect("a String takes everything");
}

/// Three digits are enough for a plot.
fn short(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{:.3}M", v / 1e6).replace(".000", "").replace("00M", "M"),
        v if v >= 10_000.0 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 || v.fract() == 0.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
