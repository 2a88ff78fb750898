//! Whether it takes the same time to refuse a guess wherever it is wrong: measured, and judged by Welch's t-test.
//! What others do on the machine makes samples slower, never faster, so the slower half is left out.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;

use super::tests::{post, settings};
use super::{Admission, Verifier, compare};
use crate::catalog;
use crate::delivery::Delivery;

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

/// Two guesses, what is made of one for each sample so that no kind has a place in memory of its own, and what
/// is measured.
struct Trial<'a, T> {
    guesses: [Vec<u8>; 2],
    prepare: &'a dyn Fn(&[u8]) -> T,
    refuse: &'a dyn Fn(&T),
}

impl<T> Trial<'_, T> {
    fn leaks(&self) -> bool {
        (0..ATTEMPTS).all(|_| self.t() > T_MAX)
    }

    /// The statistic of one attempt.
    fn t(&self) -> f64 {
        let mut samples = [Vec::new(), Vec::new()];
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        while samples.iter().any(|of| of.len() < SAMPLES) {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let kind = (dice >> 32) as usize & 1;
            let guess = (self.prepare)(&self.guesses[kind]);
            let begun = Instant::now();
            for _ in 0..CALLS {
                (self.refuse)(black_box(&guess));
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

/// The same over the whole path of verification.
fn verification_leaks(row: &str, secret: &str, header: &'static str, guesses: [Vec<u8>; 2]) -> bool {
    let verifier = Verifier::compile(catalog::find(row).unwrap(), &settings(secret)).unwrap();
    let prepare = |guess: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::from_bytes(guess).unwrap());
        post(headers, "{}")
    };
    let refuse = |delivery: &Delivery| {
        let admission = verifier.admit(delivery.clone(), Timestamp::UNIX_EPOCH);
        assert!(matches!(black_box(admission), Admission::Refused(_)));
    };
    Trial { guesses, prepare: &prepare, refuse: &refuse }.leaks()
}

#[test]
fn where_a_guess_is_wrong_cant_be_told_from_the_time() {
    let secret = "s".repeat(LENGTH);
    let compared = |guess: &Vec<u8>| assert!(!compare::same(guess, black_box(secret.as_bytes())));
    let alone = Trial { guesses: guesses(secret.as_bytes()), prepare: &<[u8]>::to_vec, refuse: &compared };
    assert!(!alone.leaks(), "the comparison by itself");
    let token = verification_leaks("generic-token", &secret, "x-webhook-token", guesses(secret.as_bytes()));
    assert!(!token, "a token");
    let right = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"{}");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let signatures = guesses(right.as_ref()).map(|guess| format!("sha256={}", hex(&guess)).into_bytes());
    assert!(!verification_leaks("github", "key", "x-hub-signature-256", signatures), "a signature");
}

/// Else the test above would be one that can't fail.
#[test]
fn a_comparison_that_stops_early_is_found_out() {
    let secret = vec![b's'; LENGTH];
    let compared = |guess: &Vec<u8>| assert!(guess != black_box(&secret));
    assert!(Trial { guesses: guesses(&secret), prepare: &<[u8]>::to_vec, refuse: &compared }.leaks());
}
