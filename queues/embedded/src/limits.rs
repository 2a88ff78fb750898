//! The longest message that each destination takes, as its broker last said: kept, so that a message that is
//! too long is refused at the door also while the broker is away.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::store::sync_dir;

/// A small file beside the store.
#[derive(Debug)]
pub(crate) struct Limits {
    path: PathBuf,
    known: BTreeMap<String, usize>,
}

impl Limits {
    /// Reads what is there. It is only remembered, so a file that can't be read counts as none.
    pub(crate) fn read(dir: &Path) -> Self {
        let path = dir.join("limits.json");
        let known = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "can't be read; brokers will be asked again");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self { path, known }
    }

    pub(crate) fn get(&self, destination: &str) -> Option<usize> {
        self.known.get(destination).copied()
    }

    /// Whole or not at all, and on the disk, when it returns.
    pub(crate) fn set(&mut self, destination: &str, bytes_max: usize) -> io::Result<()> {
        if self.get(destination) == Some(bytes_max) {
            return Ok(());
        }
        self.known.insert(destination.to_owned(), bytes_max);
        let text = serde_json::to_vec(&self.known)?;
        let new = self.path.with_extension("json.new");
        let options =
            |file: &mut OpenOptions| file.write(true).create(true).truncate(true).mode(0o600).open(&new);
        let mut file: File = options(&mut OpenOptions::new())?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        sync_dir(dir).map_err(|error| io::Error::other(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_known_after_a_restart_and_a_broken_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let mut limits = Limits::read(dir.path());
        assert_eq!(limits.get("a"), None);
        limits.set("a", 1_000).unwrap();
        limits.set("b", 2_000).unwrap();
        limits.set("a", 3_000).unwrap();
        let read = Limits::read(dir.path());
        assert_eq!((read.get("a"), read.get("b")), (Some(3_000), Some(2_000)));
        fs::write(dir.path().join("limits.json"), "{\"a\":").unwrap();
        let mut broken = Limits::read(dir.path());
        assert_eq!(broken.get("a"), None);
        broken.set("a", 5).unwrap();
        assert_eq!(Limits::read(dir.path()).get("a"), Some(5));
    }
}
