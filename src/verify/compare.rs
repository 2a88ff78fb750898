//! The one comparison of secrets and signatures in this code base.

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Whether both are the same bytes, in a time that depends on their lengths only.
pub(super) fn same(given: &[u8], expected: &[u8]) -> bool {
    verify_slices_are_equal(given, expected).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn compares_bytes() {
        assert!(same(b"", b""));
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd"));
        assert!(!same(b"abc", b"abcd"));
        assert!(!same(b"", b"a"));
    }

    /// No other file may reach for a comparison of its own: neither the library's constant-time one, nor
    /// `==` on what a secret or a signature is called here.
    #[test]
    fn nothing_else_compares_secrets() {
        let compared = [
            "secret.bytes() ==",
            "secret ==",
            "== secret",
            "signature ==",
            "== signature",
            "tag ==",
            "tag.as_ref() ==",
            "== tag",
            "digest ==",
            "token ==",
            "== token",
            "candidate ==",
            "== expected",
            "verify_slices_are_equal",
            "hmac::verify",
        ];
        for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            if file.ends_with("verify/compare.rs") || file.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for words in compared {
                assert!(!code.contains(words), "{} compares by itself: {words}", file.display());
            }
        }
    }

    fn sources(under: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(under).unwrap().map(|entry| entry.unwrap().path());
        entries
            .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
            .collect()
    }
}
