//! The engine's values, made of ours.

use super::account::{Ask, Result};
use super::run::Run;
use super::value::{Map, NO_MESSAGE, Val, is_plain};
use crate::render::page::Tracking;
use minijinja::Value;

impl<'a> Run<'a> {
    /// What a namespace keeps of a value.
    pub(super) fn keep(&mut self, value: Val<'a>) -> Result<Val<'a>> {
        match value {
            Val::Str(text) => {
                self.account.pay_bytes(text.len())?;
                Ok(value)
            }
            Val::Undefined | Val::None | Val::Bool(_) | Val::Int(_) | Val::Number(_) => Ok(value),
            // Shallow ones are kept as they are.
            Val::Map(Map { value: of, .. }) | Val::Seq(of) if is_shallow(of) => {
                self.account
                    .pay_instructions((SHALLOW + 1) * (SHALLOW + 1))?;
                Ok(value)
            }
            _ => Err(Ask),
        }
    }

    /// The engine's value, where reading it changes nothing.
    pub(super) fn value(&self, value: Val<'a>) -> Result<Value> {
        Ok(match value {
            Val::Undefined => Value::UNDEFINED,
            Val::None => Value::from(()),
            Val::Bool(flag) => Value::from(flag),
            Val::Int(int) => Value::from(int),
            Val::Number(value) => value.clone(),
            Val::Str(text) => Value::from(text),
            Val::Map(Map { value, message, .. }) => {
                // A message knows its place, which a copy would not.
                let numbered = message != NO_MESSAGE && self.given.tracking == Tracking::Turns;
                if numbered || !is_plain(value) {
                    return Err(Ask);
                }
                value.clone()
            }
            Val::Seq(value) if is_plain(value) => value.clone(),
            Val::Held(value) => value.clone(),
            Val::Messages {
                from,
                to,
                lazy: false,
                ..
            } if self.given.tracking != Tracking::Turns => {
                let mut values = Vec::with_capacity(to as usize);
                for index in from..to {
                    values.push(self.value(self.message(index as usize))?);
                }
                self.account.pay_instructions(values.len() as u64)?;
                Value::from(values)
            }
            _ => return Err(Ask),
        })
    }
}

/// Most items of what a namespace keeps without a closer look.
const SHALLOW: u64 = 24;

/// Whether a value has few items, and those no items in turn.
fn is_shallow(value: &Value) -> bool {
    is_plain(value)
        && value.len().is_none_or(|len| len as u64 <= SHALLOW)
        && value
            .as_object()
            .and_then(|object| object.try_iter_pairs())
            .into_iter()
            .flatten()
            .all(
                |(_, item)| match item.as_object().and_then(|own| own.try_iter_pairs()) {
                    Some(mut pairs) => {
                        item.len().is_none_or(|len| len as u64 <= SHALLOW)
                            && pairs.all(|(_, inner)| inner.as_object().is_none())
                    }
                    None => true,
                },
            )
}
