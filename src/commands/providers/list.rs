//! All providers, one a line, or as a JSON array.

use serde_json::{Value, json};

use crate::catalog::Row;

/// What a list tells of a provider.
pub(super) fn summary(row: &Row) -> Value {
    json!({
        "name": row.name,
        "aliases": row.aliases,
        "title": row.title,
        "scheme": row.scheme(),
        "evidence": row.evidence.as_str(),
        "replay": row.replay.as_str(),
        "handshakes": row.handshake_names().collect::<Vec<_>>(),
        "docs": row.docs,
    })
}

/// All of them as an array.
pub(super) fn json(rows: &[&Row]) -> Value {
    rows.iter().map(|row| summary(row)).collect()
}

/// How wide stdout is; `None` when it isn't a terminal.
pub(super) fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

const HEAD: [&str; 6] = ["NAME", "TITLE", "SCHEME", "EVIDENCE", "REPLAY", "HANDSHAKES"];

/// All of them as a table: whole, or cut to the terminal's columns.
pub(super) fn table(rows: &[&Row], columns: Option<usize>) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| cells(row)));
    let widths: [usize; HEAD.len()] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default());
    let mut table = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let padded = padded.collect::<Vec<_>>().join("  ");
        table.push_str(&cut(padded.trim_end(), columns));
        table.push('\n');
    }
    table
}

fn cells(row: &Row) -> [String; HEAD.len()] {
    [
        row.name.clone(),
        row.title.clone(),
        row.scheme(),
        row.evidence.as_str().to_owned(),
        row.replay.as_str().to_owned(),
        row.handshake_names().collect::<Vec<_>>().join(", "),
    ]
}

fn cut(line: &str, columns: Option<usize>) -> String {
    match columns {
        Some(columns) if line.chars().count() > columns => {
            line.chars().take(columns - 1).chain(['…']).collect()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn columns_stand_in_line_and_end_where_the_terminal_does() {
        let rows = [catalog::find("github").unwrap(), catalog::find("standard-webhooks").unwrap()];
        let whole = table(&rows, None);
        let lines: Vec<&str> = whole.lines().collect();
        assert!(lines[0].starts_with("NAME "), "{whole}");
        let title = lines[0].find("TITLE").unwrap();
        assert_eq!(&lines[1][title..title + 6], "GitHub");
        assert!(lines[1].ends_with("ping"), "{whole}");
        for line in table(&rows, Some(40)).lines() {
            assert_eq!(line.chars().count(), 40, "{line}");
            assert!(line.ends_with('…'));
        }
    }
}
