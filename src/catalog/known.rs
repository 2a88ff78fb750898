//! All providers that a configuration knows: the catalogue's, and a user's own.

use thiserror::Error;

use super::row::Row;

/// The embedded rows and a user's own, looked up as one.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    own: Vec<Own>,
}

/// A user's own row.
#[derive(Clone, Debug)]
pub struct Own {
    /// The row.
    pub row: Row,
    /// Where it stands, for errors.
    pub origin: String,
}

/// Why a row can't join the others.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RowError {
    /// A name or alias that URLs, flags or variables couldn't hold.
    #[error("`{0}` can't be a provider's name; use lower-case letters, digits, `-` and `_`")]
    NameUnusable(String),
    /// A name or alias that finds another row.
    #[error("the name `{name}` belongs to {of} already; take another")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        of: String,
    },
    /// A row that verifies nothing, not even by saying so.
    #[error("it has no [[providers.schemes]]")]
    NoScheme,
    /// Two schemes of one name.
    #[error("it has two schemes named `{0}`")]
    SchemeTwice(String),
}

impl Catalog {
    /// Adds a user's own row.
    ///
    /// # Errors
    /// See [`RowError`].
    pub fn add(&mut self, row: Row, origin: String) -> Result<(), RowError> {
        for (at, name) in row.names().enumerate() {
            check_name(name)?;
            let taken = |of: String| RowError::NameTaken { name: name.to_owned(), of };
            if row.names().take(at).any(|other| other == name) {
                return Err(taken("the row itself".to_owned()));
            }
            if super::embedded(name).is_some() {
                return Err(taken("the catalogue".to_owned()));
            }
            if let Some(own) = self.own.iter().find(|own| own.row.answers_to(name)) {
                return Err(taken(format!("the row at {}", own.origin)));
            }
        }
        check_schemes(&row)?;
        self.own.push(Own { row, origin });
        Ok(())
    }

    /// The row of that name or alias; case doesn't matter.
    pub fn find(&self, name: &str) -> Option<&Row> {
        let own = self.own.iter().map(|own| &own.row).find(|row| row.answers_to(name));
        own.or_else(|| super::find(name))
    }

    /// The user's own rows, as configured.
    pub fn own(&self) -> &[Own] {
        &self.own
    }

    /// Every name and alias.
    pub fn names_and_aliases(&self) -> impl Iterator<Item = &str> {
        let own = self.own.iter().flat_map(|own| own.row.names());
        own.chain(super::names_and_aliases().map(|name| -> &str { name }))
    }

    /// All rows, in the order of their names.
    pub fn rows(&self) -> Vec<&Row> {
        let own = self.own.iter().map(|own| &own.row);
        let mut rows: Vec<&Row> = own.chain(super::rows().map(|row| -> &Row { row })).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }
}

fn check_name(name: &str) -> Result<(), RowError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    // SLUICED_RECEIVER_SET is another variable.
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) || name == "set" {
        return Err(RowError::NameUnusable(name.to_owned()));
    }
    Ok(())
}

/// A name goes into URLs, queue subjects and metrics.
const NAME_BYTES_MAX: usize = 64;

fn check_schemes(row: &Row) -> Result<(), RowError> {
    if row.schemes.is_empty() {
        return Err(RowError::NoScheme);
    }
    let twice = row.schemes.iter().enumerate().find(|(at, scheme)| {
        row.schemes[..*at].iter().any(|other| other.name.eq_ignore_ascii_case(&scheme.name))
    });
    twice.map_or(Ok(()), |(_, scheme)| Err(RowError::SchemeTwice(scheme.name.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(catalog: &mut Catalog, text: &str) -> Result<(), RowError> {
        catalog.add(toml::from_str(text).unwrap(), "sluiced.toml:1".to_owned())
    }

    fn row(name: &str, aliases: &str) -> String {
        format!(
            "name = {name:?}\naliases = [{aliases}]\ntitle = \"Own\"\nreplay = \"unprotected\"\n\
             [[schemes]]\nname = \"v1\"\nverify = \"token\"\nfrom = \"header:X-Token\"\n"
        )
    }

    #[test]
    fn own_rows_are_found_beside_the_catalogue() {
        let mut catalog = Catalog::default();
        add(&mut catalog, &row("billing", "\"invoices\"")).unwrap();
        assert_eq!(catalog.find("Invoices").unwrap().name, "billing");
        assert_eq!(catalog.find("github").unwrap().name, "github");
        assert!(catalog.find("bilings").is_none());
        assert!(catalog.rows().is_sorted_by_key(|row| &row.name));
        assert!(catalog.names_and_aliases().any(|name| name == "invoices"));
    }

    #[test]
    fn no_name_means_two_rows() {
        let mut catalog = Catalog::default();
        add(&mut catalog, &row("billing", "")).unwrap();
        let error = |catalog: &mut Catalog, row: &str| add(catalog, row).unwrap_err().to_string();
        for (name, aliases) in [("github", ""), ("mine", "\"salesforce\"")] {
            assert!(error(&mut catalog, &row(name, aliases)).contains("belongs to the catalogue"));
        }
        assert!(
            error(&mut catalog, &row("mine", "\"billing\"")).contains("belongs to the row at sluiced.toml:1")
        );
        assert!(error(&mut catalog, &row("mine", "\"mine\"")).contains("belongs to the row itself"));
        for name in ["", "Own", "a b", "a/b", "set"] {
            assert!(error(&mut catalog, &row(name, "")).contains("can't be a provider's name"), "{name}");
        }
    }

    #[test]
    fn schemes_are_there_and_told_apart() {
        let text = row("own", "");
        let (head, scheme) = text.split_at(text.find("[[").unwrap());
        let none = format!("schemes = []\n{head}");
        assert_eq!(add(&mut Catalog::default(), &none), Err(RowError::NoScheme));
        let twice = format!("{head}{scheme}{scheme}");
        assert_eq!(add(&mut Catalog::default(), &twice), Err(RowError::SchemeTwice("v1".to_owned())));
    }
}
