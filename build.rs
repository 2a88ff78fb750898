//! Embeds the catalogue: every `src/catalog/*.toml` up to its vectors, and an index of names and aliases.
//!
//! The rows stay text, so that 290 of them cost nothing before somebody asks for one.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const CATALOG: &str = "src/catalog";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={CATALOG}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut files = rows()?;
    files.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
    let mut index = String::from("static EMBEDDED: &[Embedded] = &[\n");
    for file in &files {
        let text = fs::read_to_string(file)?;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).ok_or("a row's file name is not UTF-8")?;
        let stripped = out.join(format!("{stem}.toml"));
        write_if_changed(&stripped, without_vectors(&text))?;
        let aliases = aliases(&text);
        writeln!(
            index,
            "    Embedded {{ name: {stem:?}, aliases: &{aliases:?}, text: include_str!({stripped:?}) }},"
        )?;
    }
    index.push_str("];\n");
    write_if_changed(&out.join("catalog.rs"), &index)?;
    Ok(())
}

fn rows() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(CATALOG)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(files)
}

/// What stands before the first line that opens the vectors: they come last in every row.
fn without_vectors(text: &str) -> &str {
    match text.find("\n[[vectors]]") {
        Some(end) => &text[..=end],
        None => text,
    }
}

/// The strings of the line `aliases = ["a", "b"]`. A test compares them with what a TOML parser reads.
fn aliases(text: &str) -> Vec<&str> {
    let line = text.lines().find_map(|line| line.strip_prefix("aliases = ["));
    line.map(|line| line.split('"').skip(1).step_by(2).collect()).unwrap_or_default()
}

fn write_if_changed(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::read_to_string(path) {
        Ok(old) if old == text => Ok(()),
        _ => fs::write(path, text),
    }
}
