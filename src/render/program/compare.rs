//! What values are, how they compare, and what they add up to.

use super::account::{Ask, Result};
use super::code::{Kind, Order, Sum};
use super::run::Run;
use super::value::{Val, is_lazy, is_plain, items};
use minijinja::value::{Value, ValueKind};

impl<'a> Run<'a> {
    pub(super) fn is_true(&self, value: Val<'a>) -> Result<bool> {
        Ok(match value {
            Val::Undefined | Val::None => false,
            Val::Bool(flag) => flag,
            Val::Int(int) => int != 0,
            Val::Str(text) => !text.is_empty(),
            Val::Map(map) => map.entries()?.len() > 0,
            Val::Seq(list) => !items(list).ok_or(Ask)?.is_empty(),
            Val::Slice { items, .. } => !items.is_empty(),
            Val::Messages { from, to, .. } => to > from,
            Val::Range { len, .. } => len > 0,
            Val::Number(value) | Val::Held(value) => value.is_true(),
            Val::Macro(_) | Val::Function(_) => true,
            Val::Unset | Val::Foreign(_) | Val::Namespace(_) => return Err(Ask),
        })
    }

    pub(super) fn is(&self, kind: Kind, value: Val<'a>) -> Result<bool> {
        let lazy = is_lazy(value);
        let list = matches!(value, Val::Seq(_) | Val::Messages { lazy: false, .. });
        // Tests of other values are the engine's.
        let known = !matches!(
            value,
            Val::Unset
                | Val::Held(_)
                | Val::Foreign(_)
                | Val::Namespace(_)
                | Val::Macro(_)
                | Val::Function(_)
        );
        if !known {
            return match (kind, value) {
                (
                    Kind::Defined,
                    Val::Namespace(_) | Val::Macro(_) | Val::Function(_) | Val::Held(_),
                ) => Ok(true),
                _ => Err(Ask),
            };
        }
        Ok(match kind {
            Kind::Defined => !matches!(value, Val::Undefined),
            Kind::Undefined => matches!(value, Val::Undefined),
            Kind::None => matches!(value, Val::None),
            Kind::Text => matches!(value, Val::Str(_)),
            Kind::Mapping => matches!(value, Val::Map(_)),
            Kind::Sequence => {
                list || lazy || matches!(value, Val::Map(_) | Val::Str(_) | Val::Undefined)
            }
            Kind::Iterable => {
                list || lazy || matches!(value, Val::Map(_) | Val::Str(_) | Val::Undefined)
            }
            Kind::Boolean => matches!(value, Val::Bool(_)),
            Kind::Number => matches!(value, Val::Bool(_) | Val::Int(_) | Val::Number(_)),
            Kind::Integer => match value {
                Val::Int(_) => true,
                Val::Number(value) => value.is_integer(),
                _ => false,
            },
            Kind::True => matches!(value, Val::Bool(true)),
            Kind::False => matches!(value, Val::Bool(false)),
        })
    }

    pub(super) fn compare(&mut self, order: Order, left: Val<'a>, right: Val<'a>) -> Result<bool> {
        if let (Order::Eq | Order::Ne, Some(equal)) = (order, same(left, right)) {
            return Ok(equal == (order == Order::Eq));
        }
        if let (Val::Int(left), Val::Int(right)) = (left, right) {
            return Ok(holds(order, &left, &right));
        }
        if matches!(left, Val::Held(_)) || matches!(right, Val::Held(_)) {
            return Err(Ask);
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        let items = left.len().unwrap_or(0).min(right.len().unwrap_or(0));
        self.account.pay_instructions(1 + items as u64)?;
        Ok(holds(order, &left, &right))
    }

    pub(super) fn contains(&mut self, of: Val<'a>, item: Val<'a>) -> Result<bool> {
        match (of, item) {
            (Val::Undefined, _) => Ok(false),
            (Val::Str(text), Val::Str(part)) => {
                self.account.pay_bytes(text.len())?;
                Ok(text.contains(part))
            }
            (Val::Map(map), Val::Str(name)) => Ok(map.entries()?.get(name).is_some()),
            (Val::Seq(_) | Val::Slice { .. }, item) => {
                let items = match of {
                    Val::Slice { items, .. } => items,
                    Val::Seq(list) => items(list).ok_or(Ask)?,
                    _ => return Err(Ask),
                };
                self.account.pay_instructions(items.len() as u64)?;
                if let Val::Str(text) = item {
                    let is =
                        |own: &Value| own.kind() == ValueKind::String && own.as_str() == Some(text);
                    return Ok(items.iter().any(is));
                }
                let item = self.value(item)?;
                if !items.iter().all(is_plain) {
                    return Err(Ask);
                }
                Ok(items.contains(&item))
            }
            _ => Err(Ask),
        }
    }

    pub(super) fn calculate(&mut self, sum: Sum, left: Val<'a>, right: Val<'a>) -> Result<Val<'a>> {
        let result = match (sum, left, right) {
            (Sum::Add, Val::Str(left), Val::Str(right)) => return self.join(left, right),
            (Sum::Add, Val::Int(left), Val::Int(right)) => left.checked_add(right),
            (Sum::Sub, Val::Int(left), Val::Int(right)) => left.checked_sub(right),
            (Sum::Mul, Val::Int(left), Val::Int(right)) => left.checked_mul(right),
            // As in Python, the sign is that of the divisor.
            (Sum::Rem, Val::Int(left), Val::Int(right)) if right > 0 => {
                left.checked_rem_euclid(right)
            }
            (Sum::FloorDiv, Val::Int(left), Val::Int(right)) if right > 0 => {
                left.checked_div_euclid(right)
            }
            _ => None,
        };
        result.map(Val::Int).ok_or(Ask)
    }
}

fn holds<T: PartialOrd>(order: Order, left: &T, right: &T) -> bool {
    match order {
        Order::Eq => left == right,
        Order::Ne => left != right,
        Order::Lt => left < right,
        Order::Lte => left <= right,
        Order::Gt => left > right,
        Order::Gte => left >= right,
    }
}

/// Whether two values are equal, where that takes no more than a look.
fn same(left: Val<'_>, right: Val<'_>) -> Option<bool> {
    Some(match (left, right) {
        (Val::Str(left), Val::Str(right)) => left == right,
        (Val::Int(left), Val::Int(right)) => left == right,
        (Val::Bool(left), Val::Bool(right)) => left == right,
        (Val::None, Val::None) | (Val::Undefined, Val::Undefined) => true,
        (Val::Str(_), Val::None | Val::Undefined | Val::Bool(_) | Val::Int(_))
        | (Val::None | Val::Undefined | Val::Bool(_) | Val::Int(_), Val::Str(_)) => false,
        _ => return None,
    })
}
