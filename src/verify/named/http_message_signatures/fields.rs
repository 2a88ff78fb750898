//! Structured fields (RFC 8941) as far as signatures need them, and in one form only: dictionaries of inner lists
//! of strings, and dictionaries of byte sequences.

use crate::verify::encoding::Encoding;

/// Members of one dictionary: senders sign once, proxies add one or two.
const MEMBERS_MAX: usize = 8;
/// Components that one signature covers: more than any request has headers worth signing.
const COMPONENTS_MAX: usize = 32;
/// Parameters of one item: RFC 9421 knows seven.
const PARAMETERS_MAX: usize = 12;

/// A member of `Signature-Input`.
pub(super) struct Input<'t> {
    pub(super) label: &'t str,
    /// The member's value as received: what `@signature-params` signs.
    pub(super) raw: &'t str,
    pub(super) components: Vec<Component<'t>>,
    pub(super) parameters: Parameters<'t>,
}

/// A covered component.
pub(super) struct Component<'t> {
    /// The identifier as received, quotes and parameters included.
    pub(super) raw: &'t str,
    pub(super) name: String,
    pub(super) parameters: Parameters<'t>,
}

/// Parameters of an item, each once.
pub(super) type Parameters<'t> = Vec<(&'t str, Value)>;

/// A parameter's value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    /// A parameter without a value.
    Present,
}

/// A dictionary of inner lists; `None` when it is anything else, or a label comes twice.
pub(super) fn inputs(text: &str) -> Option<Vec<Input<'_>>> {
    dictionary(text, |cursor, label| {
        let start = cursor.rest;
        let components = cursor.inner_list()?;
        let parameters = cursor.parameters()?;
        Some(Input { label, raw: cursor.since(start), components, parameters })
    })
}

/// A dictionary of byte sequences without parameters; `None` when it is anything else, or a key comes twice.
pub(super) fn byte_sequences(text: &str) -> Option<Vec<(&str, Vec<u8>)>> {
    dictionary(text, |cursor, key| Some((key, cursor.bytes()?)))
}

fn dictionary<'t, T>(
    text: &'t str,
    mut member: impl FnMut(&mut Cursor<'t>, &'t str) -> Option<T>,
) -> Option<Vec<T>> {
    let mut cursor = Cursor { rest: text };
    let (mut keys, mut members) = (Vec::new(), Vec::new());
    loop {
        let key = cursor.key()?;
        if keys.contains(&key) || keys.len() == MEMBERS_MAX || !cursor.eat('=') {
            return None;
        }
        keys.push(key);
        members.push(member(&mut cursor, key)?);
        cursor.skip_space();
        if cursor.rest.is_empty() {
            return Some(members);
        }
        if !cursor.eat(',') {
            return None;
        }
        cursor.skip_space();
    }
}

struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    fn eat(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take_while(&mut self, fits: impl Fn(u8) -> bool) -> &'t str {
        let end = self.rest.bytes().position(|byte| !fits(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or(("", self.rest));
        self.rest = rest;
        taken
    }

    /// What was read since the rest was that.
    fn since(&self, start: &'t str) -> &'t str {
        &start[..start.len() - self.rest.len()]
    }

    fn key(&mut self) -> Option<&'t str> {
        let is_start = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
        self.rest.bytes().next().filter(|byte| is_start(*byte))?;
        Some(self.take_while(|byte| is_start(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte)))
    }

    fn inner_list(&mut self) -> Option<Vec<Component<'t>>> {
        let mut components = Vec::new();
        if !self.eat('(') {
            return None;
        }
        if self.eat(')') {
            return Some(components);
        }
        loop {
            let start = self.rest;
            let (name, parameters) = (self.string()?, self.parameters()?);
            components.push(Component { raw: self.since(start), name, parameters });
            if self.eat(')') {
                return Some(components);
            }
            if components.len() == COMPONENTS_MAX || !self.eat(' ') {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<Parameters<'t>> {
        let mut parameters: Parameters<'t> = Vec::new();
        while self.eat(';') {
            let key = self.key()?;
            if parameters.len() == PARAMETERS_MAX || parameters.iter().any(|(known, _)| *known == key) {
                return None;
            }
            let value = if self.eat('=') { self.value()? } else { Value::Present };
            parameters.push((key, value));
        }
        Some(parameters)
    }

    fn value(&mut self) -> Option<Value> {
        if self.rest.starts_with('"') {
            return self.string().map(Value::Text);
        }
        let start = self.rest;
        self.eat('-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        // RFC 8941, 3.3.1: fifteen digits at most.
        let fits = (1..=15).contains(&digits.len());
        fits.then(|| self.since(start).parse().ok()).flatten().map(Value::Integer)
    }

    fn string(&mut self) -> Option<String> {
        if !self.eat('"') {
            return None;
        }
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => {
                    let (_, escaped) = characters.next()?;
                    text.push(Some(escaped).filter(|escaped| "\"\\".contains(*escaped))?);
                }
                ' '..='~' => text.push(character),
                _ => return None,
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        if !self.eat(':') {
            return None;
        }
        let digits = self.take_while(|byte| byte != b':');
        let bytes = Encoding::Base64.decode(digits.as_bytes())?;
        self.eat(':').then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_dictionaries_apart() {
        let text = r#"a=("@method" "x";bs);created=1;keyid="k\"", b=()"#;
        let inputs = inputs(text).unwrap();
        assert_eq!(inputs[0].raw, r#"("@method" "x";bs);created=1;keyid="k\"""#);
        assert_eq!(inputs[0].components[1].raw, r#""x";bs"#);
        assert_eq!(inputs[0].components[1].parameters, [("bs", Value::Present)]);
        let wanted = [("created", Value::Integer(1)), ("keyid", Value::Text("k\"".to_owned()))];
        assert_eq!(inputs[0].parameters, wanted);
        assert_eq!((inputs[1].label, inputs[1].raw), ("b", "()"));
        assert_eq!(byte_sequences("a=:QQ==:,b=:Qg==:").unwrap()[1], ("b", b"B".to_vec()));
    }

    #[test]
    fn refuses_every_other_form() {
        let wrong = [
            "",
            "a",
            "a=",
            "a=(",
            "a=(\"x\"",
            "a=(\"x\" )",
            "a=(\"x\"  \"y\")",
            "a=( \"x\")",
            "a=(x)",
            "a=(),",
            "A=()",
            "a=(),a=()",
            "a=() b=()",
            "a=();x;x",
            "a=();x=1.5",
            "a=();x=-",
            "a=();x=1234567890123456",
            "a=();x=\"",
            "a=();x=\"\\a\"",
            "a=(\"ä\")",
            "a=(); x",
            "a=()x",
            "a=1",
        ];
        for text in wrong {
            assert!(inputs(text).is_none(), "{text}");
        }
        for text in ["a=QQ==", "a=:QQ==", "a=:QQ:", "a=:QR==:", "a=:QQ==:;x", "a=:QQ==:,a=:QQ==:"] {
            assert!(byte_sequences(text).is_none(), "{text}");
        }
        let many = |count: usize, text: &str| vec![text; count].join(" ");
        assert!(inputs(&format!("a=({})", many(COMPONENTS_MAX, "\"x\""))).is_some());
        assert!(inputs(&format!("a=({})", many(COMPONENTS_MAX + 1, "\"x\""))).is_none());
        let labels = |count: usize| (0..count).map(|at| format!("a{at}=()")).collect::<Vec<_>>().join(",");
        assert!(inputs(&labels(MEMBERS_MAX)).is_some() && inputs(&labels(MEMBERS_MAX + 1)).is_none());
        let some = |count: usize| (0..count).map(|at| format!(";p{at}")).collect::<String>();
        assert!(inputs(&format!("a=(){}", some(PARAMETERS_MAX))).is_some());
        assert!(inputs(&format!("a=(){}", some(PARAMETERS_MAX + 1))).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a=(\"@x;bs:, \\\\1Qä)-]{0,40}") {
            let _ = (inputs(&text), byte_sequences(&text));
        }
    }
}
