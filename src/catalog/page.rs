//! Pages that are made of the catalogue, and kept in step with it: `UPDATE_DOCS=1 cargo test` writes them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Row, rows};

/// Compares a file of the repository with what it must be, or writes it when asked to.
pub(super) fn keep(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let is_in_step = fs::read_to_string(&file).is_ok_and(|written| written == text);
    assert!(is_in_step, "{path} isn't what the catalogue says; write it with UPDATE_DOCS=1 cargo test --lib");
}

const HEAD: &str = "\
# Providers

Made of the catalogue's rows; `sluiced providers` prints the same list, `sluiced providers NAME` how to set one
up, and [providers-of-your-own.md](providers-of-your-own.md) tells how to add one.

**Evidence**: *proven*: a signed request out of the provider's own library or documentation passes;
*documented*: its library or documentation was read; *unconfirmed*: second-hand. **Replay**: *protected*: a time
is signed and aged, or a delivery id is signed; *unprotected*: a captured request can be sent again. An empty cell:
not known, or none.

| name | title | scheme | handshakes | evidence | replay | sender waits | sender tries again |
| --- | --- | --- | --- | --- | --- | --- | --- |
";

fn line(page: &mut String, row: &Row) {
    let title =
        if row.docs.is_empty() { cell(&row.title) } else { format!("[{}]({})", cell(&row.title), row.docs) };
    let handshakes = row.handshake_names().collect::<Vec<_>>().join(", ");
    writeln!(
        page,
        "| `{}` | {title} | {} | {} | {} | {} | {} | {} |",
        row.name,
        cell(&row.scheme()),
        cell(&handshakes),
        row.evidence.as_str(),
        row.replay.as_str(),
        cell(&row.sender.timeout),
        cell(&row.sender.retries)
    )
    .unwrap();
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn the_page_of_providers_is_in_step() {
    let mut page = HEAD.to_owned();
    rows().for_each(|row| line(&mut page, row));
    keep("docs/providers.md", &page);
}
