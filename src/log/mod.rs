//! Logs: one line per delivery, life-cycle lines, and a summary under load, all through a sink that
//! never makes a webhook wait. JSON when stdout is not a terminal, readable text when it is.
//!
//! * [`sink`]: the bounded way to stdout.
//! * [`mod@line`]: how a line is put together, and how what a sender chose is made safe in it.
//! * [`layer`]: life-cycle lines, from `tracing` events of ours and of the libraries.
//! * [`delivery`]: the line of one delivery.
//! * [`quiet`]: refusals that anybody can cause, thinned out.
//! * [`summary`]: counts and quantiles of the last ten seconds.

pub mod delivery;
pub mod layer;
pub mod line;
pub mod quiet;
pub mod sink;
pub mod summary;

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;

pub use delivery::{DeliveryRecord, Outcome};
pub use sink::Sink;

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON unless stdout is a terminal.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `--log-level`: lines of this level and of graver ones are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something was lost or will be.
    Error,
    /// Somebody should look.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// Why it happened.
    Debug,
    /// All that the libraries say.
    Trace,
}

impl Level {
    /// As it stands in a line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Where lines go and which.
#[derive(Clone)]
pub struct Logger {
    sink: Arc<Sink>,
    level: Level,
    style: line::Style,
}

impl Logger {
    /// Starts the sink on stdout and becomes the process's `tracing` subscriber.
    pub fn start(format: Format, level: Level) -> Self {
        Self::start_on(std::io::stdout(), format, level)
    }

    /// The same on any other stream: `work` keeps stdout for messages.
    pub fn start_on(
        out: impl std::io::Write + IsTerminal + Send + 'static,
        format: Format,
        level: Level,
    ) -> Self {
        let terminal = out.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let style = match format {
            Format::Json => line::Style::Json,
            Format::Auto if !terminal => line::Style::Json,
            Format::Auto | Format::Text => line::Style::Text { colour },
        };
        let logger = Self { sink: Arc::new(Sink::start(out, style)), level, style };
        let subscriber = tracing_subscriber::registry().with(layer::LineLayer::new(logger.clone()));
        // A process has one subscriber; a second start keeps the first, which only tests do.
        let _ = tracing::subscriber::set_global_default(subscriber);
        logger
    }

    /// Whether lines of this level are written.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.level
    }

    /// A line to be filled; hand it to [`Logger::write`].
    pub fn line(&self, level: Level, msg: &str) -> line::Line {
        line::Line::new(self.style, level, msg)
    }

    /// Hands a line to the sink; never waits.
    pub fn write(&self, line: line::Line) {
        self.sink.push(&line.finish());
    }

    /// Lines that a stalled sink has cost since the start.
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }

    /// Writes out what is queued, within a deadline, and ends the sink.
    pub fn close(&self) {
        self.sink.close();
    }
}
