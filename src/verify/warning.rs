//! What an operator should know of a receiver that works all the same.

use std::fmt;

use super::scheme::{Check, Scheme};
use super::secret::Secret;
use super::settings::{CapturePolicy, ReceiverSettings};
use super::source::Source;
use super::variable::Variable;
use crate::catalog::{self, Replay, Row, Signs, VerifyBy};

/// A secret below this length, in bytes, can be guessed or searched for.
const SECRET_BYTES_MIN: usize = 16;

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Anybody who knows the URL is believed.
    NotVerified {
        /// The scheme that the receiver asked for.
        scheme: String,
    },
    /// A captured request can be sent again.
    ReplayUnprotected,
    /// The body, or parts of it, can be changed on the way without being noticed.
    BodyNotSigned {
        /// How much is covered.
        signs: Signs,
    },
    /// A secret that is too short.
    ShortSecret {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A secret with white space or a line end around it: usually pasted wrongly.
    SecretHasSpace,
    /// The receiver has no secret yet, and takes the first that comes.
    AwaitsSecret,
    /// The facts of the row are second-hand.
    Unconfirmed,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotVerified { scheme } => {
                write!(f, "nothing is verified (scheme {scheme}): who knows the URL can send anything")
            }
            Self::ReplayUnprotected => {
                f.write_str("the provider signs neither time nor id: a captured request can be sent again")
            }
            Self::BodyNotSigned { signs: Signs::Nothing } => {
                f.write_str("the provider doesn't sign the body: who captures one request can send any")
            }
            Self::BodyNotSigned { .. } => {
                f.write_str("the provider signs parts of the body only: the rest can be changed on the way")
            }
            Self::ShortSecret { bytes } => {
                write!(f, "a secret has {bytes} bytes: below {SECRET_BYTES_MIN} it can be guessed")
            }
            Self::SecretHasSpace => f.write_str("a secret has white space or a line end around it"),
            Self::AwaitsSecret => {
                f.write_str("there is no secret yet: the first that comes is taken, whoever sends it")
            }
            Self::Unconfirmed => {
                f.write_str("this provider's row is not confirmed by the provider's own material")
            }
        }
    }
}

/// All that there is to know.
pub(super) fn all(
    row: &Row,
    settings: &ReceiverSettings,
    chosen: &[&catalog::Scheme],
    schemes: &[Scheme],
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(scheme) = chosen.iter().find(|scheme| scheme.verify == VerifyBy::None) {
        warnings.push(Warning::NotVerified { scheme: scheme.name.clone() });
    }
    let mut unaged = chosen.iter().zip(schemes).filter(|(_, scheme)| is_never_aged(scheme));
    if unaged.any(|(scheme, _)| scheme.on_request || row.replay == Replay::Unprotected) {
        warnings.push(Warning::ReplayUnprotected);
    }
    let covers_body =
        chosen.iter().all(|scheme| scheme.verify.covers_body()) && schemes.iter().all(covers_body);
    let signs = match (covers_body, row.signs) {
        (false, _) => Signs::Nothing,
        (true, Signs::Body) if schemes.iter().any(covers_a_part) => Signs::Part,
        (true, signs) => signs,
    };
    if signs != Signs::Body {
        warnings.push(Warning::BodyNotSigned { signs });
    }
    if row.captures() && settings.secrets.is_empty() && settings.capture != CapturePolicy::Never {
        warnings.push(Warning::AwaitsSecret);
    }
    if row.evidence == catalog::Evidence::Unconfirmed {
        warnings.push(Warning::Unconfirmed);
    }
    // A public key is long enough, and its line ends don't matter.
    let secrets =
        settings.secrets.iter().map(Secret::bytes).filter(|secret| !secret.starts_with(b"-----BEGIN "));
    for bytes in secrets.filter(|_| chosen.iter().any(|scheme| scheme.verify != VerifyBy::PublicKey)) {
        if bytes.trim_ascii().len() < bytes.len() {
            warnings.push(Warning::SecretHasSpace);
        }
        if bytes.len() < SECRET_BYTES_MIN {
            warnings.push(Warning::ShortSecret { bytes: bytes.len() });
        }
    }
    warnings
}

/// Whether the message that a scheme signs has anything of the body in it.
fn covers_body(scheme: &Scheme) -> bool {
    let Check::Signed(signed) = &scheme.check else { return true };
    let of_body = |variable: &Variable| match variable {
        Variable::Body | Variable::FormSorted => true,
        Variable::Source(source) => source.is_in_body(),
        _ => false,
    };
    signed.messages.iter().all(|message| message.has(&of_body))
}

/// Whether it is a value of the body that is signed, and not the body.
fn covers_a_part(scheme: &Scheme) -> bool {
    let Check::Signed(signed) = &scheme.check else { return false };
    let is_whole = |variable: &Variable| match variable {
        Variable::Source(source) => !source.is_in_body() || matches!(source, Source::Body),
        _ => true,
    };
    let is_body = |variable: &Variable| matches!(variable, Variable::Body | Variable::FormSorted);
    signed.messages.iter().any(|message| {
        !message.has(&is_body) && message.needed().into_iter().any(|variable| !is_whole(variable))
    })
}

/// Then replay protection is what the row says; but what is said there doesn't hold for schemes of old.
fn is_never_aged(scheme: &Scheme) -> bool {
    match &scheme.check {
        Check::Signed(signed) => signed.clock.as_ref().is_none_or(|clock| !clock.is_bounded()),
        Check::Jwt(_) | Check::Named(_) => false,
        Check::Token(_) | Check::Nothing => true,
    }
}
