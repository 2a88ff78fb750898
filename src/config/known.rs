//! One receiver as the file and the environment have it, for commands that judge without serving.

use std::path::Path;

use super::file::{self, File};
use super::{ConfigError, ReceiverConfig, providers, receivers, resolve};
use crate::catalog::Catalog;

/// What a configuration knows of one receiver; it needn't know it.
#[derive(Debug)]
pub struct Known {
    /// The providers.
    pub catalog: Catalog,
    /// The base URL that senders know, without a slash at its end.
    pub public_url: Option<String>,
    /// The receiver, if it is configured.
    pub receiver: Option<ReceiverConfig>,
}

/// Looks a receiver up in the file, if there is one. Its secrets are read, and looked for in the environment
/// too, only when they are wanted.
///
/// # Errors
/// Names the place of what can't be used, and the way out.
pub fn resolve_known(
    path: Option<&Path>,
    name: &str,
    id: &str,
    with_secrets: bool,
) -> Result<Known, ConfigError> {
    let (file, text) = match path {
        Some(path) => file::read(path).map(|(file, text)| (file, Some(text)))?,
        None => (File::default(), None),
    };
    let catalog = providers::collect(file.providers, text.as_ref())?;
    let receiver = receivers::find(&catalog, file.receivers, text.as_ref(), name, id, with_secrets)?;
    let public_url = file.public_url.map(|url| resolve::checked_public_url(url.into_inner())).transpose()?;
    Ok(Known { catalog, public_url, receiver })
}
