//! Headers of messages that a worker gets, gives back or gives up.

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use crate::bounds;
use crate::message::{PERSISTENT, short, text};

/// How many attempts there were before the message was last published.
pub(crate) const ATTEMPTS: &str = "sluiced-attempts";
/// Why a worker gave up.
pub(crate) const REASON: &str = "sluiced-reason";
/// When that was, RFC 3339.
pub(crate) const DIED_AT: &str = "sluiced-died-at";
/// Names a dead letter: two with one message id may lie side by side.
pub(crate) const DEAD_ID: &str = "sluiced-dead-id";
/// Where the message was before.
const WAS_IN: [&str; 3] = ["sluiced-queue", "sluiced-exchange", "sluiced-routing-key"];

/// A message that was delivered.
pub(crate) struct Letter {
    pub(crate) data: Bytes,
    pub(crate) properties: BasicProperties,
    exchange: ShortString,
    routing_key: ShortString,
    redelivered: bool,
}

impl Letter {
    /// Takes it over without a copy of the body.
    pub(crate) fn of(delivery: Delivery) -> Self {
        let Delivery { data, properties, exchange, routing_key, redelivered, .. } = delivery;
        Self { data: Bytes::from(data), properties, exchange, routing_key, redelivered }
    }

    /// With which it came.
    pub(crate) fn routing_key(&self) -> ShortString {
        self.routing_key.clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.header(name).and_then(string)
    }

    /// How often it has been handed out, this time included: the attempts that a header counts, and the
    /// deliveries that the broker has counted since.
    pub(crate) fn attempt(&self) -> u32 {
        // A classic queue says only that there was one.
        let again = i64::from(self.redelivered);
        let delivered = self.header("x-delivery-count").and_then(integer).unwrap_or(again);
        let counted = self.header(ATTEMPTS).and_then(integer).unwrap_or(0);
        let attempt = counted.saturating_add(delivered).saturating_add(1);
        u32::try_from(attempt.max(1)).unwrap_or(u32::MAX)
    }

    /// The application's headers, as far as they are texts: without the broker's and without our bookkeeping.
    pub(crate) fn application_headers(&self) -> Vec<(String, String)> {
        let Some(table) = self.properties.headers() else { return Vec::new() };
        let application = table.inner().iter().filter(|(name, _)| !is_bookkeeping(name.as_str()));
        application.filter_map(|(name, value)| Some((name.as_str().to_owned(), string(value)?))).collect()
    }

    /// For a further round through the queue, so many attempts behind it.
    pub(crate) fn again(&self, attempts: u32) -> BasicProperties {
        let mut headers = self.kept_headers();
        headers.insert(ATTEMPTS.into(), AMQPValue::LongLongInt(attempts.into()));
        self.copy(headers)
    }

    /// As it was before its first attempt.
    pub(crate) fn afresh(&self) -> BasicProperties {
        self.copy(self.kept_headers())
    }

    /// For the dead letters of this queue.
    pub(crate) fn dead(&self, queue: &str, reason: &str, attempts: u32) -> BasicProperties {
        let mut headers = self.kept_headers();
        let mut add = |name: &str, value: &str| {
            headers.insert(name.into(), text(value));
        };
        add(DEAD_ID, &Uuid::now_v7().to_string());
        add(REASON, cut(reason));
        add(DIED_AT, &Timestamp::now().to_string());
        let places = [queue, self.exchange.as_str(), self.routing_key.as_str()];
        WAS_IN.iter().zip(places).for_each(|(name, place)| add(name, place));
        headers.insert(ATTEMPTS.into(), AMQPValue::LongLongInt(attempts.into()));
        self.copy(headers)
    }

    fn kept_headers(&self) -> FieldTable {
        let mut kept = FieldTable::default();
        for (name, value) in self.properties.headers().iter().flat_map(|table| table.inner()) {
            if !is_bookkeeping(name.as_str()) {
                kept.insert(name.clone(), value.clone());
            }
        }
        kept
    }

