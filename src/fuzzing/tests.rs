//! The property with random bytes.

use proptest::prelude::*;

use super::*;

/// Bytes of any kind, and such as HTTP is made of.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        &b"POST "[..],
        b"/api/webhooks/incoming/github",
        b" HTTP/1.1\r\n",
        b"Host: t\r\n",
        b"Content-Length: 21\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"X-Hub-Signature-256: sha256=",
        b"\r\n",
        b"\n",
        b"\0",
        b"15\r\n{\"the\":\"signed body\"}\r\n0\r\n\r\n",
        BODY,
        b"\0\0\x04\x01\x05\0\0\0\x01\x83\x86\x84\x41",
        b"\0\0\0\0\x01\0\0\0\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let words = prop::collection::vec(prop::sample::select(words), 0..16).prop_map(|words| words.concat());
    let random = prop::collection::vec(any::<u8>(), 0..200);
    (0..5_u8, prop_oneof![random, words]).prop_map(|(kind, rest)| [vec![kind], rest].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_unsigned_comes_through_the_front_door(bytes in bytes()) {
        front_door(&bytes);
    }
}

#[test]
fn a_genuine_webhook_comes_through_and_what_is_signed_is_told_from_what_isnt() {
    // Of another runtime than the property's, whose messages it must not take.
    let front = Front::new();
    let answer = front.serve(&genuine(BODY));
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let queued = front.queue.take();
    assert!(queued.len() == 1 && is_signed(&queued[0]));
    let mut forged = queued[0].clone();
    forged.data = sluiced_queue::Data::Bytes(bytes::Bytes::from_static(b"another"));
    assert!(!is_signed(&forged));
    assert!(front.serve(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").starts_with(b"HTTP/1.1 404 "));
}
