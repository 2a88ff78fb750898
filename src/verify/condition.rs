//! Conditions on a request.

use super::compare;
use super::error::CompileError;
use super::settings::Scope;
use super::source::{Gap, Source};
use super::template::{Context, Template};
use crate::catalog::{self, Like};

/// What must hold of a source's value.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) source: Source,
    pub(super) equals: Option<Template>,
    like: Option<Like>,
    pub(super) absent: bool,
}

impl Condition {
    /// Compiles conditions, without those whose value comes out empty.
    pub(super) fn compile_all(
        conditions: &[catalog::Condition],
        scope: &Scope<'_>,
    ) -> Result<Vec<Self>, CompileError> {
        let mut compiled = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let source = Source::parse(&scope.expand(&condition.from)?)?;
            let equals = condition.equals.as_deref().map(|text| Template::parse(text, scope)).transpose()?;
            if !equals.as_ref().is_some_and(Template::is_empty) {
                compiled.push(Self { source, equals, like: condition.like, absent: condition.absent });
            }
        }
        Ok(compiled)
    }

    /// Whether it holds; the gap says why there was nothing to look at.
    pub(super) fn holds(&self, context: &Context<'_, '_>) -> Result<bool, Gap> {
        let value = match self.source.one(context.view) {
            Err(Gap::Absent) if self.absent => return Ok(true),
            value => value?,
        };
        let is_equal = match &self.equals {
            None => true,
            Some(expected) => compare::same(&value, &expected.bytes(context)?),
        };
        Ok(is_equal && !self.absent && self.like.is_none_or(|like| is_like(&value, like)))
    }

    /// Whether all hold.
    pub(super) fn all_hold(conditions: &[Self], context: &Context<'_, '_>) -> bool {
        conditions.iter().all(|condition| condition.holds(context) == Ok(true))
    }
}

/// The longest token that is answered, in bytes.
const TOKEN_BYTES_MAX: usize = 256;

fn is_like(value: &[u8], like: Like) -> bool {
    match like {
        Like::Token => {
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            value.len() <= TOKEN_BYTES_MAX && value.iter().all(is_plain)
        }
        Like::Json => matches!(value.trim_ascii_start().first(), Some(b'{' | b'[')),
    }
}
