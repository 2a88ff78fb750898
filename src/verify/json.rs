//! Values inside a JSON text, found where they stand: nothing is built, spelling is kept.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::error::CompileError;

/// Values that a pointer with `*` may select; what is beyond is left out.
pub(super) const SELECTED_MAX: usize = 1_000;

/// A JSON pointer (RFC 6901) in which a segment `*` stands for every element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Every,
}

impl Pointer {
    /// Parses `/a/0/b~1c`.
    pub(super) fn parse(text: &str) -> Result<Self, CompileError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(CompileError::malformed("JSON pointer", text, "it starts with a slash"));
        };
        Ok(Self(rest.split('/').map(Segment::parse).collect()))
    }

    /// Whether it may select several values.
    pub(super) fn is_plural(&self) -> bool {
        self.0.contains(&Segment::Every)
    }

    /// A pointer into what this one points to.
    pub(super) fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    /// Its keys for writing a sample: the first element stands for every one.
    pub(super) fn sample_keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|segment| segment.key().unwrap_or("0"))
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Every => f.write_str("/*"),
            Segment::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
        })
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text {
            "*" => Self::Every,
            _ => Self::Key(text.replace("~1", "/").replace("~0", "~")),
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Every => None,
        }
    }
}

/// A text that is one complete JSON value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a>(&'a str);

impl<'a> Document<'a> {
    /// `None` when the bytes aren't JSON in UTF-8.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        Some(Self(text))
    }

    /// Where the values that the pointer selects stand, in order, a repeated key's all.
    pub(super) fn select(self, pointer: &Pointer) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut scan = Scan { bytes: self.0.as_bytes(), at: 0 };
        scan.select(&pointer.0, &mut found);
        found
    }

    /// The text there.
    pub(super) fn text(self, span: Range<usize>) -> &'a str {
        &self.0[span]
    }
}

/// A value's text: a string's content, a number's or literal's spelling, an object's or array's JSON.
/// `None` for null and for a string that isn't Unicode.
pub(super) fn value_text(json: &str) -> Option<std::borrow::Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => {
            let inner = &json[1..json.len() - 1];
            if inner.contains('\\') {
                serde_json::from_str::<String>(json).ok().map(Into::into)
            } else {
                Some(inner.into())
            }
        }
        b'n' => None,
        _ => Some(json.into()),
    }
}

/// Whether a value is an object or an array.
pub(super) fn is_compound(json: &str) -> bool {
    json.starts_with(['{', '['])
}

/// Walks a text that is known to be JSON; so no step can fail, and the fallbacks only keep it total.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// Recursion is as deep as the pointer is long.
    fn select(&mut self, path: &[Segment], found: &mut Vec<Range<usize>>) {
        self.space();
        let Some((segment, rest)) = path.split_first() else {
            let start = self.at;
            self.skip();
            if found.len() < SELECTED_MAX {
                found.push(start..self.at);
            }
            return;
        };
        match self.peek() {
            b'{' => self.object(segment, rest, found),
            b'[' => self.array(segment, rest, found),
            _ => self.skip(),
        }
    }

    fn object(&mut self, segment: &Segment, rest: &[Segment], found: &mut Vec<Range<usize>>) {
        self.at += 1;
        loop {
            self.space();
            if self.peek() != b'"' {
                break;
            }
            let start = self.at;
            self.string();
            let hit = segment.key().is_some_and(|key| is_key(&self.bytes[start..self.at], key));
            self.space();
            self.at += 1; // the colon
            if hit {
                self.select(rest, found);
            } else {
                self.skip();
            }
            if !self.comma() {
                break;
            }
        }
        self.at += 1;
    }

    fn array(&mut self, segment: &Segment, rest: &[Segment], found: &mut Vec<Range<usize>>) {
        self.at += 1;
        let mut index = 0_usize;
        loop {
            self.space();
            if matches!(self.peek(), b']' | 0) {
                break;
            }
            let hit = segment.key().is_none_or(|key| is_index(key, index));
            if hit {
                self.select(rest, found);
            } else {
                self.skip();
            }
            index += 1;
            if !self.comma() {
                break;
            }
        }
        self.at += 1;
    }

    fn comma(&mut self) -> bool {
        self.space();
        let comma = self.peek() == b',';
        self.at += usize::from(comma);
        comma
    }

    /// Skips one value; iterative, as it may be nested deeply.
    fn skip(&mut self) {
        self.space();
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => self.string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                0 => return,
                _ => self.word(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        while let Some(next) = memchr::memchr2(b'"', b'\\', self.bytes.get(self.at..).unwrap_or_default()) {
            self.at += next;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return;
            }
            self.at += 2;
        }
        self.at = self.bytes.len();
    }

    /// A number or a literal.
    fn word(&mut self) {
        self.at += 1;
        while matches!(self.peek(), b'0'..=b'9' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'E') {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }
}

fn is_key(quoted: &[u8], key: &str) -> bool {
    let inner = &quoted[1..quoted.len() - 1];
    if memchr::memchr(b'\\', inner).is_none() {
        return inner == key.as_bytes();
    }
    serde_json::from_slice::<String>(quoted).is_ok_and(|unescaped| unescaped.as_str().eq(key))
}

fn is_index(key: &str, index: usize) -> bool {
    let canonical = key.len() == 1 || !key.starts_with('0');
    canonical && key.bytes().all(|digit| digit.is_ascii_digit()) && key.parse() == Ok(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn select<'a>(json: &'a str, pointer: &str) -> Vec<&'a str> {
        let document = Document::parse(json.as_bytes()).unwrap();
        document
            .select(&Pointer::parse(pointer).unwrap())
            .into_iter()
            .map(|span| document.text(span))
            .collect()
    }

    #[test]
    fn finds_values_where_they_stand() {
        let json = r#" { "a" : [ 1.50 , {"b~/\u0063":"x\"y"}, null ], "a2":{} ,"n":-12e+3} "#;
        assert_eq!(select(json, "/a/0"), ["1.50"]);
        assert_eq!(select(json, "/a/1/b~0~1c"), [r#""x\"y""#]);
        assert_eq!(select(json, "/a/*"), ["1.50", r#"{"b~/\u0063":"x\"y"}"#, "null"]);
        assert_eq!(select(json, "/n"), ["-12e+3"]);
        assert_eq!(select(json, "/a/01"), [""; 0]);
        assert_eq!(select(json, "/missing/x"), [""; 0]);
        assert_eq!(select(json, ""), [json.trim()]);
        assert_eq!(select(r#"{"a":1,"a":2}"#, "/a"), ["1", "2"], "both of a repeated key");
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{{\"a\":{}{},\"b\":7}}", "[".repeat(500_000), "]".repeat(500_000));
        assert_eq!(select(&deep, "/b"), ["7"]);
    }

    proptest! {
        #[test]
        fn never_panics(json: Vec<u8>, pointer in "(/[a-z*0~]{0,2}){0,3}") {
            let pointer = Pointer::parse(&pointer).unwrap();
            if let Some(document) = Document::parse(&json) {
                document.select(&pointer);
            }
        }

        #[test]
        fn agrees_with_a_parser(json in json(), pointer in "(/(a|b|0|1)){0,3}") {
            let text = json.to_string();
            let found = select(&text, &pointer).into_iter().next().map(|text| serde_json::from_str(text).unwrap());
            prop_assert_eq!(found.as_ref(), json.pointer(&pointer));
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"\\\\]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
