//! What a receiver configures: secrets, settings, and what overrides its row.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::error::CompileError;
use super::public_url::PublicUrl;
use super::secret::Secret;
use crate::catalog::Row;

/// One receiver's side of verification; the row is the other.
#[derive(Clone, Debug, Default)]
pub struct ReceiverSettings {
    /// All that are valid now.
    pub secrets: Vec<Secret>,
    /// Values of the row's declared settings.
    pub settings: BTreeMap<String, Secret>,
    /// What the sender was told to call.
    pub public_url: Option<PublicUrl>,
    /// The names of the schemes to accept; `None` accepts those that needn't be asked for.
    pub schemes: Option<Vec<String>>,
    /// How far off timestamps may be, instead of the row's tolerance.
    pub tolerance: Option<Duration>,
    /// What becomes of a secret that the sender hands over.
    pub capture: CapturePolicy,
}

/// What becomes of a secret that the sender hands over, unsigned: who knows the URL can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CapturePolicy {
    /// The first is taken while the receiver has none.
    #[default]
    Once,
    /// Each is taken, besides those that there are: for several webhooks at one URL.
    Add,
    /// None is taken.
    Never,
}

impl ReceiverSettings {
    /// Takes `--receiver-set NAME.KEY=VALUE`: the keys `schemes` (`sha256,sha1`), `tolerance` (`5m`) and
    /// `capture` (`once`, `add`, `never`) are the same for all rows, any other is a setting of the row.
    pub fn set(&mut self, key: &str, value: Secret) -> Result<(), CompileError> {
        let problem = |problem: &str| CompileError::SettingUnusable {
            name: key.to_owned(),
            problem: problem.to_owned(),
        };
        match key {
            "schemes" => {
                let text = value.text().ok_or_else(|| problem("it is not text"))?;
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                self.schemes = Some(names.map(str::to_owned).collect());
            }
            "tolerance" => {
                let duration = value.text().and_then(|text| crate::catalog::duration(text.trim()));
                self.tolerance =
                    Some(duration.ok_or_else(|| problem("expected a duration such as 5m or 30s"))?);
            }
            "capture" => {
                self.capture = match value.text().map(str::trim) {
                    Some("once") => CapturePolicy::Once,
                    Some("add") => CapturePolicy::Add,
                    Some("never") => CapturePolicy::Never,
                    _ => return Err(problem("expected once, add or never")),
                };
            }
            _ => {
                self.settings.insert(key.to_owned(), value);
            }
        }
        Ok(())
    }
}

/// The values that `{set:NAME}` stands for.
pub(super) struct Scope<'a> {
    row: &'a Row,
    given: &'a BTreeMap<String, Secret>,
}

impl<'a> Scope<'a> {
    /// Checks that what is given is declared, and what is required is given.
    pub(super) fn new(row: &'a Row, given: &'a BTreeMap<String, Secret>) -> Result<Self, CompileError> {
        if let Some(name) = given.keys().find(|name| !row.settings.contains_key(*name)) {
            return Err(CompileError::SettingUnknown {
                provider: row.name.clone(),
                name: name.clone(),
                known: known(row),
            });
        }
        // An empty one counts as missing: conditions and claims that compare with it would be dropped.
        let is_given = |name: &String| given.get(name).is_some_and(|value| !value.bytes().is_empty());
        let missing = row.settings.iter().find(|(name, setting)| setting.required && !is_given(name));
        match missing {
            None => Ok(Self { row, given }),
            Some((name, setting)) => Err(CompileError::SettingMissing {
                provider: row.name.clone(),
                name: name.clone(),
                doc: setting.doc.clone(),
            }),
        }
    }

    /// A setting's value.
    pub(super) fn value(&self, name: &str) -> Result<&'a [u8], CompileError> {
        match (self.given.get(name), self.row.settings.get(name)) {
            (Some(given), _) => Ok(given.bytes()),
            (None, Some(declared)) => Ok(declared.default.as_bytes()),
            (None, None) => Err(CompileError::malformed("setting", name, "the row doesn't declare it")),
        }
    }

    /// A plain field with its settings put in.
    pub(super) fn expand<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, CompileError> {
        let mut parts = text.split("{set:");
        let first = parts.next().unwrap_or_default();
        let mut expanded = Cow::Borrowed(first);
        for part in parts {
            let (name, rest) = part
                .split_once('}')
                .ok_or_else(|| CompileError::malformed("field", text, "a {set: is not closed"))?;
            let value = std::str::from_utf8(self.value(name)?).map_err(|_| {
                CompileError::SettingUnusable { name: name.to_owned(), problem: "it is not text".to_owned() }
            })?;
            let expanded = expanded.to_mut();
            expanded.push_str(value);
            expanded.push_str(rest);
        }
        Ok(expanded)
    }

    /// Several plain fields, without those that come out empty.
    pub(super) fn expand_all(&self, texts: &[String]) -> Result<Vec<String>, CompileError> {
        let expanded: Vec<_> = texts.iter().map(|text| self.expand(text)).collect::<Result<_, _>>()?;
        Ok(expanded.into_iter().filter(|text| !text.is_empty()).map(Cow::into_owned).collect())
    }
}

fn known(row: &Row) -> String {
    let own = row.settings.keys().map(String::as_str);
    let captures = row.captures().then_some("capture");
    own.chain(["schemes", "tolerance"]).chain(captures).collect::<Vec<_>>().join(", ")
}
