//! What the recipe leaves out: records before they are rendered, examples by their length.

use super::encode::{Dropped, Outcome};
use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::Reason;
use crate::recipe::{Bounds, FilterConfig};
use crate::render::Condition;
use crate::render::row::{Row, RowReader, Shape};
use std::sync::Arc;

/// A source's filter, compiled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    condition: Option<Arc<Condition>>,
    turns: Option<Bounds>,
    tokens: Option<Bounds>,
}

impl Filter {
    /// Compiles a filter.
    pub(crate) fn new(config: &FilterConfig) -> Result<Filter> {
        let FilterConfig {
            tokens,
            turns,
            r#where,
        } = config;
        let compiled = r#where.as_deref().map(Condition::compile).transpose();
        let condition = compiled.map_err(|why| {
            Error::new(Kind::Recipe, Stage::Recipe, format!("filter.where: {why}"))
        })?;
        Ok(Filter {
            condition: condition.map(Arc::new),
            turns: *turns,
            tokens: *tokens,
        })
    }

    /// Refuses, when a source is opened, what could only fail at its first record.
    pub(crate) fn check(&self, shape: Shape) -> Result<()> {
        match shape {
            Shape::Text | Shape::Tokens if self.turns.is_some() => Err(no_turns(Kind::Recipe)),
            _ => Ok(()),
        }
    }

    /// Why a record is left out, as far as its fields say it.
    pub(super) fn record(&self, line: &[u8], rows: &RowReader) -> Result<Option<Reason>> {
        let Some(condition) = &self.condition else {
            return Ok(None);
        };
        rows.check_size(line)?;
        let holds = condition.holds(line, rows.nesting())?;
        Ok((!holds).then_some(Reason::FilteredWhere))
    }

    /// Why a row is left out, as far as its turns say it.
    pub(super) fn row(&self, row: &Row) -> Result<Option<Reason>> {
        let Some(bounds) = self.turns else {
            return Ok(None);
        };
        let chat = match row {
            Row::Chat(conversation) | Row::ChatCompletion { conversation, .. } => conversation,
            Row::TextCompletion { .. } | Row::Text(_) | Row::Tokens { .. } => {
                return Err(no_turns(Kind::Row));
            }
        };
        let turns = chat.messages.iter();
        let turns =
            turns.filter(|message| !matches!(message.role.as_str(), "system" | "developer"));
        Ok((!bounds.contains(turns.count() as u64)).then_some(Reason::FilteredTurns))
    }

    /// Leaves out examples by their length.
    pub(super) fn examples(&self, outcome: Outcome) -> Outcome {
        let Some(bounds) = self.tokens else {
            return outcome;
        };
        let Outcome::Examples(mut examples) = outcome else {
            return outcome;
        };
        for encoded in &mut examples {
            let tokens = encoded.as_ref().map(|example| example.len() as u64);
            if let Ok(tokens) = tokens
                && !bounds.contains(tokens)
            {
                let reason = Reason::FilteredTokens;
                *encoded = Err(Dropped { reason, tokens });
            }
        }
        Outcome::Examples(examples)
    }
}

fn no_turns(kind: Kind) -> Error {
    let message = "filter.turns counts messages, and the rows have none";
    Error::new(kind, Stage::Render, message)
        .remedy("give this source a filter of its own without turns")
}
