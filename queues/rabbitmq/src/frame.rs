//! How long a header frame becomes. It can't be cut in pieces as bodies are, and the broker ends the connection
//! over one that is too long: with it everything else that is under way on it.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// Of the frame and of the header without its properties: type, channel, length, end; class, weight, body's
/// length, flags.
const FIXED_BYTES: usize = 8 + 14;

/// Bytes of the frame that carries these.
pub(crate) fn header_frame_bytes(properties: &BasicProperties) -> usize {
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts: usize = texts.into_iter().flatten().map(short_bytes).sum();
    let headers = properties.headers().as_ref().map_or(0, table_bytes);
    // Delivery mode, priority, timestamp.
    FIXED_BYTES + texts + headers + 1 + 1 + 8
}

fn short_bytes(text: &ShortString) -> usize {
    1 + text.as_str().len()
}

fn table_bytes(table: &FieldTable) -> usize {
    4 + table.inner().iter().map(|(name, value)| short_bytes(name) + value_bytes(value)).sum::<usize>()
}

/// With the byte that names the type.
fn value_bytes(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => short_bytes(text),
        AMQPValue::LongString(text) => 4 + text.len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::FieldArray(values) => 4 + values.as_slice().iter().map(value_bytes).sum::<usize>(),
        AMQPValue::FieldTable(table) => table_bytes(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::text;

    #[test]
    fn nested_headers_are_counted_whole() {
        let mut table = FieldTable::default();
        table.insert("a".into(), text("xyz"));
        // Name 2, type 1, length 4, text 3.
        assert_eq!(table_bytes(&table), 4 + 10);
        let array = AMQPValue::FieldArray(vec![AMQPValue::FieldTable(table.clone()), AMQPValue::Void].into());
        table.insert("b".into(), array);
        assert_eq!(table_bytes(&table), 14 + 2 + 1 + 4 + (1 + 14) + 1);
        let properties = BasicProperties::default().with_headers(table).with_app_id("sluiced".into());
        assert_eq!(header_frame_bytes(&properties), 22 + 10 + 8 + 37);
    }
}
