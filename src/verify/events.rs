//! What an authentic delivery says of itself: its events' names and its id.

use super::error::CompileError;
use super::settings::Scope;
use super::source::Source;
use super::view::View;
use crate::catalog::Row;

/// Where names and id are; alternatives, of which the first that yields anything counts.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pub(super) actions: Vec<Source>,
    pub(super) delivery_id: Vec<Source>,
}

/// Names and id.
#[derive(Clone, Debug, Default)]
pub(super) struct Event {
    pub(super) actions: Vec<String>,
    pub(super) delivery_id: Option<String>,
}

impl Events {
    /// Compiles a row's pointers.
    pub(super) fn compile(row: &Row, scope: &Scope<'_>) -> Result<Self, CompileError> {
        let sources = |texts: &[String]| -> Result<Vec<Source>, CompileError> {
            scope.expand_all(texts)?.iter().map(|text| Source::parse(text)).collect()
        };
        Ok(Self { actions: sources(&row.actions)?, delivery_id: sources(&row.delivery_id)? })
    }

    /// Never fails: what can't be found isn't there.
    pub(super) fn read(&self, view: &View<'_>) -> Event {
        Event {
            actions: first(&self.actions, view),
            delivery_id: first(&self.delivery_id, view).into_iter().next(),
        }
    }
}

fn first(sources: &[Source], view: &View<'_>) -> Vec<String> {
    sources.iter().map(|source| source.names(view)).find(|names| !names.is_empty()).unwrap_or_default()
}
