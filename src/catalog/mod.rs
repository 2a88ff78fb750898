//! The catalogue of providers: one TOML file each, embedded as text and parsed when somebody asks for it.

mod handshake;
mod known;
#[cfg(test)]
mod page;
mod row;
#[cfg(test)]
mod schema;
mod scheme;
#[cfg(test)]
mod sending;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod vector;

use std::sync::OnceLock;

pub use handshake::{Condition, Handshake, Like, Respond, Visit};
pub use known::{Catalog, Own, RowError};
pub use row::{Acknowledgement, Evidence, Failure, Replay, Row, Sender, Setting, SettingName, Signs};
pub use scheme::{
    Claim, ClientCredentials, Decrypt, Framing, Grammar, KeyRule, KeysFrom, Scheme, Signature, Strict,
    TimestampRule, Tolerance, VerifyBy,
};
pub(crate) use text::duration;
pub use vector::Vector;

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// The embedded row of that name or alias; case doesn't matter. [`Catalog::find`] knows a user's own too.
pub fn find(name: &str) -> Option<&'static Row> {
    let at = embedded(name)?;
    let row = parsed()[at].get_or_init(|| EMBEDDED[at].parse());
    Some(row)
}

/// The names of all rows, sorted, without aliases.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|row| row.name)
}

/// Every name and alias, for suggestions of the nearest one.
pub fn names_and_aliases() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().flat_map(|row| std::iter::once(row.name).chain(row.aliases.iter().copied()))
}

/// All rows, parsed, in the order of their names.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    names().filter_map(find)
}

/// Which embedded row has that name or alias.
fn embedded(name: &str) -> Option<usize> {
    EMBEDDED.iter().position(|row| row.answers_to(name))
}

/// A row as the build left it.
struct Embedded {
    name: &'static str,
    aliases: &'static [&'static str],
    text: &'static str,
}

impl Embedded {
    fn answers_to(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    fn parse(&self) -> Row {
        toml::from_str(self.text).expect("a test parses every embedded row")
    }
}

fn parsed() -> &'static [OnceLock<Row>] {
    static PARSED: OnceLock<Vec<OnceLock<Row>>> = OnceLock::new();
    PARSED.get_or_init(|| EMBEDDED.iter().map(|_| OnceLock::new()).collect())
}
