//! Requests signed as Stripe, Slack and Standard Webhooks do, with a timestamp of one's choice.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::client::{SECRET, hmac_sha256_hex, post};

/// 32 bytes in base64, behind the prefix of Standard Webhooks. Made up.
pub const WHSEC: &str = "whsec_dGhpcyBpcyBub3QgYSBzZWNyZXQsIGl0J3MgZm9y";

/// Seconds since 1970, as far from now as said.
pub fn seconds_from_now(offset: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + offset
}

/// A Stripe event.
pub fn stripe(secret: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    let signature = hmac_sha256_hex(secret, &[format!("{timestamp}.").as_bytes(), body].concat());
    let header = format!("t={timestamp},v1={signature}");
    post("stripe", &[("Content-Type", "application/json"), ("Stripe-Signature", &header)], body)
}

/// A Slack request. The timestamp is text, so that it can be none.
pub fn slack(timestamp: &str, body: &[u8]) -> Vec<u8> {
    let signature = hmac_sha256_hex(SECRET, &[format!("v0:{timestamp}:").as_bytes(), body].concat());
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Slack-Request-Timestamp", timestamp),
        ("X-Slack-Signature", &format!("v0={signature}")),
    ];
    post("slack", &headers, body)
}

/// A webhook by Standard Webhooks, signed with [`WHSEC`].
pub fn standard(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    let key = STANDARD.decode(WHSEC.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let signature = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &message)));
    let timestamp = timestamp.to_string();
    let headers =
        [("webhook-id", id), ("webhook-timestamp", &timestamp), ("webhook-signature", signature.as_str())];
    post("standard-webhooks", &headers, body)
}
