//! Grammars: how candidates, and a timestamp, are found in a signature's value.

use super::error::CompileError;
use super::settings::Scope;
use crate::catalog;

/// Candidates that one signature may have; DocuSign numbers its headers up to 100.
pub(super) const CANDIDATES_MAX: usize = 100;

/// A grammar and its parameters.
#[derive(Clone, Debug)]
pub(super) enum Grammar {
    Raw { prefix: String, optional: bool },
    Pairs { separator: String, assign: String, keys: Vec<String>, quoted: bool },
    List { separator: String, item_prefix: String },
    TimestampFirst { separator: String },
}

/// The value doesn't follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Grammar {
    /// The grammar of a row's signature.
    pub(super) fn compile(signature: &catalog::Signature, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let expand = |text: &str| scope.expand(text).map(|text| text.into_owned());
        let separator = match signature.separator.as_str() {
            "" => ",".to_owned(),
            text => expand(text)?,
        };
        let grammar = match signature.grammar {
            catalog::Grammar::Raw => {
                Self::Raw { prefix: expand(&signature.prefix)?, optional: signature.prefix_optional }
            }
            catalog::Grammar::Pairs => Self::Pairs {
                separator,
                assign: if signature.assign.is_empty() { "=".to_owned() } else { expand(&signature.assign)? },
                keys: scope.expand_all(&signature.keys)?,
                quoted: signature.quoted,
            },
            catalog::Grammar::List => Self::List { separator, item_prefix: expand(&signature.item_prefix)? },
            catalog::Grammar::TimestampFirst => Self::TimestampFirst { separator },
        };
        grammar.check()?;
        Ok(grammar)
    }

    /// Items are split first, so that what an item holds must not separate items.
    pub(super) fn check(&self) -> Result<(), CompileError> {
        let (separator, within) = match self {
            Self::Pairs { separator, assign, .. } => (separator, assign),
            Self::List { separator, item_prefix } => (separator, item_prefix),
            Self::Raw { .. } | Self::TimestampFirst { .. } => return Ok(()),
        };
        match within.contains(|c| separator.contains(c)) {
            true => Err(CompileError::malformed("separator", separator, "items hold it themselves")),
            false => Ok(()),
        }
    }

    /// Adds the value's candidates.
    pub(super) fn candidates<'v>(&self, value: &'v [u8], found: &mut Vec<&'v [u8]>) -> Result<(), Malformed> {
        match self {
            Self::Raw { prefix, optional } => match value.strip_prefix(prefix.as_bytes()) {
                Some(candidate) => push(found, candidate)?,
                None if *optional => push(found, value)?,
                None => return Err(Malformed("the signature hasn't the prefix that it must have")),
            },
            Self::Pairs { separator, assign, keys, quoted } => {
                for item in items(value, separator) {
                    let Some((key, candidate)) = split_once(item, assign.as_bytes()) else {
                        return Err(Malformed("the signature is not a list of pairs"));
                    };
                    if keys.is_empty() || keys.iter().any(|known| known.as_bytes().eq(key)) {
                        push(found, if *quoted { unquoted(candidate)? } else { candidate })?;
                    }
                }
            }
            Self::List { separator, item_prefix } => {
                for item in items(value, separator) {
                    if let Some(candidate) = item.strip_prefix(item_prefix.as_bytes()) {
                        push(found, candidate)?;
                    }
                }
            }
            Self::TimestampFirst { separator } => {
                for candidate in items(value, separator).skip(1) {
                    push(found, candidate)?;
                }
            }
        }
        Ok(())
    }

    /// The timestamp within the value: a pair's value, or the first item.
    pub(super) fn timestamp<'v>(&self, value: &'v [u8], key: &str) -> Result<Option<&'v [u8]>, Malformed> {
        match self {
            Self::Pairs { separator, assign, .. } => {
                let pairs = items(value, separator).filter_map(|item| split_once(item, assign.as_bytes()));
                let mut times = pairs.filter(|(name, _)| key.as_bytes().eq(*name)).map(|(_, time)| time);
                match (times.next(), times.next()) {
                    (_, Some(_)) => Err(Malformed("the signature has several timestamps")),
                    (time, None) => Ok(time.filter(|time| !time.is_empty())),
                }
            }
            Self::TimestampFirst { separator } => Ok(items(value, separator).next()),
            Self::Raw { .. } | Self::List { .. } => Ok(None),
        }
    }

    /// A value with one candidate, as the provider would send it.
    pub(super) fn write(&self, signature: &str, timestamp: Option<(&str, &str)>) -> String {
        match self {
            Self::Raw { prefix, .. } => format!("{prefix}{signature}"),
            Self::Pairs { separator, assign, keys, .. } => {
                let separator = separator.chars().next().unwrap_or(',');
                let key = keys.first().map_or("", String::as_str);
                let time = timestamp.map(|(key, time)| format!("{key}{assign}{time}{separator}"));
                format!("{}{key}{assign}{signature}", time.unwrap_or_default())
            }
            Self::List { item_prefix, .. } => format!("{item_prefix}{signature}"),
            Self::TimestampFirst { separator } => {
                let separator = separator.chars().next().unwrap_or(',');
                format!("{}{separator}{signature}", timestamp.map_or("", |(_, time)| time))
            }
        }
    }
}

fn unquoted(value: &[u8]) -> Result<&[u8], Malformed> {
    let inside = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inside.ok_or(Malformed("a value of the signature is not in quotes"))
}

fn push<'v>(found: &mut Vec<&'v [u8]>, candidate: &'v [u8]) -> Result<(), Malformed> {
    if found.len() == CANDIDATES_MAX {
        return Err(Malformed("there are more signatures than any provider sends"));
    }
    if !candidate.is_empty() {
        found.push(candidate);
    }
    Ok(())
}

fn items<'v>(value: &'v [u8], separators: &str) -> impl Iterator<Item = &'v [u8]> {
    let separators = separators.as_bytes();
    value.split(move |byte| separators.contains(byte)).map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

fn split_once<'v>(item: &'v [u8], assign: &[u8]) -> Option<(&'v [u8], &'v [u8])> {
    // Almost always one byte, for which a substring search costs ten times as much.
    let at = match assign {
        [byte] => memchr::memchr(*byte, item)?,
        _ => memchr::memmem::find(item, assign)?,
    };
    Some((&item[..at], &item[at + assign.len()..]))
}
