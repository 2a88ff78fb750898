//! Verification: a catalogue row and a receiver's settings compile, once, into what judges every delivery.
//!
//! The order of one delivery is [`Verifier::admit`]: unsigned handshakes, schemes over the raw bytes, signed
//! handshakes, then the names of its events. `Verified` is the proof; nothing outside this module makes one.

mod admission;
mod compare;
mod compile;
mod condition;
mod draft;
mod encoding;
mod error;
mod events;
mod form;
mod function;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grammar;
mod handshake;
mod hints;
mod json;
mod jwk;
mod jwt;
mod key;
mod mask;
#[cfg(test)]
mod properties;
mod public_key;
mod public_url;
mod row_check;
mod scheme;
mod secret;
mod settings;
mod sign;
mod signed;
mod sink;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod timestamp;
mod token;
mod variable;
mod vectors;
mod verified;
mod verifier;
mod view;
mod warning;
mod xml;

pub use admission::{Admission, Refusal, Reply};
pub use error::CompileError;
pub use hints::{Hint, hints};
pub use mask::{MASKED, Mask, Masked, mask};
pub use public_url::PublicUrl;
pub use row_check::check_row;
pub use secret::Secret;
pub use settings::ReceiverSettings;
pub use sign::{OutgoingRequest, SignError};
pub use vectors::{Case, prove};
pub use verified::Verified;
pub use verifier::Verifier;
pub use warning::Warning;
