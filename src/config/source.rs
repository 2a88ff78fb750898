//! Where a secret comes from: `env:NAME`, `file:PATH` or `text:VALUE`.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use crate::bounds::SECRET_BYTES_MAX;

/// A SOURCE. Its `Debug` and `Display` never show a value.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A variable of the environment, holding the value literally.
    Env(String),
    /// A file; one trailing newline is dropped.
    File(PathBuf),
    /// The value itself: for trying things out, warned about.
    Text(Zeroizing<String>),
}

impl Source {
    /// Reads the value.
    ///
    /// # Errors
    /// When there is none, or it is empty or longer than any secret; the text names the source and
    /// the way out, never the value.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let value = match self {
            Self::Env(name) => std::env::var_os(name)
                .map(|value| Zeroizing::new(value.into_encoded_bytes()))
                .ok_or_else(|| format!("the variable {name} isn't set in the environment"))?,
            Self::File(path) => self.read_file(path)?,
            Self::Text(text) => Zeroizing::new(text.as_bytes().to_vec()),
        };
        if value.is_empty() {
            return Err(format!("{self} is empty"));
        }
        if value.len() as u64 > SECRET_BYTES_MAX {
            return Err(format!("{self} is longer than {SECRET_BYTES_MAX} bytes"));
        }
        Ok(value)
    }

    /// A warning, if others can read the file.
    pub fn exposure(&self) -> Option<String> {
        match self {
            Self::File(path) => readable_by_others(path),
            Self::Env(_) | Self::Text(_) => None,
        }
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        // Room for all of it: a buffer that grows, and one on the stack in between, would leave parts behind.
        let mut value = Zeroizing::new(Vec::with_capacity(2 * SECRET_BYTES_MAX as usize));
        let file =
            std::fs::File::open(path).map_err(|e| format!("{} can't be opened: {e}", path.display()))?;
        file.take(SECRET_BYTES_MAX + 2)
            .read_to_end(&mut value)
            .map_err(|e| format!("{} can't be read: {e}", path.display()))?;
        if value.ends_with(b"\n") {
            value.pop();
            if value.ends_with(b"\r") {
                value.pop();
            }
        }
        Ok(value)
    }
}

/// A warning about a file that every user of the machine can read.
pub fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS_MAY_READ != 0).then(|| {
        let path = path.display();
        format!("every user of this machine can read {path} (mode {:03o}); chmod 600 {path}", mode & 0o777)
    })
}

const OTHERS_MAY_READ: u32 = 0o004;

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("text", value)) if !value.is_empty() => Ok(Self::Text(Zeroizing::new(value.into()))),
            // The text may be the secret itself, so it isn't repeated.
            _ => Err("a secret is given as env:NAME, file:PATH or text:VALUE".into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Text(_) => f.write_str("text:***"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            env: Option<String>,
            file: Option<PathBuf>,
            text: Option<String>,
        }
        let hint = "a secret is one of { env = \"NAME\" }, { file = \"PATH\" }, { text = \"VALUE\" }";
        let table = Table::deserialize(deserializer).map_err(|_| de::Error::custom(hint))?;
        match (table.env, table.file, table.text) {
            (Some(name), None, None) => Ok(Self::Env(name)),
            (None, Some(path), None) => Ok(Self::File(path)),
            (None, None, Some(text)) => Ok(Self::Text(Zeroizing::new(text))),
            _ => Err(de::Error::custom(hint)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_one_trailing_newline_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        for (content, secret) in
            [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" a\n\n", " a\n"), ("x", "x")]
        {
            let path = dir.path().join("secret");
            std::fs::write(&path, content).unwrap();
            assert_eq!(Source::File(path).read().unwrap().as_slice(), secret.as_bytes());
        }
    }

    #[test]
    fn nothing_is_never_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, "\n").unwrap();
        assert!(Source::File(path).read().unwrap_err().contains("is empty"));
        assert!(Source::File(dir.path().join("none")).read().unwrap_err().contains("can't be opened"));
        assert!(Source::Env("SLUICED_TEST_NO_SUCH".into()).read().unwrap_err().contains("isn't set"));
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_value() {
        let source: Source = "text:hunter2".parse().unwrap();
        assert_eq!(format!("{source:?} {source}"), "text:*** text:***");
        for wrong in ["hunter2", "txt:hunter2", ":hunter2"] {
            assert!(!wrong.parse::<Source>().unwrap_err().contains("hunter2"));
        }
        for wrong in ["env:", "file:", "text:", ""] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong}");
        }
    }
}
