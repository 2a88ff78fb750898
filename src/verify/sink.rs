//! Where a template's bytes go: straight into the computation, or into memory.

use aws_lc_rs::{digest, hmac};

/// A receiver of bytes.
pub(super) enum Sink<'s> {
    Mac(&'s mut hmac::Context),
    Digest(&'s mut digest::Context),
    Bytes(&'s mut Vec<u8>),
}

impl Sink<'_> {
    /// Takes the next bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        match self {
            Self::Mac(context) => context.update(bytes),
            Self::Digest(context) => context.update(bytes),
            Self::Bytes(sink) => sink.extend_from_slice(bytes),
        }
    }
}
