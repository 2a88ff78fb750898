//! Secrets in memory: zeroed when dropped, never printed.

use std::fmt;

use zeroize::Zeroizing;

use super::compare;

/// A secret as the operator gave it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether both are the same, in constant time.
    pub fn is(&self, other: &Self) -> bool {
        compare::same(&self.0, &other.0)
    }

    /// The bytes, for verification only.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text; `None` when they aren't UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_printed() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "***");
    }
}
