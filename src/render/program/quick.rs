//! The usual questions, answered where the answer lies: whether a field is a text, which text it is, whether that is
//! this one. A value for each step would cost more than the step.
//!
//! All of it is what [`Run::eval`] would come to; what is not answered here goes there.

use super::account::{Ask, Result};
use super::code::{Expr, Kind, LoopField, Order, Root, Sum};
use super::run::Run;
use super::value::Val;
use crate::render::methods::{Ends, strip};
use minijinja::Value;
use minijinja::value::ValueKind;

impl<'a> Run<'a> {
    /// Whether an expression is true.
    pub(super) fn test(&mut self, expr: &'a Expr) -> Result<bool> {
        match expr {
            Expr::Not(of) => return Ok(!self.test(of)?),
            Expr::And(parts) => return Ok(self.test(&parts.0)? && self.test(&parts.1)?),
            Expr::Or(parts) => return Ok(self.test(&parts.0)? || self.test(&parts.1)?),
            Expr::Compare(order @ (Order::Eq | Order::Ne), parts) => {
                if let (Some(left), Some(right)) =
                    (self.known_text(&parts.0), self.known_text(&parts.1))
                {
                    return Ok((left == right) == (*order == Order::Eq));
                }
            }
            Expr::Is(kind @ (Kind::Text | Kind::Defined | Kind::Undefined), of) => {
                let found = match self.field(of) {
                    Some(Some(value)) => value.kind(),
                    Some(None) => ValueKind::Undefined,
                    None => ValueKind::Invalid,
                };
                let is_text = found == ValueKind::String;
                if is_text || matches!(found, ValueKind::None | ValueKind::Undefined) {
                    return Ok(match kind {
                        Kind::Text => is_text,
                        Kind::Undefined => found == ValueKind::Undefined,
                        _ => found != ValueKind::Undefined,
                    });
                }
            }
            Expr::StartsWith(of, start) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                return Ok(text.starts_with(&**start));
            }
            Expr::EndsWith(of, end) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                return Ok(text.ends_with(&**end));
            }
            Expr::Contains(of, needle) => {
                if let Some(text) = self.known_text(of) {
                    self.account.pay_bytes(text.len())?;
                    return Ok(needle.finder.find(text.as_bytes()).is_some());
                }
            }
            Expr::Loop(field @ (LoopField::First | LoopField::Last)) => {
                let open = self.loops.last().ok_or(Ask)?;
                return Ok(match field {
                    LoopField::First => open.index == 0,
                    _ => open
                        .len
                        .is_some_and(|len| len == 0 || open.index == len - 1),
                });
            }
            Expr::Attr(..) => match self.field(expr) {
                Some(None) => return Ok(false),
                Some(Some(value)) if value.kind() == ValueKind::String => {
                    return Ok(value.as_str().is_some_and(|text| !text.is_empty()));
                }
                _ => {}
            },
            _ => {}
        }
        let value = self.eval(expr)?;
        self.is_true(value)
    }

    /// An expression that is a text.
    pub(super) fn text(&mut self, expr: &'a Expr) -> Result<&'a str> {
        if let Some(text) = self.known_text(expr) {
            return Ok(text);
        }
        let (ends, of, chars) = match expr {
            Expr::Trim(of) => (Ends::Both, of, None),
            Expr::Strip(ends, of, chars) => (*ends, of, chars.as_deref()),
            _ => {
                return match self.eval(expr)? {
                    Val::Str(text) => Ok(text),
                    _ => Err(Ask),
                };
            }
        };
        let text = self.text(of)?;
        self.account.pay_bytes(text.len())?;
        Ok(strip(text, chars, ends))
    }

    /// A text that is there already.
    pub(super) fn known_text(&self, expr: &'a Expr) -> Option<&'a str> {
        match expr {
            Expr::Str(text) => Some(text),
            Expr::Attr(..) => {
                let value = self.field(expr)??;
                (value.kind() == ValueKind::String)
                    .then(|| value.as_str())
                    .flatten()
            }
            _ => match self.known(expr)? {
                Val::Str(text) => Some(text),
                _ => None,
            },
        }
    }

    /// An integer that takes no more than a few steps.
    pub(super) fn known_int(&self, expr: &'a Expr) -> Option<i64> {
        match expr {
            Expr::Int(int) => Some(*int),
            Expr::Loop(LoopField::Index0) => i64::try_from(self.loops.last()?.index).ok(),
            Expr::Loop(LoopField::Index) => i64::try_from(self.loops.last()?.index + 1).ok(),
            Expr::Length(of) => match &**of {
                Expr::Var(var) if var.slots.is_empty() && matches!(var.root, Root::Messages) => {
                    match var.top {
                        None if !var.closed => {
                            i64::try_from(self.given.conversation.messages.len()).ok()
                        }
                        _ => None,
                    }
                }
                _ => None,
            },
            Expr::Calculate(sum, parts) => {
                let (left, right) = (self.known_int(&parts.0)?, self.known_int(&parts.1)?);
                match sum {
                    Sum::Add => left.checked_add(right),
                    Sum::Sub => left.checked_sub(right),
                    _ => None,
                }
            }
            _ => match self.known(expr)? {
                Val::Int(int) => Some(*int),
                _ => None,
            },
        }
    }

    /// A field of a map that lies in the row: some value, or none where it has no such key. Not known if it is no such
    /// field.
    pub(super) fn field(&self, expr: &'a Expr) -> Option<Option<&'a Value>> {
        let Expr::Attr(of, name) = expr else {
            return None;
        };
        let map = match self.known(of) {
            Some(Val::Map(map)) => map.entries().ok()?,
            Some(_) => return None,
            None => match Val::of(self.field(of)??) {
                Val::Map(map) => map.entries().ok()?,
                _ => return None,
            },
        };
        Some(map.field(name.known, &name.name))
    }

    /// A variable that is set.
    fn known(&self, expr: &'a Expr) -> Option<&Val<'a>> {
        let slot = match expr {
            Expr::Slot(slot, _) => slot,
            Expr::Var(var) => var.slots.first()?,
            _ => return None,
        };
        match self.slots.get(self.base + slot)? {
            Val::Unset => None,
            value => Some(value),
        }
    }
}
