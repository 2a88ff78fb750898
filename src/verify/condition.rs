//! Conditions on a request.

use super::compare;
use super::error::CompileError;
use super::settings::Scope;
use super::source::{Gap, Source};
use super::template::{Context, Template};
use crate::catalog;

/// A value that must be there, or be another value's equal.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) source: Source,
    pub(super) equals: Option<Template>,
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
                compiled.push(Self { source, equals });
            }
        }
        Ok(compiled)
    }

    /// Whether it holds; the gap says why there was nothing to look at.
    pub(super) fn holds(&self, context: &Context<'_, '_>) -> Result<bool, Gap> {
        let value = self.source.one(context.view)?;
        match &self.equals {
            None => Ok(true),
            Some(expected) => Ok(compare::same(&value, &expected.bytes(context)?)),
        }
    }

    /// Whether all hold.
    pub(super) fn all_hold(conditions: &[Self], context: &Context<'_, '_>) -> bool {
        conditions.iter().all(|condition| condition.holds(context) == Ok(true))
    }
}
