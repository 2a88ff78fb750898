//! Verification: a catalogue row and a receiver's settings compile, once, into what judges every delivery.
//!
//! The order of one delivery is [`Verifier::admit`]: unsigned handshakes, schemes over the raw bytes, signed
//! handshakes, then the names of its events. It does no I/O: a key that must be fetched is asked for by
//! [`Admission::NeedsKey`]. What data can't say is a file under `named`. `Verified` is the proof; nothing outside
//! this module makes one.

mod acknowledgement;
mod admission;
mod aes;
mod canonical;
mod chain;
mod compare;
mod compile;
mod condition;
mod decrypt;
mod draft;
mod encoding;
mod error;
mod events;
mod fetched;
mod form;
mod function;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod grammar;
mod handshake;
mod hints;
mod host;
mod jose;
mod json;
mod jwk;
mod jwt;
mod key;
mod key_place;
mod mask;
mod named;
#[cfg(test)]
mod properties;
mod public_key;
mod public_url;
mod row_check;
mod scheme;
mod seal;
mod secret;
mod settings;
mod sign;
mod signed;
mod signing_keys;
mod sink;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod timestamp;
#[cfg(test)]
mod timing;
mod token;
mod variable;
mod vectors;
mod verdict;
mod verified;
mod verifier;
mod view;
mod warning;
mod xml;

pub use admission::{Admission, Refusal, Reply};
pub use error::CompileError;
pub use fetched::{Ask, Client, Credential, Fetched, KeyDocument, KeyRequest};
pub use hints::{Hint, hints};
pub use mask::{MASKED, Mask, Masked, mask};
pub use public_url::PublicUrl;
pub use row_check::check_row;
pub use secret::Secret;
pub use settings::{CapturePolicy, ReceiverSettings};
pub use sign::{OutgoingRequest, SignError};
pub use vectors::{Case, prove};
pub use verified::Verified;
pub use verifier::Verifier;
pub use warning::Warning;
