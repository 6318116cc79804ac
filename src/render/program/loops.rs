//! Loops, and what they go through.

use super::account::{Ask, Result};
use super::code::{Expr, For, Targets};
use super::run::{Flow, Run};
use super::value::{Entries, Val, items};
use minijinja::Value;
use minijinja::value::Tuple;

/// A loop at an item.
pub(super) struct Loop<'a> {
    pub(super) index: usize,
    /// None where the engine would not know.
    pub(super) len: Option<usize>,
    pub(super) items: Items<'a>,
}

/// What a loop stands at.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    One(Val<'a>),
    /// Key and value of a map.
    Pair(Val<'a>, Val<'a>),
}

impl<'a> Item<'a> {
    /// The engine makes a list of a pair.
    pub(super) fn one(self) -> Result<Val<'a>> {
        match self {
            Item::One(value) => Ok(value),
            Item::Pair(..) => Err(Ask),
        }
    }
}

/// What a loop goes through.
pub(super) enum Items<'a> {
    List(Val<'a>, usize),
    Keys(Entries<'a>),
    Pairs(Entries<'a>),
    Own(Vec<Val<'a>>),
}

impl Items<'_> {
    fn len(&self) -> usize {
        match self {
            Items::List(_, len) => *len,
            Items::Keys(entries) | Items::Pairs(entries) => entries.len(),
            Items::Own(items) => items.len(),
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn for_loop(&mut self, own: &'a For) -> Result<()> {
        let (mut items, mut len) = self.items(&own.items)?;
        if let Some(filter) = &own.filter {
            let mut kept = Vec::new();
            for index in 0..items.len() {
                self.account.pay_instructions(own.body.cost)?;
                self.unset(&own.slots);
                let item = self.item(&items, index);
                self.assign(&own.targets, item)?;
                if self.test(filter)? {
                    kept.push(item.one()?);
                }
            }
            len = Some(kept.len());
            items = Items::Own(kept);
        }
        let count = items.len();
        self.loops.push(Loop {
            index: 0,
            len,
            items,
        });
        for index in 0..count {
            self.unset(&own.slots);
            let open = self.loops.last_mut().ok_or(Ask)?;
            open.index = index;
            let open = self.loops.last().ok_or(Ask)?;
            let item = self.item(&open.items, index);
            self.assign(&own.targets, item)?;
            if self.block(&own.body)? == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        if count == 0 {
            // The engine refuses jumps out of it.
            if self.block(&own.otherwise)? != Flow::Next {
                return Err(Ask);
            }
        }
        Ok(())
    }

    /// What a loop goes through, and its length where the engine would know it.
    pub(super) fn items(&mut self, expr: &'a Expr) -> Result<(Items<'a>, Option<usize>)> {
        if let Expr::Pairs(of) = expr {
            return match self.eval(of)? {
                Val::Map(map) => {
                    let entries = map.entries()?;
                    Ok((Items::Pairs(entries), Some(entries.len())))
                }
                _ => Err(Ask),
            };
        }
        let value = self.eval(expr)?;
        let len = match value {
            Val::Undefined | Val::None => 0,
            Val::Seq(list) => items(list).ok_or(Ask)?.len(),
            Val::Slice { items, .. } => items.len(),
            Val::Messages { from, to, .. } => to.saturating_sub(from) as usize,
            Val::Range { len, .. } => len as usize,
            Val::Map(map) => {
                let entries = map.entries()?;
                return Ok((Items::Keys(entries), Some(entries.len())));
            }
            Val::Held(value) => {
                let iter = value.try_iter().map_err(|_| Ask)?;
                let len = match iter.size_hint() {
                    (lower, Some(upper)) if lower == upper => Some(lower),
                    _ => None,
                };
                let mut items = Vec::new();
                for item in iter.checked() {
                    self.account.pay_instructions(1)?;
                    items.push(Val::held(self.store.value(item.map_err(|_| Ask)?)));
                }
                return Ok((Items::Own(items), len));
            }
            _ => return Err(Ask),
        };
        Ok((Items::List(value, len), Some(len)))
    }

    pub(super) fn item(&self, items: &Items<'a>, index: usize) -> Item<'a> {
        Item::One(match items {
            Items::List(list, _) => self.list_item(*list, index),
            Items::Keys(entries) => entries
                .at(index)
                .map_or(Val::Undefined, |(key, _)| Val::of(key)),
            Items::Pairs(entries) => match entries.at(index) {
                Some((key, value)) => return Item::Pair(Val::of(key), Val::of(value)),
                None => Val::Undefined,
            },
            Items::Own(items) => items.get(index).copied().unwrap_or(Val::Undefined),
        })
    }

    /// An item of a list that lies within it.
    pub(super) fn list_item(&self, list: Val<'a>, index: usize) -> Val<'a> {
        match list {
            Val::Seq(list) => {
                let items = items(list).unwrap_or_default();
                items.get(index).map_or(Val::Undefined, Val::of)
            }
            Val::Slice { items, reversed } => {
                let at = place(index, items.len(), reversed);
                at.and_then(|at| items.get(at))
                    .map_or(Val::Undefined, Val::of)
            }
            Val::Messages {
                from, to, reversed, ..
            } => {
                let len = to.saturating_sub(from) as usize;
                match place(index, len, reversed) {
                    Some(at) => self.message(from as usize + at),
                    None => Val::Undefined,
                }
            }
            Val::Range { start, step, len } => match i32::try_from(index) {
                Ok(at) if index < len as usize => {
                    Val::Int(i64::from(start) + i64::from(step) * i64::from(at))
                }
                _ => Val::Undefined,
            },
            _ => Val::Undefined,
        }
    }

    pub(super) fn message(&self, index: usize) -> Val<'a> {
        let value = match self.given.messages {
            Some(messages) => messages.get(index),
            None => {
                let messages = &self.given.conversation.messages;
                messages.get(index).map(|message| &message.value)
            }
        };
        value.map_or(Val::Undefined, |value| Val::message(value, index))
    }

    pub(super) fn assign(&mut self, targets: &Targets, item: Item<'a>) -> Result<()> {
        let slots = match targets {
            Targets::One(slot) => return self.set(*slot, item.one()?),
            Targets::Many(slots) => slots,
        };
        let item = match (item, slots.as_slice()) {
            (Item::Pair(key, value), [first, second]) => {
                self.set(*first, key)?;
                return self.set(*second, value);
            }
            (item, _) => item.one()?,
        };
        let parts: &[Value] = match item {
            Val::Seq(value) if items(value).is_some() => items(value).unwrap_or_default(),
            Val::Held(value) | Val::Seq(value) => {
                value.downcast_object_ref::<Tuple>().ok_or(Ask)?
            }
            _ => return Err(Ask),
        };
        if parts.len() != slots.len() {
            return Err(Ask);
        }
        for (slot, part) in slots.iter().zip(parts) {
            self.set(*slot, Val::of(part))?;
        }
        Ok(())
    }
}

/// The place in a list of an item of a slice that is the list, forwards or backwards.
fn place(index: usize, len: usize, reversed: bool) -> Option<usize> {
    match (index < len, reversed) {
        (true, false) => Some(index),
        (true, true) => len.checked_sub(index + 1),
        (false, _) => None,
    }
}
