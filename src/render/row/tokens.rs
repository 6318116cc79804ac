//! Rows that are tokens already: `input_ids`, and what of them is trained.

use super::fault::{Fault, Result};
use super::field::missing;
use super::json::{Cursor, Number, Type};
use super::{GivenLabels, Row};
use crate::example::{IGNORE_INDEX, Span, TokenId};
use crate::recipe::Fields;

/// The label of what is not trained.
const IGNORED: i64 = IGNORE_INDEX as i64;

/// Takes a row of tokens.
pub(super) fn read(cursor: &mut Cursor<'_>, fields: &Fields) -> Result<Row> {
    let mut ids: Option<Vec<TokenId>> = None;
    let mut labels: Option<Vec<i64>> = None;
    let mut loss_mask: Option<Vec<bool>> = None;
    cursor.object(|cursor, key| {
        if key == fields.input_ids {
            ids = list(cursor, &key, token)?;
        } else if key == fields.labels {
            labels = list(cursor, &key, label)?;
        } else if key == fields.loss_mask {
            loss_mask = list(cursor, &key, flag)?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    let ids = ids.ok_or_else(|| missing(&fields.input_ids))?;
    if ids.is_empty() || u32::try_from(ids.len()).is_err() {
        return Err(Fault::row(format!("has {} tokens", ids.len()))
            .remedy("leave such rows out")
            .within(&fields.input_ids));
    }
    if let Some(labels) = &labels {
        same_length(&ids, labels.len(), &fields.labels)?;
        let odd = |&(_, (&id, &label)): &(usize, (&TokenId, &i64))| {
            label != i64::from(id) && label != IGNORED
        };
        if let Some((index, (id, label))) = ids.iter().zip(labels).enumerate().find(odd) {
            return Err(Fault::row(format!(
                "is {label}, neither {IGNORED} nor the id {id}"
            ))
            .remedy(
                "labels are not shifted: position by position -100 or the id at the same place",
            )
            .within(format_args!("{}[{index}]", fields.labels)));
        }
    }
    if let Some(mask) = &loss_mask {
        same_length(&ids, mask.len(), &fields.loss_mask)?;
    }
    let labelled = labels.map(|labels| labels.into_iter().map(|label| label != IGNORED));
    let trained = match (labelled, loss_mask) {
        (None, None) => GivenLabels::None,
        (Some(labelled), None) => GivenLabels::Spans(spans(labelled)),
        (None, Some(mask)) => GivenLabels::Spans(spans(mask.into_iter())),
        // A token counts where both masks train it.
        (Some(labelled), Some(mask)) => {
            GivenLabels::Spans(spans(labelled.zip(mask).map(|(a, b)| a && b)))
        }
    };
    Ok(Row::Tokens { ids, trained })
}

/// Takes a list, or null for none.
fn list<T>(
    cursor: &mut Cursor<'_>,
    field: &str,
    element: impl Fn(&mut Cursor<'_>) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    if cursor.peek()? == Type::Null {
        return cursor.null().map(|()| None);
    }
    let mut items = Vec::new();
    let read = cursor.array(|cursor| {
        let item = element(cursor);
        items.push(item.map_err(|fault| fault.within(format_args!("[{}]", items.len())))?);
        Ok(())
    });
    read.map_err(|fault| fault.within(field))?;
    Ok(Some(items))
}

fn token(cursor: &mut Cursor<'_>) -> Result<TokenId> {
    let id = match cursor.number()? {
        Number::Int(int) => TokenId::try_from(int).ok(),
        Number::BigInt(_) | Number::Float(_) => None,
    };
    id.ok_or_else(|| Fault::row("is no token id").remedy("ids are integers from 0 to 2^32 - 1"))
}

fn label(cursor: &mut Cursor<'_>) -> Result<i64> {
    match cursor.number()? {
        Number::Int(int) => Ok(int),
        Number::BigInt(_) | Number::Float(_) => {
            Err(Fault::row("is no label").remedy("a label is -100 or the id"))
        }
    }
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool> {
    if cursor.peek()? == Type::Bool {
        return cursor.bool();
    }
    match cursor.number()? {
        Number::Int(0) => Ok(false),
        Number::Int(1) => Ok(true),
        Number::Float(0.0) => Ok(false),
        Number::Float(1.0) => Ok(true),
        Number::Float(weight) if weight > 0.0 && weight < 1.0 => {
            Err(Fault::row(format!("is {weight}, a weight between 0 and 1"))
                .remedy("loss weights are not supported yet; round it to 0 or 1"))
        }
        _ => Err(Fault::row("is neither 0 nor 1").remedy("a loss mask holds 0, 1, true or false")),
    }
}

fn same_length(ids: &[TokenId], len: usize, field: &str) -> Result<()> {
    if len == ids.len() {
        return Ok(());
    }
    let clause = format!("has {len} entries for {} tokens", ids.len());
    Err(Fault::row(clause)
        .remedy("give one entry a token, not shifted")
        .within(field))
}

/// The runs of true.
fn spans(trained: impl Iterator<Item = bool>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (at, trained) in (0_u32..).zip(trained) {
        match spans.last_mut() {
            _ if !trained => {}
            Some(last) if last.end == at => last.end = at + 1,
            _ => spans.push(at..at + 1),
        }
    }
    spans
}
