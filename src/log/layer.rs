//! Life-cycle lines: `tracing` events of ours and of the libraries, in the same form as the rest.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::Line;
use super::{Level, Logger};

/// Clients of brokers, whose own crates here say what matters, once. These would say it again with every
/// attempt, and show what must never be in a log: returned messages, frames with bodies and passwords.
const MUTE: [&str; 6] = ["lapin", "amq_protocol", "async_nats", "azure_", "typespec", "reqwest"];

/// Writes each event as a line through the sink.
pub struct LineLayer {
    logger: Logger,
}

impl LineLayer {
    /// Writes through this logger.
    pub fn new(logger: Logger) -> Self {
        Self { logger }
    }

    /// Libraries are heard at `trace` only, but for their warnings.
    fn wanted(&self, target: &str, level: Level) -> bool {
        if MUTE.iter().any(|library| target.starts_with(library)) {
            return false;
        }
        let ours = target.starts_with("sluiced");
        self.logger.enabled(level) && (ours || level <= Level::Warn || self.logger.enabled(Level::Trace))
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && self.wanted(metadata.target(), level_of(*metadata.level()))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = level_of(*metadata.level());
        if !self.wanted(metadata.target(), level) {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut line = self.logger.line(level, &message.0);
        event.record(&mut Fields(&mut line));
        if !metadata.target().starts_with("sluiced") {
            line.string("target", metadata.target());
        }
        self.logger.write(line);
    }
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// Finds the event's message.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String can't fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// Writes the event's other fields.
struct Fields<'l>(&'l mut Line);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "message" {
            self.0.whole(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            self.0.whole(field.name(), value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.raw(field.name(), &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.raw(field.name(), if value { "true" } else { "false" });
    }
}
