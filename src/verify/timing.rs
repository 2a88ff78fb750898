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
/// Of what refusing takes: below it is what processors do with what was just written, not what a comparison does.
const DIFFERENCE_MIN: f64 = 0.005;
/// A leak shows each time, a disturbance by others does not.
const ATTEMPTS: usize = 5;
/// Bytes: so that a comparison that stops early stops much earlier.
const LENGTH: usize = 16 << 10;

/// What is right, what is made of a guess for each sample, and what is measured. All guesses are copies of the one
/// that is right: no kind has a place in memory, or in a cache, of its own.
struct Trial<'a, T> {
    right: &'a [u8],
    /// The first and the last place where a guess may be wrong.
    places: [usize; 2],
    prepare: &'a dyn Fn(&[u8]) -> T,
    refuse: &'a dyn Fn(&T),
}

impl<T> Trial<'_, T> {
    fn leaks(&self) -> bool {
        (0..ATTEMPTS).all(|_| {
            let (t, difference) = self.compare();
            println!("t {t:.1}, {:.2} %", 100.0 * difference);
            t > T_MAX && difference > DIFFERENCE_MIN
        })
    }

    /// The t statistic of one attempt, and the difference as a part of the whole.
    fn compare(&self) -> (f64, f64) {
        let mut samples = [Vec::new(), Vec::new()];
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        while samples.iter().any(|of| of.len() < SAMPLES) {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let kind = (dice >> 32) as usize & 1;
            let guess = (self.prepare)(&self.guess(kind));
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
        let difference = (a.0 - b.0).abs();
        (difference / (a.1 + b.1).max(f64::MIN_POSITIVE).sqrt(), difference / a.0.max(b.0))
    }

    /// Wrong in one place, written to in both.
    fn guess(&self, kind: usize) -> Vec<u8> {
        let mut guess = self.right.to_vec();
        for (number, place) in self.places.into_iter().enumerate() {
            let right = self.right[place];
            let wrong = if right == b'0' { b'1' } else { b'0' };
            guess[place] = black_box(if number == kind { wrong } else { right });
        }
        guess
    }
}

/// The same over the whole path of verification.
fn verification_leaks(row: &str, secret: &str, header: &'static str, right: &str, first: usize) -> bool {
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
    let places = [first, right.len() - 1];
    Trial { right: right.as_bytes(), places, prepare: &prepare, refuse: &refuse }.leaks()
}

#[test]
fn where_a_guess_is_wrong_cant_be_told_from_the_time() {
    let secret = "s".repeat(LENGTH);
    let compared = |guess: &Vec<u8>| assert!(!compare::same(guess, black_box(secret.as_bytes())));
    assert!(!comparison_leaks(secret.as_bytes(), &compared), "the comparison by itself");
    assert!(!verification_leaks("generic-token", &secret, "x-webhook-token", &secret, 0), "a token");
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), b"{}");
    let hex: String = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let (prefix, header) = ("sha256=", "x-hub-signature-256");
    let right = format!("{prefix}{hex}");
    assert!(!verification_leaks("github", "key", header, &right, prefix.len()), "a signature");
}

fn comparison_leaks(right: &[u8], refuse: &dyn Fn(&Vec<u8>)) -> bool {
    Trial { right, places: [0, right.len() - 1], prepare: &<[u8]>::to_vec, refuse }.leaks()
}

/// Else the test above would be one that can't fail.
#[test]
fn a_comparison_that_stops_early_is_found_out() {
    let secret = vec![b's'; LENGTH];
    assert!(comparison_leaks(&secret, &|guess| assert!(guess != black_box(&secret))));
}
