//! Parts of values: fields, items, slices, lengths.

use super::account::{Ask, Result};
use super::code::{Expr, LoopField};
use super::loops::Item;
use super::run::Run;
use super::value::{Val, is_lazy, items};
use crate::render::row::KnownKey;

impl<'a> Run<'a> {
    pub(super) fn loop_field(&mut self, field: LoopField) -> Result<Val<'a>> {
        let open = self.loops.last().ok_or(Ask)?;
        let int = |number: usize| i64::try_from(number).map(Val::Int).map_err(|_| Ask);
        let index = open.index;
        let of_len = |of: fn(usize, usize) -> usize| match open.len {
            Some(len) => int(of(len, index)),
            None => Ok(Val::Undefined),
        };
        Ok(match field {
            LoopField::Index0 => int(index)?,
            LoopField::Index => int(index + 1)?,
            LoopField::Length => of_len(|len, _| len)?,
            LoopField::RevIndex => of_len(|len, index| len.saturating_sub(index))?,
            LoopField::RevIndex0 => of_len(|len, index| len.saturating_sub(index + 1))?,
            LoopField::First => Val::Bool(index == 0),
            LoopField::Last => Val::Bool(open.len.is_some_and(|len| len == 0 || index == len - 1)),
            LoopField::Previous | LoopField::Next => {
                let at = match field {
                    LoopField::Previous => index.checked_sub(1),
                    _ => Some(index + 1),
                };
                match at.map(|at| self.item(&open.items, at)) {
                    Some(Item::One(value)) => value,
                    Some(Item::Pair(..)) => return Err(Ask),
                    None => Val::Undefined,
                }
            }
        })
    }

    pub(super) fn attribute(&self, of: Val<'a>, known: KnownKey, name: &str) -> Result<Val<'a>> {
        Ok(match of {
            Val::Map(map) => {
                let value = map.entries()?.field(known, name);
                value.map_or(Val::Undefined, Val::of)
            }
            Val::Namespace(index) => {
                let fields = self.namespaces.get(index as usize).ok_or(Ask)?;
                let own = fields.iter().find(|(own, _)| *own == name);
                own.map_or(Val::Undefined, |(_, value)| *value)
            }
            Val::None
            | Val::Bool(_)
            | Val::Int(_)
            | Val::Number(_)
            | Val::Str(_)
            | Val::Messages { .. }
            | Val::Slice { .. }
            | Val::Range { .. } => Val::Undefined,
            Val::Seq(list) if items(list).is_some() => Val::Undefined,
            _ => return Err(Ask),
        })
    }

    pub(super) fn subscript(&mut self, of: Val<'a>, key: Val<'a>) -> Result<Val<'a>> {
        let index = match (of, key) {
            (Val::Map(_) | Val::Namespace(_), Val::Str(name)) => {
                return self.attribute(of, KnownKey::of(name), name);
            }
            (_, Val::Int(index)) => index,
            _ => return Err(Ask),
        };
        let len = match of {
            Val::Seq(list) => items(list).ok_or(Ask)?.len(),
            Val::Slice { items, .. } => items.len(),
            Val::Messages { from, to, .. } => to.saturating_sub(from) as usize,
            Val::None => return Ok(Val::Undefined),
            _ => return Err(Ask),
        };
        // Of a lazy list the engine goes through the items up to this one.
        if is_lazy(of) {
            self.account.pay_instructions(len as u64)?;
        }
        let at = match usize::try_from(index) {
            Ok(index) => Some(index),
            Err(_) => usize::try_from(index.unsigned_abs())
                .ok()
                .and_then(|back| len.checked_sub(back)),
        };
        match at {
            Some(at) => Ok(self.list_item(of, at)),
            // Which an index before the first item is, is the engine's secret.
            None => Err(Ask),
        }
    }

    pub(super) fn slice(&mut self, parts: &'a [Expr; 4]) -> Result<Val<'a>> {
        let [of, start, stop, step] = parts;
        let of = self.eval(of)?;
        let mut end = |expr: &'a Expr| match self.eval(expr)? {
            Val::None => Ok(None),
            Val::Int(int) => Ok(Some(int)),
            _ => Err(Ask),
        };
        let (start, stop, step) = (end(start)?, end(stop)?, end(step)?);
        let backwards = match step {
            None | Some(1) => false,
            Some(-1) if start.is_none() && stop.is_none() => true,
            _ => return Err(Ask),
        };
        let cut = |len: usize| -> (usize, usize) {
            let place = |at: i64| match usize::try_from(at) {
                Ok(at) => at.min(len),
                Err(_) => len.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(len)),
            };
            let from = start.map_or(0, place);
            (from, stop.map_or(len, place).max(from))
        };
        // Backwards the engine collects an iterator first.
        if is_lazy(of)
            && let Val::Int(len) = self.length(of)?
        {
            self.account.pay_instructions(len.unsigned_abs())?;
        }
        match of {
            Val::Messages {
                from,
                to,
                reversed: false,
                ..
            } => {
                let (first, last) = cut(to.saturating_sub(from) as usize);
                let at = |index: usize| u32::try_from(index).map(|index| from + index);
                Ok(Val::Messages {
                    from: at(first).map_err(|_| Ask)?,
                    to: at(last).map_err(|_| Ask)?,
                    lazy: true,
                    reversed: backwards,
                })
            }
            Val::Seq(_)
            | Val::Slice {
                reversed: false, ..
            } => {
                let items = match of {
                    Val::Slice { items, .. } => items,
                    Val::Seq(list) => items(list).ok_or(Ask)?,
                    _ => return Err(Ask),
                };
                let (first, last) = cut(items.len());
                Ok(Val::Slice {
                    items: items.get(first..last).unwrap_or_default(),
                    reversed: backwards,
                })
            }
            Val::Str(text) if !backwards => {
                self.account.pay_bytes(text.len())?;
                let (first, last) = cut(text.chars().count());
                let byte = |index: usize| {
                    let mut starts = text.char_indices();
                    starts.nth(index).map_or(text.len(), |(at, _)| at)
                };
                Ok(Val::Str(
                    text.get(byte(first)..byte(last)).unwrap_or_default(),
                ))
            }
            _ => Err(Ask),
        }
    }

    pub(super) fn length(&mut self, of: Val<'a>) -> Result<Val<'a>> {
        let len = match of {
            Val::Undefined => 0,
            Val::Str(text) => {
                self.account.pay_bytes(text.len())?;
                text.chars().count()
            }
            Val::Map(map) => map.entries()?.len(),
            Val::Seq(list) => items(list).ok_or(Ask)?.len(),
            Val::Slice { items, .. } => items.len(),
            Val::Messages { from, to, .. } => to.saturating_sub(from) as usize,
            Val::Range { len, .. } => len as usize,
            Val::Held(value) => value.len().ok_or(Ask)?,
            _ => return Err(Ask),
        };
        i64::try_from(len).map(Val::Int).map_err(|_| Ask)
    }

    /// Most that the engine makes a range of.
    pub(super) fn range(&mut self, args: &'a [Expr]) -> Result<Val<'a>> {
        const MOST: i64 = 100_000;
        if self.kwarg("range").is_some() {
            return Err(Ask);
        }
        let mut ints: [Option<i32>; 3] = [None; 3];
        for (place, arg) in ints.iter_mut().zip(args) {
            match self.eval(arg)? {
                Val::Int(int) if (-MOST..=MOST).contains(&int) => *place = i32::try_from(int).ok(),
                _ => return Err(Ask),
            }
        }
        let (start, stop, step) = match (ints, args.len()) {
            ([Some(stop), None, None], 1) => (0, stop, 1),
            ([Some(start), Some(stop), None], 2) => (start, stop, 1),
            ([Some(start), Some(stop), Some(step)], 3) if step != 0 => (start, stop, step),
            _ => return Err(Ask),
        };
        let away = if step > 0 { stop - start } else { start - stop };
        let by = step.abs();
        let len = (away.max(0) + by - 1) / by;
        match u32::try_from(len) {
            Ok(len) if i64::from(len) <= MOST => Ok(Val::Range { start, step, len }),
            _ => Err(Ask),
        }
    }
}
