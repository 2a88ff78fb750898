//! `[[providers]]`: rows of one's own, with the catalogue's schema.

use std::path::Path;

use toml::Spanned;

use super::ConfigError;
use super::file::{self, Text, nearest};
use crate::catalog::{Catalog, Row};
use crate::verify::check_row;

/// The catalogue with the rows of a configuration file, for commands that need nothing else of it.
///
/// # Errors
/// As [`file::read`]; and names the first row that can't be used, and the way out.
pub fn resolve_catalog(path: Option<&Path>) -> Result<Catalog, ConfigError> {
    let Some(path) = path else { return Ok(Catalog::default()) };
    let (file, text) = file::read(path)?;
    collect(file.providers, Some(&text))
}

/// Puts the rows of the file beside the catalogue's.
pub(super) fn collect(rows: Vec<Spanned<Row>>, text: Option<&Text>) -> Result<Catalog, ConfigError> {
    let mut catalog = Catalog::default();
    for row in rows {
        let origin = text.map_or_else(String::new, |text| text.place(row.span().start));
        let row = row.into_inner();
        let wrong = |e: &dyn std::fmt::Display| {
            ConfigError(format!("{origin}: the provider `{}` can't be used: {e}", row.name))
        };
        check_row(&row).map_err(|e| wrong(&e))?;
        let error = |e| wrong(&e);
        catalog.add(row.clone(), origin.clone()).map_err(error)?;
    }
    Ok(catalog)
}

/// There is no such provider; most likely it is spelled another way.
pub(crate) fn unknown_provider(catalog: &Catalog, name: &str) -> String {
    let nearest = nearest(name, catalog.names_and_aliases()).unwrap_or_default();
    format!("there is no provider `{name}`; did you mean `{nearest}`?")
}
