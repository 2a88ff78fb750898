//! The webhooks: signed as GitHub does, each to be told from every other, with bodies whose spelling nothing may
//! change.

use std::fmt::Write;

use aws_lc_rs::hmac;

use crate::bounds::BODY_BYTES_MAX;
use crate::random::Random;

/// The secret that sender and daemon share. Made up.
pub const SECRET: &str = "it-is-only-a-torture-secret";

/// Different rare events: fewer than the refused routes that a daemon knows (1,024).
const STARS: u64 = 1_000;

/// A header that the worker must find with each webhook, with the delivery's id twice.
pub const HEADER: &str = "x-torture";

/// Values that a parser that writes them out again would spell differently.
const SPELLINGS: [&str; 8] = [
    "1.0e+02",
    "-0.0",
    "123456789012345678901234567890",
    r#""\u00e9\/\u2028""#,
    r#""é / 🜚""#,
    "{\"b\":1,  \"a\":2,\n\"b\":3}",
    "[ ]",
    "\t true",
];

/// The event of a delivery: each tenth, more or less, is another than the rest, out of so many that hardly two meet.
/// Each is a route of its own: a daemon that knows that one is refused still has to find out about the others.
pub fn event(id: &str) -> String {
    match hash(id) {
        hash if hash.is_multiple_of(10) => format!("star.{}", hash / 10 % STARS),
        _ => "push".into(),
    }
}

fn hash(id: &str) -> u64 {
    id.bytes().fold(17, |hash: u64, byte| {
        hash.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte)).rotate_left(5)
    })
}

/// The body of a delivery; the id alone decides it.
pub fn body(id: &str) -> Vec<u8> {
    let mut random = Random::new(hash(id));
    let bytes = match random.below(100) {
        0..80 => random.between(0, 1 << 10),
        80..95 => random.between(1 << 10, 16 << 10),
        95..99 => random.between(16 << 10, 60 << 10),
        _ => random.between(60 << 10, BODY_BYTES_MAX as u64),
    } as usize;
    let mut text = format!("{{\"delivery\":\"{id}\",\r\n \"odd\": {}", random.choose(&SPELLINGS));
    text.push_str(",\"pad\":\"");
    while text.len() < bytes {
        write!(text, "{:016x}", random.number()).expect("a string takes everything");
    }
    text.push_str("\"}");
    if random.percent(30) {
        text.push_str(" \n");
    }
    text.into_bytes()
}

/// The whole request, keep-alive.
pub fn request(id: &str) -> Vec<u8> {
    let body = body(id);
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, &body);
    let mut signature = String::new();
    for byte in tag.as_ref() {
        write!(signature, "{byte:02x}").expect("a string takes everything");
    }
    let head = format!(
        "POST /api/webhooks/incoming/github?torture={id} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
         X-GitHub-Event: {event}\r\nX-GitHub-Delivery: {id}\r\nX-Hub-Signature-256: sha256={signature}\r\n\
         X-Torture: {id}\r\nX-Torture: again {id}\r\nContent-Length: {}\r\n\r\n",
        body.len(),
        event = event(id)
    );
    [head.as_bytes(), &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_that_its_id_decides() {
        for number in 0..300 {
            let id = format!("t-{number}");
            let bytes = body(&id);
            assert_eq!(bytes, body(&id));
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["delivery"], id);
        }
    }

    #[test]
    fn a_tenth_has_another_event() {
        let stars = (0..1000).filter(|number| event(&format!("t-{number}")).starts_with("star.")).count();
        assert!((60..=140).contains(&stars), "{stars}");
    }
}