    /// Everything but what must not go on: an expiration would let the message vanish, and a user id that isn't
    /// ours is refused.
    fn copy(&self, headers: FieldTable) -> BasicProperties {
        let from = &self.properties;
        let mut to = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
        macro_rules! keep {
            ($($get:ident $with:ident),*) => {
                $(if let Some(value) = from.$get().clone() { to = to.$with(value); })*
            };
        }
        keep!(
            content_type with_content_type, content_encoding with_content_encoding, priority with_priority,
            correlation_id with_correlation_id, reply_to with_reply_to, message_id with_message_id,
            timestamp with_timestamp, kind with_type, app_id with_app_id
        );
        to
    }
}

/// What isn't the application's: RabbitMQ's own, and ours.
fn is_bookkeeping(name: &str) -> bool {
    let ours = [ATTEMPTS, REASON, DIED_AT, DEAD_ID].contains(&name) || WAS_IN.contains(&name);
    let of_deaths = name.starts_with("x-first-death-") || name.starts_with("x-last-death-");
    ours || of_deaths || ["x-death", "x-delivery-count", "x-acquired-count"].contains(&name)
}

/// A text that fits into a header beside the others.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(bounds::REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

pub(crate) fn string(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

/// An integer of whatever width.
pub(crate) fn integer(value: &AMQPValue) -> Option<i64> {
    Some(match *value {
        AMQPValue::ShortShortInt(n) => n.into(),
        AMQPValue::ShortShortUInt(n) => n.into(),
        AMQPValue::ShortInt(n) => n.into(),
        AMQPValue::ShortUInt(n) => n.into(),
        AMQPValue::LongInt(n) => n.into(),
        AMQPValue::LongUInt(n) => n.into(),
        AMQPValue::LongLongInt(n) => n,
        _ => return None,
    })
}

/// An expiration, as AMQP has it: milliseconds in a text.
pub(crate) fn expiration(ms: u64) -> ShortString {
    short(&ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: &[(&str, AMQPValue)]) -> Letter {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let properties = BasicProperties::default()
            .with_headers(table)
            .with_expiration("5".into())
            .with_user_id("somebody".into())
            .with_message_id("m".into());
        Letter {
            data: Bytes::from_static(b"x"),
            properties,
            exchange: "".into(),
            routing_key: "webhooks".into(),
            redelivered: false,
        }
    }

    #[test]
    fn attempts_are_those_before_and_the_deliveries_since() {
        assert_eq!(letter(&[]).attempt(), 1);
        assert_eq!(letter(&[("x-delivery-count", AMQPValue::LongLongInt(2))]).attempt(), 3);
        let both = [("x-delivery-count", AMQPValue::LongUInt(2)), (ATTEMPTS, AMQPValue::LongLongInt(3))];
        assert_eq!(letter(&both).attempt(), 6);
        assert_eq!(letter(&[(ATTEMPTS, AMQPValue::LongLongInt(-9))]).attempt(), 1);
        assert_eq!(Letter { redelivered: true, ..letter(&[]) }.attempt(), 2);
    }

    #[test]
    fn a_further_round_carries_the_application_headers_and_nothing_that_expires() {
        let headers = [
            ("mine", text("1")),
            ("x-death", AMQPValue::Void),
            ("x-first-death-queue", text("q")),
            ("x-delivery-count", AMQPValue::LongLongInt(4)),
        ];
        let again = letter(&headers).again(7);
        assert_eq!((again.expiration(), again.user_id()), (&None, &None));
        assert_eq!(again.delivery_mode(), &Some(PERSISTENT));
        assert_eq!(again.message_id().as_ref().unwrap().as_str(), "m");
        let names: Vec<_> =
            again.headers().as_ref().unwrap().inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["mine", ATTEMPTS]);
        let dead = letter(&headers).dead("webhooks", &"é".repeat(5_000), 7);
        let dead = Letter { properties: dead, ..letter(&[]) };
        assert!(dead.text(REASON).unwrap().len() <= bounds::REASON_BYTES_MAX);
        assert_eq!(dead.text("sluiced-routing-key").as_deref(), Some("webhooks"));
        assert_eq!(dead.application_headers(), [("mine".to_owned(), "1".to_owned())]);
        assert!(Letter { properties: dead.afresh(), ..letter(&[]) }.text(REASON).is_none());
    }
}
