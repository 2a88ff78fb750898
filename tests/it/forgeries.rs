//! Webhooks that aren't authentic: unsigned, forged, stale, ambiguous. None gets in.

use crate::attack::{Attack, withstand};
use crate::client::{SECRET, github_signature, hmac_sha256_hex, post};
use crate::signing::{seconds_from_now, slack, standard, stripe};

const BODY: &[u8] = br#"{"id":"evt_1","type":"invoice.paid"}"#;

#[test]
fn unsigned_and_forged_webhooks_are_refused() {
    let good = github_signature(SECRET, BODY);
    let github = |headers: &[(&str, &str)], body: &[u8]| post("github", headers, body);
    let signed_by = |signature: &str| github(&[("X-Hub-Signature-256", signature)], BODY);
    let sha1 = ("X-Hub-Signature", "sha1=959d6081c0465919c3e3c8c436898c2f936a411c");
    withstand(
        &[
            Attack::new("unsigned", github(&[], BODY), 401, "signature_missing"),
            Attack::new("an empty signature", signed_by(""), 401, "signature_missing"),
            Attack::new("only SHA-1", github(&[sha1], BODY), 401, "signature_missing"),
            Attack::new(
                "another secret",
                signed_by(&github_signature("guess", BODY)),
                401,
                "signature_mismatch",
            ),
            Attack::new(
                "another body",
                github(&[("X-Hub-Signature-256", &good)], b"{\"id\":\"evt_2\"}"),
                401,
                "signature_mismatch",
            ),
            Attack::new("not hex", signed_by(&good.replace('=', "=zz")), 400, "signature_malformed"),
            Attack::new("half a signature", signed_by(&good[..39]), 400, "signature_malformed"),
            Attack::new("without its prefix", signed_by(&good[7..]), 400, "signature_malformed"),
            Attack::new("of another scheme", slack_signed_for_github(), 401, "signature_missing"),
        ],
        "",
    );
}

#[test]
fn repeated_signature_headers_are_refused_whichever_is_right() {
    let (good, bad) = (github_signature(SECRET, BODY), github_signature("guess", BODY));
    let twice = |first: &str, second: &str| {
        post("github", &[("X-Hub-Signature-256", first), ("X-Hub-Signature-256", second)], BODY)
    };
    withstand(
        &[
            Attack::new("the right one twice", twice(&good, &good), 400, "signature_malformed"),
            Attack::new("the right one first", twice(&good, &bad), 400, "signature_malformed"),
            Attack::new("the right one last", twice(&bad, &good), 400, "signature_malformed"),
            Attack::new("in one header", twice(&format!("{bad}, {good}"), &good), 400, "signature_malformed"),
        ],
        "",
    );
}

#[test]
fn replays_are_refused_on_both_sides_of_the_tolerance() {
    let (past, future) = (seconds_from_now(-330), seconds_from_now(330));
    withstand(
        &[
            Attack::new("stripe, past", stripe(SECRET, past, BODY), 401, "timestamp_out_of_tolerance"),
            Attack::new("stripe, future", stripe(SECRET, future, BODY), 401, "timestamp_out_of_tolerance"),
            Attack::new("slack, past", slack(&past.to_string(), BODY), 401, "timestamp_out_of_tolerance"),
            Attack::new("slack, future", slack(&future.to_string(), BODY), 401, "timestamp_out_of_tolerance"),
            Attack::new("standard, past", standard("msg_1", past, BODY), 401, "timestamp_out_of_tolerance"),
            Attack::new(
                "standard, future",
                standard("msg_1", future, BODY),
                401,
                "timestamp_out_of_tolerance",
            ),
            Attack::new("slack, no number", slack("soon", BODY), 400, "timestamp_malformed"),
            Attack::new("slack, none", slack_without_a_timestamp(), 401, "timestamp_missing"),
        ],
        "",
    );
}

#[test]
fn a_fresh_timestamp_does_not_rescue_a_forgery() {
    let now = seconds_from_now(0);
    let other_time = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(&(now - 330).to_string(), &now.to_string()).into_bytes()
    };
    withstand(
        &[
            Attack::new("stripe, another secret", stripe("guess", now, BODY), 401, "signature_mismatch"),
            Attack::new(
                "stripe, time moved",
                other_time(stripe(SECRET, now - 330, BODY)),
                401,
                "signature_mismatch",
            ),
            Attack::new(
                "slack, time moved",
                other_time(slack(&(now - 330).to_string(), BODY)),
                401,
                "signature_mismatch",
            ),
            Attack::new(
                "standard, time moved",
                other_time(standard("msg_1", now - 330, BODY)),
                401,
                "signature_mismatch",
            ),
        ],
        "",
    );
}

fn slack_signed_for_github() -> Vec<u8> {
    let signature = format!("v0={}", hmac_sha256_hex(SECRET, BODY));
    post("github", &[("X-Slack-Signature", &signature)], BODY)
}

fn slack_without_a_timestamp() -> Vec<u8> {
    let signature = format!("v0={}", hmac_sha256_hex(SECRET, &[b"v0::", BODY].concat()));
    post("slack", &[("X-Slack-Signature", &signature)], BODY)
}
