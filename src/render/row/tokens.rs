//! Rows that are tokens already: `input_ids`, and what of them is trained.

use super::fault::{Fault, Result};
use super::field::missing;
use super::json::{Cursor, Number, Type};
use super::{GivenLabels, Row};
use crate::example::{IGNORE_INDEX, LossWeight, Targets, TokenId, Weighted};
use crate::recipe::Fields;

/// The label of what is not trained.
const IGNORED: i64 = IGNORE_INDEX as i64;

/// Takes a row of tokens.
pub(super) fn read(cursor: &mut Cursor<'_>, fields: &Fields) -> Result<Row> {
    let mut ids: Option<Vec<TokenId>> = None;
    let mut labels: Option<Vec<i64>> = None;
    let mut loss_mask: Option<Vec<Option<LossWeight>>> = None;
    cursor.object(|cursor, key| {
        if key == fields.input_ids {
            ids = list(cursor, &key, token)?;
        } else if key == fields.labels {
            labels = list(cursor, &key, label)?;
        } else if key == fields.loss_mask {
            loss_mask = list(cursor, &key, weight)?;
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
        (Some(labelled), None) => {
            let weights = labelled.map(|labelled| labelled.then_some(LossWeight::ONE));
            GivenLabels::Targets(targets(weights))
        }
        (None, Some(mask)) => GivenLabels::Targets(targets(mask.into_iter())),
        // A token counts where both masks train it.
        (Some(labelled), Some(mask)) => {
            let weights = labelled.zip(mask);
            let weights = weights.map(|(labelled, weight)| weight.filter(|_| labelled));
            GivenLabels::Targets(targets(weights))
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

/// A token's entry in the loss mask; none: it is not trained.
fn weight(cursor: &mut Cursor<'_>) -> Result<Option<LossWeight>> {
    if cursor.peek()? == Type::Bool {
        return Ok(cursor.bool()?.then_some(LossWeight::ONE));
    }
    let number = match cursor.number()? {
        Number::Int(0) => 0.0,
        Number::Int(1) => 1.0,
        Number::Float(number) => number,
        Number::Int(_) | Number::BigInt(_) => f64::NAN,
    };
    match LossWeight::new(number) {
        None if number != 0.0 => Err(Fault::row("is not between 0 and 1")
            .remedy("a loss mask holds true, false or weights from 0 to 1")),
        weight => Ok(weight),
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

/// The runs of tokens that are trained, and those of one weight below 1.
fn targets(weights: impl Iterator<Item = Option<LossWeight>>) -> Targets {
    let mut targets = Targets::default();
    for (at, weight) in (0_u32..).zip(weights) {
        let Some(weight) = weight else { continue };
        match targets.trained.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => targets.trained.push(at..at + 1),
        }
        if weight == LossWeight::ONE {
            continue;
        }
        match targets.weights.last_mut() {
            Some(last) if last.tokens.end == at && last.weight == weight => {
                last.tokens.end = at + 1;
            }
            _ => targets.weights.push(Weighted {
                tokens: at..at + 1,
                weight,
            }),
        }
    }
    targets
}
