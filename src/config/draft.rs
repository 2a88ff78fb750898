//! A receiver as configured, its secrets not read yet.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::file::Setting;
use super::front_door::ReceiverFrontConfig;
use super::receivers::label;
use super::source::Source;
use super::{ConfigError, ReceiverConfig};

/// Where a draft's secrets come from, with the precedence of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    File,
    Environment,
    Flag,
}

/// A receiver whose secrets have not been read.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) secrets: Vec<SecretFrom>,
    pub(super) settings: BTreeMap<String, Setting>,
    pub(super) path: Option<String>,
    pub(super) body_bytes_max: Option<u64>,
    pub(super) tolerance: Option<std::time::Duration>,
    pub(super) raw_body: bool,
    pub(super) mask: bool,
    pub(super) front: ReceiverFrontConfig,
    pub(super) origin: String,
}

#[derive(Debug)]
pub(super) enum SecretFrom {
    Source(Source),
    /// A variable that holds secrets literally, one a line.
    Lines(String),
}

impl Draft {
    /// Reads its secrets and settings.
    pub(super) fn read(&self, warnings: &mut Vec<String>) -> Result<ReceiverConfig, ConfigError> {
        let label = label(&self.name, &self.id);
        let wrong =
            |what: &str, e: String| ConfigError(format!("{}: {what} of receiver {label}: {e}", self.origin));
        let mut secrets = Vec::new();
        for from in &self.secrets {
            secrets.extend(from.read(&label, warnings).map_err(|e| wrong("the secret", e))?);
        }
        let mut settings = BTreeMap::new();
        for (key, setting) in &self.settings {
            warnings.extend(setting.exposure().map(|why| format!("{key} of receiver {label}: {why}")));
            let value = match setting {
                Setting::Plain(text) | Setting::From(Source::Text(text)) => {
                    Zeroizing::new(text.as_bytes().to_vec())
                }
                Setting::From(source) => source.read().map_err(|e| wrong(key, e))?,
            };
            settings.insert(key.clone(), value);
        }
        let path = self.path.as_deref().map(|path| checked_path(path, &self.origin)).transpose()?;
        Ok(ReceiverConfig {
            name: self.name.clone(),
            id: self.id.clone(),
            secrets,
            settings,
            path,
            body_bytes_max: self.body_bytes_max,
            tolerance: self.tolerance,
            raw_body: self.raw_body,
            mask: self.mask,
            front: self.front.clone(),
            origin: self.origin.clone(),
        })
    }
}

impl SecretFrom {
    fn read(&self, label: &str, warnings: &mut Vec<String>) -> Result<Vec<Zeroizing<Vec<u8>>>, String> {
        match self {
            Self::Source(source) => {
                if matches!(source, Source::Text(_)) {
                    warnings.push(format!(
                        "the secret of receiver {label} stands in plain text in the configuration or the process list; use env: or file:"
                    ));
                }
                warnings
                    .extend(source.exposure().map(|why| format!("the secret of receiver {label}: {why}")));
                Ok(vec![source.read()?])
            }
            Self::Lines(variable) => {
                let value = Source::Env(variable.clone()).read()?;
                let lines: Vec<_> = value
                    .split(|b| *b == b'\n')
                    .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                    .filter(|line| !line.is_empty())
                    .map(|line| Zeroizing::new(line.to_vec()))
                    .collect();
                if lines.is_empty() {
                    Err(format!("the variable {variable} holds no secret"))
                } else {
                    Ok(lines)
                }
            }
        }
    }
}

fn checked_path(path: &str, origin: &str) -> Result<String, ConfigError> {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'%' | b'?' | b'#'));
    if plain && path.starts_with('/') && path.len() > 1 {
        return Ok(path.to_owned());
    }
    Err(ConfigError(format!("{origin}: `{path}` can't be a receiver's path; write /hooks/github")))
}
