//! Whether bytes are JSON that may stand in a message as it is, found out in one pass that builds nothing.

use crate::data::{JSON_DEPTH_MAX, is_json_space};

/// One bit for each container that is open.
type Containers = u128;
const _: () = assert!(JSON_DEPTH_MAX <= Containers::BITS as usize);

/// Whether a body is UTF-8 without a byte order mark and one complete JSON value (RFC 8259) with white space
/// round it, nested no deeper than [`JSON_DEPTH_MAX`], and not a bare `null`. Surrogates in escapes may be alone,
/// as the grammar has it.
pub(crate) fn is_embeddable(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok() && Check { bytes: body, at: 0 }.whole().is_some_and(|null| !null)
}

/// Reads on while the bytes are JSON; `None` once they aren't.
struct Check<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What may come next.
enum Next {
    Value,
    /// A name or the end of an object that has just begun.
    FirstName,
    /// A value or the end of an array that has just begun.
    FirstItem,
    Name,
    /// A comma, the end of the innermost container, or of all.
    End,
}

const OBJECT: Containers = 1;

impl Check<'_> {
    /// Reads all of it; says whether it was a bare `null`.
    fn whole(mut self) -> Option<bool> {
        let (mut open, mut depth): (Containers, usize) = (0, 0);
        let mut next = Next::Value;
        let mut null = false;
        loop {
            let byte = self.token();
            next = match (next, byte) {
                (Next::FirstName, Some(b'}')) | (Next::FirstItem, Some(b']')) => {
                    (open, depth) = (open >> 1, depth - 1);
                    Next::End
                }
                (Next::FirstName | Next::Name, Some(b'"')) => {
                    self.string()?;
                    if self.token() != Some(b':') {
                        return None;
                    }
                    Next::Value
                }
                (Next::Value | Next::FirstItem, Some(begin @ (b'{' | b'['))) => {
                    if depth == JSON_DEPTH_MAX {
                        return None;
                    }
                    let object = begin == b'{';
                    (open, depth) = (open << 1 | Containers::from(object), depth + 1);
                    if object { Next::FirstName } else { Next::FirstItem }
                }
                (Next::Value | Next::FirstItem, Some(byte)) => {
                    self.scalar(byte)?;
                    null = byte == b'n' && depth == 0;
                    Next::End
                }
                (Next::End, None) if depth == 0 => return Some(null),
                (Next::End, Some(b',')) if depth > 0 => {
                    if open & OBJECT == OBJECT {
                        Next::Name
                    } else {
                        Next::Value
                    }
                }
                (Next::End, Some(end @ (b'}' | b']'))) if depth > 0 => {
                    if (end == b'}') != (open & OBJECT == OBJECT) {
                        return None;
                    }
                    (open, depth) = (open >> 1, depth - 1);
                    Next::End
                }
                _ => return None,
            };
        }
    }

    /// The first byte behind white space; `None` at the end.
    fn token(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            if !is_json_space(byte) {
                return Some(byte);
            }
        }
        None
    }

    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string(),
            b't' => self.rest(b"rue"),
            b'f' => self.rest(b"alse"),
            b'n' => self.rest(b"ull"),
            b'-' => {
                let first = *self.bytes.get(self.at)?;
                self.at += 1;
                self.number(first)
            }
            first => self.number(first),
        }
    }

    fn rest(&mut self, rest: &[u8]) -> Option<()> {
        let is_it = self.bytes[self.at..].starts_with(rest);
        self.at += rest.len();
        is_it.then_some(())
    }

    /// Behind the first digit.
    fn number(&mut self, first: u8) -> Option<()> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Some(())
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Option<()> {
        let before = self.at;
        self.digits();
        (self.at > before).then_some(())
    }

    /// Behind the opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.at += ordinary(&self.bytes[self.at..]);
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// Behind the backslash.
    fn escape(&mut self) -> Option<()> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4)?;
                self.at += 4;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }
}

/// How many bytes at the beginning are neither quote, nor backslash, nor control character: eight at a time,
/// for most of a body is in its strings.
fn ordinary(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The lowest byte that such a mask marks is one; those above it need not be.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (words, _) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let odd = below(word, b' ') | equal(word, b'"') | equal(word, b'\\');
        if odd != 0 {
            return at * 8 + odd.trailing_zeros() as usize / 8;
        }
    }
    let whole = words.len() * 8;
    let tail = &bytes[whole..];
    let end = tail.iter().position(|byte| matches!(byte, 0..b' ' | b'"' | b'\\'));
    whole + end.unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// What a JSON library says, whose own depth is bounded the same way.
    fn by_library(body: &[u8]) -> bool {
        serde_json::from_slice::<&RawValue>(body).is_ok_and(|value| value.get() != "null")
    }

    fn agree(body: &[u8]) {
        assert_eq!(is_embeddable(body), by_library(body), "{:?}", String::from_utf8_lossy(body));
    }

    #[test]
    fn what_a_library_takes_is_taken_and_nothing_else() {
        for body in [
            "",
            " ",
            "null",
            " null ",
            "nul",
            "nulll",
            "[null]",
            "true",
            "falsey",
            "0",
            "-0",
            "00",
            "01",
            "-",
            "1.",
            ".1",
            "1.0",
            "1e",
            "1e+",
            "1E-2",
            "1e2.",
            "+1",
            "0x1",
            "\"",
            "\"\\",
            "\"\\\"",
            "\"\\u12\"",
            "\"\\u12fG\"",
            "\"\\u12fF\"",
            "\"\\x\"",
            "\"\t\"",
            "\"\u{7f}\"",
            "{",
            "}",
            "{}",
            "{ }",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "{1:2}",
            "[",
            "[]",
            "[ ]",
            "[,]",
            "[1,]",
            "[1 2]",
            "[1]]",
            "[}",
            "{]",
            "[{}]",
            "{\"a\":[}",
            "1 2",
            "\u{feff}{}",
            "\"\\ud800\"",
            "[1,[2,{\"b\":[]}]]",
            "\"1234567\"",
            "\"12345678\"",
            "\"123456789\\\"\"",
            "\"äöüäöüäöü\"",
            "\"1234567\u{1f}\"",
            "\"12345678\n\"",
        ] {
            agree(body.as_bytes());
        }
        agree(b"\"\xff\"");
        agree(b"{}\xff");
    }

    /// Pieces of JSON in any order: mostly wrong, and often enough right.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\n\\u00e9\"",
            "\"b ä c d e f\"",
            "1",
            "-2.5e3",
            "null",
            "true",
            " ",
            "\n",
            "\"",
            "\\",
            "\u{1}",
            "0",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_are_judged_as_by_the_library(body in pieces()) {
            agree(&body);
        }

        #[test]
        fn a_value_is_taken_and_with_one_byte_changed_judged_as_by_the_library(
            value in value(), pretty in any::<bool>(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let mut body = text.unwrap();
            prop_assert_eq!(is_embeddable(&body), !value.is_null());
            let at = at.index(body.len());
            body[at] = byte;
            agree(&body);
        }
    }
}
