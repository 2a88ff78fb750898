//! Which receivers there are: from the file, from `SLUICED_RECEIVER_…` variables, from flags.
//!
//! One endpoint (a name and an id) may be named in several places. Its secrets then come from the
//! place of the highest precedence alone, so that a secret taken out there is really out; its other
//! keys add up.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

use toml::Spanned;
use zeroize::Zeroizing;

use super::ConfigError;
use super::draft::{Draft, Place, SecretFrom};
use super::file::{self, Setting, Text};
use super::front_door::ReceiverFrontConfig;
use super::providers::unknown_provider;
use super::source::Source;
use crate::catalog::Catalog;

const VARIABLE_PREFIX: &str = "SLUICED_RECEIVER_";
/// The variable of `--receiver-set`; no provider may be called `set`.
const SET_VARIABLE: &str = "SLUICED_RECEIVER_SET";

/// One receiver as configured, its secrets read. Its `Debug` shows none of them.
pub struct ReceiverConfig {
    /// As configured, in lower case; a provider's name or alias.
    pub name: String,
    /// The id as configured; empty without one.
    pub id: String,
    /// Any of them is valid.
    pub secrets: Vec<Zeroizing<Vec<u8>>>,
    /// What the scheme needs besides.
    pub settings: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// A path of its own, besides the one under `base_path`.
    pub path: Option<String>,
    /// Bytes of a body.
    pub body_bytes_max: Option<u64>,
    /// How far a signed timestamp may be off.
    pub tolerance: Option<std::time::Duration>,
    /// Adds the exact bytes to every message.
    pub raw_body: bool,
    /// Replaces credentials in messages.
    pub mask: bool,
    /// From where its deliveries come, and how many.
    pub front: ReceiverFrontConfig,
    /// Where it was configured, for errors.
    pub origin: String,
}

impl fmt::Debug for ReceiverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverConfig")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl ReceiverConfig {
    /// `name` or `name/id`.
    pub fn label(&self) -> String {
        label(&self.name, &self.id)
    }
}

/// `name` or `name/id`.
pub(super) fn label(name: &str, id: &str) -> String {
    if id.is_empty() { name.to_owned() } else { format!("{name}/{id}") }
}

/// Whether a variable configures a receiver.
pub fn is_receiver_variable(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper.starts_with(VARIABLE_PREFIX) && upper != SET_VARIABLE
}

/// Collects the receivers from all places and reads their secrets.
///
/// # Errors
/// Names the place of what can't be used, and the way out.
pub(super) fn collect(
    catalog: &Catalog,
    file: Vec<Spanned<file::Receiver>>,
    text: Option<&Text>,
    flags: &[String],
    sets: &[String],
    warnings: &mut Vec<String>,
) -> Result<Vec<ReceiverConfig>, ConfigError> {
    let mut drafts = Drafts::of_file(catalog, file, text)?;
    // Flags before the environment, whose variables can only be matched with what is known.
    for flag in flags {
        drafts.add_from_flag(flag)?;
    }
    drafts.add_from_environment()?;
    for set in sets {
        drafts.set_from_flag(set)?;
    }
    drafts.all.into_iter().map(|draft| draft.read(warnings)).collect()
}

/// One receiver of the file; with secrets, of the environment too.
///
/// # Errors
/// As [`collect`].
pub(super) fn find(
    catalog: &Catalog,
    file: Vec<Spanned<file::Receiver>>,
    text: Option<&Text>,
    name: &str,
    id: &str,
    with_secrets: bool,
) -> Result<Option<ReceiverConfig>, ConfigError> {
    let mut drafts = Drafts::of_file(catalog, file, text)?;
    if with_secrets {
        drafts.add_from_environment()?;
    }
    let Some(draft) = drafts.find(&name.to_lowercase(), id) else { return Ok(None) };
    if !with_secrets {
        draft.secrets.clear();
    }
    draft.read(&mut Vec::new()).map(Some)
}

struct Drafts<'a> {
    catalog: &'a Catalog,
    all: Vec<Draft>,
    /// Where in `all` a name and an id in lower case are.
    places: HashMap<(String, String), usize>,
}

