//! Elements of an XML body, found as text where they stand: no parser, so no entities and no DTDs.

use std::ops::Range;

use memchr::{memchr, memmem};

/// The longest namespace prefix, in bytes. Without a bound a body of nothing but names would be read once for
/// each of them.
const PREFIX_BYTES_MAX: usize = 64;

/// Whether there is a document type: no provider sends one, and with it the text could mean something else
/// to whoever parses it.
pub(super) fn has_document_type(text: &[u8]) -> bool {
    memmem::find(text, b"<!DOCTYPE").is_some() || memmem::find(text, b"<!ENTITY").is_some()
}

/// An element's text without the marks of a CDATA section.
pub(super) fn text(text: &[u8]) -> &[u8] {
    let inner = text.trim_ascii().strip_prefix(b"<![CDATA[").and_then(|rest| rest.strip_suffix(b"]]>"));
    inner.unwrap_or(text)
}

/// The spans of an element's text, whatever its namespace prefix, up to the next end tag.
pub(super) fn elements(text: &[u8], name: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for at in memmem::find_iter(text, name) {
        let after = at + name.len();
        if !opens(&text[..at]) || text.get(after).is_none_or(|byte| is_name(*byte)) {
            continue;
        }
        let Some(start) = memchr(b'>', &text[after..]).map(|end| after + end + 1) else { break };
        if spans.last().is_some_and(|last| start <= last.end) || text[start - 2] == b'/' {
            continue;
        }
        let Some(end) = memmem::find(&text[start..], b"</") else { break };
        spans.push(start..start + end);
    }
    spans
}

/// Whether a name that follows is a start tag's: `<` or `<prefix:` stands before it.
fn opens(before: &[u8]) -> bool {
    let near = &before[before.len().saturating_sub(PREFIX_BYTES_MAX)..];
    match near.split_last() {
        Some((b'<', _)) => true,
        Some((b':', prefix)) => {
            let start = prefix.iter().rposition(|byte| !is_name(*byte));
            start.is_some_and(|start| prefix[start] == b'<')
        }
        _ => false,
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'.') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
        elements(xml.as_bytes(), name).into_iter().map(|span| &xml[span]).collect()
    }

    #[test]
    fn a_document_type_and_an_entity_are_seen_alone_too() {
        assert!(has_document_type(b"<?xml version='1.0'?><!DOCTYPE a SYSTEM 'file:///x'><a/>"));
        assert!(has_document_type(b"<a><!ENTITY x 'y'></a>"));
        assert!(!has_document_type(b"<a>DOCTYPE</a>"));
    }

    #[test]
    fn finds_elements_by_their_local_names() {
        let xml = "<a><Id>1</Id><sf:Id x='1'>2</sf:Id><IdX>3</IdX><XId>4</XId><Id/><Id></Id>Id</a>";
        assert_eq!(texts(xml, "Id"), ["1", "2", ""]);
        assert_eq!(texts("<Id>1", "Id"), [""; 0]);
        assert_eq!(texts("Id", "Id"), [""; 0]);
    }

    #[test]
    fn a_hostile_body_takes_no_longer_than_its_length() {
        for hostile in ["<Id>", "<Id/>", "Id", "<Id", ":Id"] {
            let body = hostile.repeat(200_000);
            assert!(elements(body.as_bytes(), "Id").is_empty());
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(<|>|/|Id|[a-z: ]){0,40}") {
            elements(text.as_bytes(), "Id");
        }
    }
}
