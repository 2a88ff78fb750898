//! Templates: how the bytes that are signed, compared or answered are put together.
//!
//! `{NAME}` stands for a value, `{NAME|function|…}` for what functions make of it, `{{` and `}}` for braces.
//! Names are sources and those of [`Variable`]. `{(…)|function}` groups: with `optional`
//! it is left out when a value in it is absent. `{set:NAME}` is a setting's bytes.

use std::borrow::Cow;

use super::error::CompileError;
use super::function::Function;
use super::secret::Secret;
use super::settings::Scope;
use super::sink::Sink;
use super::source::Gap;
use super::variable::Variable;
use super::view::View;

/// A parsed template.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Literal(Vec<u8>),
    /// Settings may be secrets: a verify token, for one.
    Setting(Secret),
    Value(Variable, Vec<Function>),
}

/// What a template's values are taken from.
#[derive(Clone, Copy)]
pub(super) struct Context<'c, 'a> {
    pub(super) view: &'c View<'a>,
    /// The signed time, as received.
    pub(super) timestamp: Option<&'c [u8]>,
    /// For messages that the secret is part of.
    pub(super) secret: Option<&'c [u8]>,
    /// For answers that prove we know the key.
    pub(super) key: Option<&'c aws_lc_rs::hmac::Key>,
}

impl<'c, 'a> Context<'c, 'a> {
    /// Nothing but the request.
    pub(super) fn of(view: &'c View<'a>) -> Self {
        Self { view, timestamp: None, secret: None, key: None }
    }
}

impl Template {
    /// Parses what is signed: when that is one setting and nothing else, the setting's value is the template.
    pub(super) fn parse_message(text: &str, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let lone = text.strip_prefix("{set:").and_then(|rest| rest.strip_suffix('}'));
        match lone.filter(|name| !name.contains(['{', '}', '|'])) {
            Some(_) => Self::parse(&scope.expand(text)?, scope),
            None => Self::parse(text, scope),
        }
    }

    /// Parses a template whose settings are in scope; a setting stands for its bytes.
    pub(super) fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let mut parser = Parser { text, rest: text, scope };
        let template = parser.template(false)?;
        match parser.rest {
            "" => Ok(template),
            _ => Err(parser.malformed("a brace is closed that wasn't opened")),
        }
    }

    /// Gives its bytes to the sink, piece by piece.
    pub(super) fn feed(&self, context: &Context<'_, '_>, sink: &mut Sink<'_>) -> Result<(), Gap> {
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => sink.put(bytes),
                Piece::Setting(setting) => sink.put(setting.bytes()),
                Piece::Value(variable, functions) if functions.is_empty() => variable.feed(context, sink)?,
                Piece::Value(variable, functions) => sink.put(&apply(variable, functions, context)?),
            }
        }
        Ok(())
    }

    /// Its bytes.
    pub(super) fn bytes(&self, context: &Context<'_, '_>) -> Result<Vec<u8>, Gap> {
        let mut bytes = Vec::new();
        self.feed(context, &mut Sink::Bytes(&mut bytes))?;
        Ok(bytes)
    }

    /// Whether it always stands for nothing: settings that aren't set.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| match piece {
            Piece::Literal(bytes) => bytes.is_empty(),
            Piece::Setting(setting) => setting.bytes().is_empty(),
            Piece::Value(..) => false,
        })
    }

    /// Whether any value in it, at any depth, is such a one.
    pub(super) fn has(&self, wanted: &dyn Fn(&Variable) -> bool) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Literal(_) | Piece::Setting(_) => false,
            Piece::Value(Variable::Group(group), _) => group.has(wanted),
            Piece::Value(Variable::Sorted(several), _) => several.iter().any(wanted),
            Piece::Value(variable, _) => wanted(variable),
        })
    }

    /// Whether the request has any of its values: without one it is the same for every request.
    pub(super) fn has_any(&self, context: &Context<'_, '_>) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Literal(_) | Piece::Setting(_) | Piece::Value(Variable::Secret, _) => false,
            Piece::Value(Variable::Group(group), _) => group.has_any(context),
            Piece::Value(variable, _) => {
                let mut value = Vec::new();
                variable.feed(context, &mut Sink::Bytes(&mut value)).is_ok() && !value.is_empty()
            }
        })
    }

    /// Whether the key is needed to make it.
    pub(super) fn needs_key(&self) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Literal(_) | Piece::Setting(_) => false,
            Piece::Value(Variable::Group(group), functions) => {
                group.needs_key() || functions.contains(&Function::Hmac)
            }
            Piece::Value(_, functions) => functions.contains(&Function::Hmac),
        })
    }

    /// The values that a request must have for it, optional ones left out.
    pub(super) fn needed(&self) -> Vec<&Variable> {
        let needed = |piece: &'_ Piece| match piece {
            Piece::Value(_, functions) => !functions.contains(&Function::Optional),
            Piece::Literal(_) | Piece::Setting(_) => false,
        };
        let variables = self.0.iter().filter(|piece| needed(piece)).flat_map(|piece| match piece {
            Piece::Value(Variable::Group(group), _) => group.needed(),
            Piece::Value(variable, _) => vec![variable],
            Piece::Literal(_) | Piece::Setting(_) => Vec::new(),
        });
        variables.collect()
    }
}

