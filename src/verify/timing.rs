//! Whether it takes the same time to refuse a guess wherever it is wrong: measured, and judged by Welch's t-test.
//! What others do on the machine makes samples slower, never faster, so the slower half is left out.

use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::tests::{post, settings};
use super::{Admission, Verifier, compare};
use crate::catalog;

/// Of each kind, in random order.
const SAMPLES: usize = 1_500;
/// Calls that make one sample: one alone takes less than the clock can tell.
const CALLS: usize = 8;
/// A difference by chance is above this once in many thousand millions.
const T_MAX: f64 = 8.0;
/// A leak shows each time, a disturbance by others does not.
const ATTEMPTS: usize = 5;
/// Bytes: so that a comparison that stops early stops much earlier.
const LENGTH: usize = 16 << 10;

/// The t statistic of two kinds of calls.
fn t(calls: [&mut dyn FnMut(); 2]) -> f64 {
    let mut samples = [Vec::new(), Vec::new()];
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    while samples.iter().any(|of| of.len() < SAMPLES) {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let kind = (dice >> 32) as usize & 1;
        let begun = Instant::now();
        for _ in 0..CALLS {
            calls[kind]();
        }
        samples[kind].push(begun.elapsed().as_nanos() as f64);
    }
    let [a, b] = samples.map(|mut of| {
        of.sort_by(f64::total_cmp);
        of.truncate(SAMPLES / 2);
        let mean = of.iter().sum::<f64>() / of.len() as f64;
        let variance = of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (of.len() - 1) as f64;
        (mean, variance / of.len() as f64)
    });
    (a.0 - b.0).abs() / (a.1 + b.1).max(f64::MIN_POSITIVE).sqrt()
}

fn leaks(mut first: impl FnMut(), mut last: impl FnMut()) -> bool {
    (0..ATTEMPTS).all(|_| t([&mut first, &mut last]) > T_MAX)
}

/// A guess that is wrong in its first byte, and one that is in its last.
fn guesses(secret: &[u8]) -> [Vec<u8>; 2] {
    let wrong = |at: usize| {
        let mut guess = secret.to_vec();
        guess[at] ^= 1;
        guess
    };
    [wrong(0), wrong(secret.len() - 1)]
}

fn refusing(row: &str, secret: &str, header: &'static str, value: &[u8]) -> impl FnMut() + use<> {
    let verifier = Verifier::compile(catalog::find(row).unwrap(), &settings(secret)).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header, HeaderValue::from_bytes(value).unwrap());
    let delivery = post(headers, "{}");
    move || {
        let admission = verifier.admit(black_box(delivery.clone()), Timestamp::UNIX_EPOCH);
        assert!(matches!(black_box(admission), Admission::Refused(_)));
    }
}

#[test]
fn where_a_guess_is_wrong_cant_be_told_from_the_time() {
    let secret = "s".repeat(LENGTH);
    let [first, last] = guesses(secret.as_bytes());
    let compared = |guess: Vec<u8>| {
        let secret = secret.clone();
        move || assert!(!compare::same(black_box(&guess), black_box(secret.as_bytes())))
    };
    assert!(!leaks(compared(first.clone()), compared(last.clone())), "the comparison by itself");
    let token = |guess: &[u8]| refusing("generic-token", &secret, "x-webhook-token", guess);
    assert!(!leaks(token(&first), token(&last)), "a token");
    let signature =
        |guess: &str| refusing("github", "key", "x-hub-signature-256", format!("sha256={guess}").as_bytes());
    // HMAC-SHA256 of `{}` by `key`.
    let right =
        aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key"), b"{}");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [first, last] = guesses(right.as_ref());
    assert!(!leaks(signature(&hex(&first)), signature(&hex(&last))), "a signature");
}

/// Else the test above would be one that can't fail.
#[test]
fn a_comparison_that_stops_early_is_found_out() {
    let secret = vec![b's'; LENGTH];
    let [first, last] = guesses(&secret);
    let compared = |guess: Vec<u8>| {
        let secret = secret.clone();
        move || assert!(black_box(&guess) != black_box(&secret))
    };
    assert!(leaks(compared(first), compared(last)));
}