impl<'a> Drafts<'a> {
    fn of_file(
        catalog: &'a Catalog,
        file: Vec<Spanned<file::Receiver>>,
        text: Option<&Text>,
    ) -> Result<Self, ConfigError> {
        let mut drafts = Self { catalog, all: Vec::new(), places: HashMap::new() };
        for receiver in file {
            let origin = text.map_or_else(String::new, |text| text.place(receiver.span().start));
            drafts.add_from_file(receiver.into_inner(), origin)?;
        }
        Ok(drafts)
    }

    fn find(&mut self, name: &str, id: &str) -> Option<&mut Draft> {
        let place = self.places.get(&(name.to_owned(), id.to_ascii_lowercase()))?;
        self.all.get_mut(*place)
    }

    /// Adds one whose name and id aren't there yet.
    fn push(&mut self, draft: Draft) {
        self.places.insert((draft.name.clone(), draft.id.to_ascii_lowercase()), self.all.len());
        self.all.push(draft);
    }

    /// The name in lower case, if there is such a provider.
    fn known_name(&self, name: &str, origin: &str) -> Result<String, ConfigError> {
        let lower = name.trim().to_lowercase();
        if self.catalog.find(&lower).is_some() {
            return Ok(lower);
        }
        Err(ConfigError(format!("{origin}: {}", unknown_provider(self.catalog, &lower))))
    }

    fn add_from_file(&mut self, receiver: file::Receiver, origin: String) -> Result<(), ConfigError> {
        let name = self.known_name(&receiver.name, &origin)?;
        checked_id(&receiver.id, &origin)?;
        if let Some(first) = self.find(&name, &receiver.id) {
            return Err(ConfigError(format!(
                "{origin}: the receiver {} stands at {} already; give one of them another id, or put both secrets into one list",
                label(&name, &receiver.id),
                first.origin
            )));
        }
        self.push(Draft {
            name,
            id: receiver.id,
            place: Place::File,
            secrets: receiver.secret.into_vec().into_iter().map(SecretFrom::Source).collect(),
            settings: receiver.set,
            path: receiver.path,
            body_bytes_max: receiver.body_max.map(|size| size.0),
            tolerance: receiver.tolerance.map(|time| time.0),
            raw_body: receiver.raw_body.unwrap_or(false),
            mask: receiver.mask.unwrap_or(true),
            front: ReceiverFrontConfig { allow: receiver.allow, rate: receiver.rate },
            origin,
        });
        Ok(())
    }

    fn add_from_environment(&mut self) -> Result<(), ConfigError> {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        let mut variables: Vec<String> =
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        variables.sort();
        for variable in variables.into_iter().filter(|name| is_receiver_variable(name)) {
            let rest = variable[VARIABLE_PREFIX.len()..].to_ascii_lowercase();
            if let Some(first) = seen.insert(rest.clone(), variable.clone()) {
                return Err(ConfigError(format!(
                    "{first} and {variable} name the same receiver; keep one of them"
                )));
            }
            let (name, id) = rest.split_once("__").unwrap_or((&rest, ""));
            let (name, id) = self.meant(&variable, name, id)?;
            let secrets = vec![SecretFrom::Lines(variable.clone())];
            self.put_secrets(Place::Environment, name, id, secrets, variable)?;
        }
        Ok(())
    }

    /// Which receiver a variable means, in which `-` is written `_` and case is lost.
    fn meant(&self, variable: &str, name: &str, id: &str) -> Result<(String, String), ConfigError> {
        let written = |text: &str| text.to_lowercase().replace('-', "_");
        let known = self.catalog.names_and_aliases();
        let names: Vec<&str> = known.filter(|known| written(known) == name).collect();
        let name = match names.as_slice() {
            [one] => (*one).to_owned(),
            [] => {
                return Err(ConfigError(format!("{variable}: {}", unknown_provider(self.catalog, name))));
            }
            many => {
                return Err(ConfigError(format!(
                    "{variable} may mean {}; use --receiver or the file",
                    many.join(" or ")
                )));
            }
        };
        let ids: Vec<&str> = self
            .all
            .iter()
            .filter(|d| d.name == name && written(&d.id) == id)
            .map(|d| d.id.as_str())
            .collect();
        match ids.as_slice() {
            [] => Ok((name, id.to_owned())),
            [one] => Ok((name, (*one).to_owned())),
            many => Err(ConfigError(format!(
                "{variable} may mean the id {}; use --receiver or the file",
                many.join(" or ")
            ))),
        }
    }

