//! Secrets that senders hand over (Asana, Notion, Gusto): kept in the data directory, one file a receiver.
//!
//! A file holds one secret a line, so that it can be read, and seeded by hand. It is written beside, synced,
//! and renamed, before the sender gets its answer: what it was told is kept, is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::bounds::SECRET_BYTES_MAX;
use crate::verify::Secret;

/// What may stand in a file's name as it is; the dot not, so that no name is `..`.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Where a receiver's secrets are: `DATA_DIR/secrets/NAME[%2FID]`.
pub fn path(data_dir: &Path, label: &str) -> PathBuf {
    let name = utf8_percent_encode(&label.to_lowercase(), KEPT).to_string();
    data_dir.join("secrets").join(name)
}

/// The secrets there, none when there is no file.
///
/// # Errors
/// The file can't be read, or is larger than any secret.
pub fn read(path: &Path) -> io::Result<Vec<Secret>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Room for all of it: a buffer that grows would leave parts behind.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * SECRET_BYTES_MAX as usize));
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than any secret"));
    }
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).map(|line| Secret::new(line.to_vec())).collect())
}

/// Makes the file hold these secrets, safe from a crash and from other users.
///
/// # Errors
/// It can't be made durable.
pub fn write(path: &Path, secrets: &[Secret]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(path);
    if !dir.is_dir() {
        DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
        sync(dir.parent().unwrap_or(dir))?;
    }
    let beside = path.with_extension("new");
    // One that a crash left behind: with create_new its mode would else be somebody else's choice.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    for secret in secrets {
        file.write_all(secret.bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync(dir)
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_kept_for_the_owner_alone_and_found_again() {
        let data = tempfile::tempdir().unwrap();
        let file = path(data.path(), "Asana/Acme.1");
        assert!(file.ends_with("secrets/asana%2Facme%2E1"));
        assert!(read(&file).unwrap().is_empty());
        write(&file, &["one".into()]).unwrap();
        write(&file, &["one".into(), "two".into()]).unwrap();
        let texts: Vec<_> = read(&file).unwrap().iter().map(|s| s.text().unwrap().to_owned()).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_label_never_leaves_the_directory() {
        for label in ["..", "../x", "a/../../x", "a\0b"] {
            let file = path(Path::new("/data"), label);
            assert_eq!(file.parent(), Some(Path::new("/data/secrets")), "{label}");
        }
    }
}
