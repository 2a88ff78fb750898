//! What a command or a server is told of a message besides its body.

use sluiced_queue::json::rfc3339_micros;

use super::attempt::Job;

/// Names and values; a value is empty where there is none. `message-id` is the variable
/// `SLUICED_MESSAGE_ID` and the header `sluiced-message-id`.
pub fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let context = &job.context;
    let request = &context.request;
    vec![
        ("message-id", context.message_id.to_string()),
        ("attempt", job.message.attempt.to_string()),
        ("receiver", context.receiver.clone()),
        ("id", context.id.clone()),
        ("actions", context.actions.join(",")),
        ("delivery-id", context.delivery_id.clone().unwrap_or_default()),
        ("received-at", rfc3339_micros(context.received_at)),
        ("masked", context.masked.join(",")),
        ("path", request.path.clone()),
        ("query", request.query.clone()),
        ("remote-addr", request.remote_addr.clone()),
    ]
}