    fn add_from_flag(&mut self, flag: &str) -> Result<(), ConfigError> {
        let (endpoint, source) = match flag.split_once('=') {
            Some((endpoint, source)) => (endpoint, Some(source)),
            None => (flag, None),
        };
        let origin = format!("--receiver {endpoint}");
        let source: Option<Source> =
            source.map(str::parse).transpose().map_err(|e| ConfigError(format!("{origin}: {e}")))?;
        let (name, id) = endpoint.split_once('/').unwrap_or((endpoint, ""));
        let name = self.known_name(name, &origin)?;
        checked_id(id, &origin)?;
        // Without a secret it says that the receiver is there, and takes none of those said elsewhere away.
        if source.is_none() && self.find(&name, id).is_some() {
            return Ok(());
        }
        // Nor does it outrank a secret that the environment has.
        let place = if source.is_some() { Place::Flag } else { Place::File };
        let secrets = source.map(SecretFrom::Source).into_iter().collect();
        self.put_secrets(place, name, id.to_owned(), secrets, origin)
    }

    /// Adds secrets of one place: they join those of the same place and replace those of a lower one.
    fn put_secrets(
        &mut self,
        place: Place,
        name: String,
        id: String,
        secrets: Vec<SecretFrom>,
        origin: String,
    ) -> Result<(), ConfigError> {
        match self.find(&name, &id) {
            Some(draft) if draft.place == place => draft.secrets.extend(secrets),
            Some(draft) if draft.place > place => {}
            Some(draft) => {
                draft.secrets = secrets;
                draft.place = place;
            }
            None => self.push(Draft {
                name,
                id,
                place,
                secrets,
                settings: BTreeMap::new(),
                path: None,
                body_bytes_max: None,
                tolerance: None,
                raw_body: false,
                mask: true,
                front: ReceiverFrontConfig::default(),
                origin,
            }),
        }
        Ok(())
    }

    fn set_from_flag(&mut self, flag: &str) -> Result<(), ConfigError> {
        let wrong = || {
            ConfigError(
                "--receiver-set: write NAME[/ID].KEY=SOURCE, e.g. generic-hmac.header=text:X-Signature"
                    .into(),
            )
        };
        if flag.trim().is_empty() {
            return Ok(());
        }
        let (left, source) = flag.split_once('=').ok_or_else(wrong)?;
        let (endpoint, key) = left.rsplit_once('.').ok_or_else(wrong)?;
        let origin = format!("--receiver-set {left}");
        let source: Source = source.parse().map_err(|e| ConfigError(format!("{origin}: {e}")))?;
        let (name, id) = endpoint.split_once('/').unwrap_or((endpoint, ""));
        let name = name.to_lowercase();
        let draft = self.find(&name, id).ok_or_else(|| {
            ConfigError(format!(
                "{origin}: there is no receiver {}; add --receiver {endpoint}=SOURCE",
                label(&name, id)
            ))
        })?;
        draft.settings.insert(key.to_owned(), Setting::From(source));
        Ok(())
    }
}

/// An id must be a path segment that any sender can write.
fn checked_id(id: &str, origin: &str) -> Result<(), ConfigError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    if id.chars().all(plain) && !matches!(id, "." | "..") && id.len() <= 200 {
        return Ok(());
    }
    Err(ConfigError(format!("{origin}: `{id}` can't be an id; use letters, digits, `-`, `_`, `.` and `~`")))
}

/// The data directory's default is relative to where the daemon was started; this is for messages.
pub fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
