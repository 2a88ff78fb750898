//! AWS SNS: RSA over some fields of the body, under a certificate that the body names.
//!
//! The rule (docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html): the fields of the
//! message's type, sorted by name, each as `NAME\nVALUE\n`; a field that isn't there is left out.
//! `SignatureVersion` 1 is SHA-1, 2 is SHA-256.

use jiff::Timestamp;

use super::{Compiled, Named, Parts};
use crate::reason::Reason;
use crate::verify::admission::Refusal;
use crate::verify::encoding::Encoding;
use crate::verify::error::CompileError;
use crate::verify::json::Pointer;
use crate::verify::key_place::KeyPlace;
use crate::verify::source::{Gap, Source};
use crate::verify::timestamp::Clock;
use crate::verify::verdict::{Stop, Verdict};
use crate::verify::view::View;
use crate::verify::{public_key, signed};

const NOTIFICATION: [&str; 6] = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
const CONFIRMATION: [&str; 7] =
    ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

#[derive(Debug)]
struct AwsSns {
    certificate: KeyPlace,
    clock: Option<Clock>,
}

pub(super) fn compile(parts: &Parts<'_>) -> Compiled {
    let missing = CompileError::Incomplete { problem: "aws-sns needs keys" };
    let certificate = KeyPlace::of(parts.scheme, parts.scope)?.ok_or(missing)?;
    let rule = parts.scheme.timestamp.as_ref();
    let clock = rule.map(|rule| Clock::compile(rule, parts.scope, parts.tolerance)).transpose()?.flatten();
    Ok(Ok(Box::new(AwsSns { certificate, clock })))
}

impl Named for AwsSns {
    fn verify(&self, view: &View<'_>, now: Timestamp) -> Verdict {
        let signature = Encoding::Base64.decode(field(view, "Signature")?.as_bytes()).ok_or(NOT_BASE64)?;
        let algorithm = match field(view, "SignatureVersion")?.as_str() {
            "1" => "rsa-sha1",
            "2" => "rsa-sha256",
            _ => return Err(UNKNOWN_VERSION.into()),
        };
        let algorithm = public_key::algorithm(algorithm).map_err(|_| UNKNOWN_VERSION)?;
        let message = message(view)?;
        if !is_certificate(&self.certificate.url(view)?) {
            return Err(NO_CERTIFICATE.into());
        }
        let found = self.certificate.keys(view, algorithm, now)?;
        if !found.keys.iter().any(|key| key.verify_sig(message.as_bytes(), &signature).is_ok()) {
            // What stands under one address never changes: a newer one would be no other.
            return Err(MISMATCH.into());
        }
        if let Some(clock) = &self.clock {
            clock.judge(field(view, "Timestamp")?.as_bytes(), now)?;
        }
        Ok(None)
    }

    fn needs_secret(&self) -> bool {
        false
    }
}

const NOT_BASE64: Refusal = Refusal::new(Reason::SignatureMalformed, "Signature is not base64");
const UNKNOWN_VERSION: Refusal = Refusal::new(Reason::SignatureMalformed, "SignatureVersion is not 1 or 2");
const UNKNOWN_TYPE: Refusal = Refusal::new(Reason::SignatureMalformed, "Type is none that SNS sends");
const NO_CERTIFICATE: Refusal =
    Refusal::new(Reason::CertificateUntrusted, "SigningCertURL is no address of an SNS certificate");
const MISMATCH: Refusal =
    Refusal::new(Reason::SignatureMismatch, "the certificate's key doesn't give this signature");

/// The text that is signed.
fn message(view: &View<'_>) -> Result<String, Stop> {
    let names: &[&str] = match field(view, "Type")?.as_str() {
        "Notification" => &NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &CONFIRMATION,
        _ => return Err(UNKNOWN_TYPE.into()),
    };
    let mut message = String::new();
    for name in names {
        let value = match member(view, name) {
            Err(Gap::Absent) if *name == "Subject" => continue,
            value => value.map_err(signed::refuse)?,
        };
        message.extend([name, "\n", &value, "\n"]);
    }
    Ok(message)
}

/// A member that must be there.
fn field(view: &View<'_>, name: &str) -> Result<String, Refusal> {
    member(view, name).map_err(signed::refuse)
}

/// A member that is there once; only one that is there twice would have two readings.
fn member(view: &View<'_>, name: &str) -> Result<String, Gap> {
    let pointer = Pointer::parse(&format!("/{name}")).map_err(|_| Gap::Body)?;
    let value = Source::Json(pointer).one(view)?;
    String::from_utf8(value.into_owned()).map_err(|_| Gap::Body)
}

/// The host is checked already; of what it serves, certificates alone may be asked for.
fn is_certificate(url: &str) -> bool {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    path.starts_with("SimpleNotificationService-")
        && path.ends_with(".pem")
        && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}
