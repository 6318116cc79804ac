//! Alpaca rows: one exchange in flat columns.

use super::Row;
use super::beside::Beside;
use super::chat::{Chat, SYSTEM};
use super::fault::{Fault, Result};
use super::field::{missing, optional_text, text};
use super::json::{Cursor, Type};
use super::message::text_message;
use crate::recipe::Fields;
use std::borrow::Cow;

/// LLaMA-Factory's column of earlier exchanges.
const HISTORY: &str = "history";

impl Chat {
    /// Takes an Alpaca row. A person's turn is the instruction, a line break and the input, without what of the
    /// two is empty: LLaMA-Factory's reading.
    pub(super) fn instruction(&self, cursor: &mut Cursor<'_>, fields: &Fields) -> Result<Row> {
        let mut instruction = None;
        let mut input = None;
        let mut output = None;
        let mut system = None;
        let mut beside = Beside::default();
        cursor.object(|cursor, key| {
            if key == fields.instruction {
                instruction = Some(text(cursor, &key)?);
            } else if key == fields.input {
                input = optional_text(cursor, &key)?;
            } else if key == fields.output {
                output = Some(text(cursor, &key)?);
            } else if key == SYSTEM {
                system = optional_text(cursor, &key)?;
            } else if key == HISTORY {
                no_history(cursor)?;
            } else if !beside.take(cursor, &key, fields)? {
                cursor.skip()?;
            }
            Ok(())
        })?;
        let instruction = instruction.ok_or_else(|| missing(&fields.instruction))?;
        let output = output.ok_or_else(|| missing(&fields.output))?;
        let request = match input {
            None => instruction,
            Some(input) if instruction.is_empty() => input,
            Some(input) => Cow::Owned(format!("{instruction}\n{input}")),
        };
        let messages = vec![
            text_message("user", &request),
            text_message("assistant", &output),
        ];
        Ok(self.completed(beside, messages, 1, system))
    }
}

/// Refuses what would be lost without a word.
fn no_history(cursor: &mut Cursor<'_>) -> Result<()> {
    let mut any = false;
    match cursor.peek()? {
        Type::Array => cursor.array(|cursor| {
            any = true;
            cursor.skip()
        })?,
        Type::Null => cursor.null()?,
        _ => {
            any = true;
            cursor.skip()?;
        }
    }
    if any {
        return Err(Fault::row("holds earlier turns, which are not read")
            .remedy("write such rows as messages")
            .within(HISTORY));
    }
    Ok(())
}
