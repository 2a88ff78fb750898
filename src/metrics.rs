//! `/metrics`, in OpenMetrics. Labels are the configuration's, never a sender's: their number is bounded.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sluiced_queue::spool::{Counts, Status};
use sluiced_queue::{Depth, Durable, Health};

use crate::app::App;
use crate::log::{DeliveryRecord, Outcome};
use crate::reason::Reason;
use crate::receivers::Receiver;

/// The content type of what [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted as it happens; the rest is looked at when asked.
pub struct Metrics {
    webhooks: Family<WebhookLabels, Counter>,
    acknowledgement: Family<ReceiverLabel, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    receiver: ReceiverName,
    outcome: &'static str,
    reason: &'static str,
    durable: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReceiverLabel {
    receiver: ReceiverName,
}

/// `name` or `name/id` as configured; empty for a request to no receiver.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct ReceiverName(Arc<str>);

impl EncodeLabelValue for ReceiverName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&&*self.0, encoder)
    }
}

/// From a quarter of a millisecond to eight seconds.
fn acknowledgement_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            webhooks: Family::default(),
            acknowledgement: Family::new_with_constructor(acknowledgement_seconds as fn() -> Histogram),
        }
    }
}

impl Metrics {
    /// Counts the end of a delivery.
    pub fn count(&self, record: &DeliveryRecord, outcome: Outcome, reason: Option<Reason>) {
        let receiver = name_of(record.receiver.as_deref());
        let labels = WebhookLabels {
            receiver: receiver.clone(),
            outcome: outcome.as_str(),
            reason: reason.map_or("", Reason::as_str),
            durable: record.durable.map_or("", Durable::as_str),
        };
        self.webhooks.get_or_create(&labels).inc();
        if matches!(outcome, Outcome::Accepted | Outcome::Duplicate | Outcome::Answered) {
            let seconds = record.started.elapsed().as_secs_f64();
            self.acknowledgement.get_or_create(&ReceiverLabel { receiver }).observe(seconds);
        }
    }

    /// Everything, as text.
    pub fn render(&self, app: &App, depth: Option<Depth>, spools: &[(Status, Option<Depth>)]) -> String {
        let mut registry = Registry::with_prefix("sluiced");
        registry.register("build", "This build", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("webhooks", "Deliveries by how they ended", self.webhooks.clone());
        let help = "From the end of the headers to the answer, of those that were not refused";
        registry.register_with_unit("acknowledgement", help, Unit::Seconds, self.acknowledgement.clone());
        let in_flight = app.limits.in_flight_max.saturating_sub(app.in_flight.available_permits() as u64);
        gauge(
            &mut registry,
            "webhooks_in_flight",
            "Between the end of their body and their answer",
            in_flight,
        );
        gauge(
            &mut registry,
            "body_memory_bytes",
            "Bodies in memory, encoded copies included",
            app.budget.used(),
        );
        let dropped = Counter::<u64>::default();
        dropped.inc_by(app.logger.dropped());
        registry.register("log_lines_dropped", "Log lines that a stalled sink has cost", dropped);
        let up = u64::from(app.queue.health() == Health::Ready);
        gauge(&mut registry, "backend_up", "Whether a message could be made durable now", up);
        if let Some(depth) = depth {
            gauge(&mut registry, "queue_messages", "In the queue and not done", depth.messages);
            gauge(&mut registry, "queue_bytes", "In the queue and not done", depth.bytes);
            let age = depth.oldest_age.map_or(0, |age| age.as_secs());
            gauge(&mut registry, "queue_oldest_age_seconds", "How long the oldest has been there", age);
        }
        register_spools(&mut registry, spools);
        if let Some(usage) = app.remote.as_ref().and_then(|remote| remote.usage()) {
            gauge(&mut registry, "spool_disk_bytes", "What the spool takes of its bound", usage.bytes);
            gauge(&mut registry, "spool_disk_bytes_max", "The spool's bound", usage.bytes_max);
        }
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DestinationLabel {
    destination: String,
}

/// What each destination's broker and spool are like now.
fn register_spools(registry: &mut Registry, spools: &[(Status, Option<Depth>)]) {
    if spools.is_empty() {
        return;
    }
    let label = |status: &Status| DestinationLabel { destination: status.destination.clone() };
    let mut gauges = |name: &str, help: &str, value: &dyn Fn(&Status, Option<Depth>) -> Option<u64>| {
        let family = Family::<DestinationLabel, Gauge>::default();
        for (status, depth) in spools {
            if let Some(value) = value(status, *depth) {
                family.get_or_create(&label(status)).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        registry.register(name, help, family);
    };
    gauges("broker_up", "Whether the broker's connection is up and takes messages", &|status, _| {
        Some(u64::from(status.broker == Health::Ready))
    });
    gauges("broker_suspect", "Whether it missed so many deadlines that it isn't waited for", &|status, _| {
        Some(u64::from(status.suspect))
    });
    gauges("spool_messages", "In the spool", &|_, depth| Some(depth?.messages));
    gauges("spool_bytes", "In the spool", &|_, depth| Some(depth?.bytes));
    gauges("spool_oldest_age_seconds", "How long the oldest has been there", &|_, depth| {
        Some(depth?.oldest_age.map_or(0, |age| age.as_secs()))
    });
    let mut counters = |name: &str, help: &str, value: &dyn Fn(&Counts) -> u64| {
        let family = Family::<DestinationLabel, Counter>::default();
        for (status, _) in spools {
            family.get_or_create(&label(status)).inc_by(value(&status.counts));
        }
        registry.register(name, help, family);
    };
    counters("ack_deadlines_missed", "Messages that the broker didn't confirm in time", &|c| c.missed);
    counters("spool_appended", "Messages acknowledged from the spool", &|c| c.spooled);
    counters("spool_drained", "Messages that went from the spool to the broker", &|c| c.drained);
    counters("spool_confirmed_late", "Spooled messages that the broker confirmed after all", &|c| {
        c.late_confirmed
    });
    counters("spool_dead", "Spooled messages that became dead letters", &|c| c.dead);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn name_of(receiver: Option<&Receiver>) -> ReceiverName {
    ReceiverName(receiver.map_or_else(|| Arc::from(""), |receiver| receiver.label.clone()))
}
