//! `sluiced providers`: the catalogue and a user's own rows, as a list or one in full.

mod full;
mod list;

use super::{Failure, put_out};
use crate::cli::ProvidersFlags;
use crate::config::providers::unknown_provider;
use crate::config::resolve_catalog;

/// Prints the list, or one provider.
///
/// # Errors
/// [`Failure::Usage`] when there is no provider of that name; [`Failure::Config`] for a file that can't be
/// used.
pub fn run(flags: &ProvidersFlags) -> Result<(), Failure> {
    let catalog = resolve_catalog(flags.config.as_deref())?;
    let Some(name) = &flags.name else {
        let rows = catalog.rows();
        return put_out(&match flags.json {
            true => format!("{}\n", list::json(&rows)),
            false => list::table(&rows, list::terminal_columns()),
        });
    };
    let row = catalog.find(name).ok_or_else(|| Failure::Usage(unknown_provider(&catalog, name)))?;
    let config = flags.config.as_deref().filter(|_| catalog.own().iter().any(|own| own.row.name == row.name));
    put_out(&match flags.json {
        true => format!("{}\n", full::json(row, config)),
        false => full::text(row, config),
    })
}