fn apply(variable: &Variable, functions: &[Function], context: &Context<'_, '_>) -> Result<Vec<u8>, Gap> {
    let mut value = Vec::new();
    let fed = variable.feed(context, &mut Sink::Bytes(&mut value));
    if functions.contains(&Function::Optional) && fed == Err(Gap::Absent) {
        return Ok(Vec::new());
    }
    fed?;
    functions.iter().try_fold(value, |value, function| function.apply(value, context))
}

struct Parser<'t, 's> {
    text: &'t str,
    rest: &'t str,
    scope: &'s Scope<'s>,
}

impl<'t> Parser<'t, '_> {
    fn template(&mut self, in_group: bool) -> Result<Template, CompileError> {
        let mut pieces = Vec::new();
        loop {
            let literal = self.literal(in_group)?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.into_owned().into_bytes()));
            }
            if !self.rest.starts_with('{') {
                return Ok(Template(pieces));
            }
            self.rest = &self.rest[1..];
            pieces.push(self.value()?);
        }
    }

    /// Up to a value, the end of the group, or the end.
    fn literal(&mut self, in_group: bool) -> Result<Cow<'t, str>, CompileError> {
        let mut literal = Cow::Borrowed("");
        loop {
            let stop = self.rest.find(if in_group { &['{', '}', ')'][..] } else { &['{', '}'][..] });
            let (before, rest) = self.rest.split_at(stop.unwrap_or(self.rest.len()));
            literal += before;
            self.rest = rest;
            let doubled = ["{{", "}}"].iter().find(|doubled| rest.starts_with(**doubled));
            if let Some(doubled) = doubled {
                literal += &doubled[1..];
                self.rest = &rest[2..];
            } else if rest.starts_with(')') && !rest.starts_with(")|") && !rest.starts_with(")}") {
                literal += ")";
                self.rest = &rest[1..];
            } else if rest.starts_with('}') {
                return Err(self.malformed("a brace is closed that wasn't opened"));
            } else {
                return Ok(literal);
            }
        }
    }

    fn value(&mut self) -> Result<Piece, CompileError> {
        let variable = match self.rest.strip_prefix('(') {
            Some(rest) => {
                self.rest = rest;
                let group = self.template(true)?;
                self.rest =
                    self.rest.strip_prefix(')').ok_or_else(|| self.malformed("a group is not closed"))?;
                Some(Variable::Group(group))
            }
            None => None,
        };
        let Some((inside, rest)) = self.rest.split_once('}') else {
            return Err(self.malformed("a brace is not closed"));
        };
        self.rest = rest;
        let mut words = inside.split('|');
        let name = words.next().unwrap_or_default();
        let functions = words.map(Function::named).collect::<Result<Vec<_>, _>>()?;
        match (variable, name.strip_prefix("set:")) {
            (Some(group), _) => Ok(Piece::Value(group, functions)),
            (None, Some(setting)) => {
                let setting = Piece::Setting(Secret::new(self.scope.value(setting)?.to_vec()));
                match functions.is_empty() {
                    true => Ok(setting),
                    false => Ok(Piece::Value(Variable::Group(Template(vec![setting])), functions)),
                }
            }
            (None, None) => Ok(Piece::Value(Variable::parse(name)?, functions)),
        }
    }

    fn malformed(&self, problem: &'static str) -> CompileError {
        CompileError::malformed("template", self.text, problem)
    }
}
