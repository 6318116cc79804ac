//! What expressions are worth.
//!
//! Each operation is done here for the values that chat templates use it on, where its result is beyond doubt; for
//! any other the engine is asked to render the row, which may be an error there.

use super::account::{Ask, Result};
use super::code::Expr;
use super::run::Run;
use super::value::Val;
use crate::render::json;
use minijinja::Value;

impl<'a> Run<'a> {
    pub(super) fn eval(&mut self, expr: &'a Expr) -> Result<Val<'a>> {
        Ok(match expr {
            Expr::Undefined => Val::Undefined,
            Expr::None => Val::None,
            Expr::Bool(flag) => Val::Bool(*flag),
            Expr::Int(int) => Val::Int(*int),
            Expr::Str(text) => Val::Str(text),
            Expr::Value(value) => Val::of(value),
            Expr::Slot(slot, name) => match self.slot(*slot) {
                Val::Unset => self.kwarg(name).map_or(Val::Undefined, Val::of),
                value => value,
            },
            Expr::Var(var) => self.variable(var)?,
            Expr::Loop(field) => self.loop_field(*field)?,
            Expr::Attr(of, name) => match self.field(expr) {
                Some(value) => value.map_or(Val::Undefined, Val::of),
                None => {
                    let of = self.eval(of)?;
                    self.attribute(of, name.known, &name.name)?
                }
            },
            Expr::Item(parts) => {
                let (of, key) = (self.eval(&parts.0)?, self.eval(&parts.1)?);
                self.subscript(of, key)?
            }
            Expr::Split(of, separator, index) => {
                let text = self.text(of)?;
                // A list of parts is made.
                self.account.pay_bytes(text.len().saturating_mul(8))?;
                let part = match usize::try_from(*index) {
                    Ok(index) => text.split(&**separator).nth(index),
                    Err(_) if *index == -1 => text.split(&**separator).last(),
                    Err(_) => return Err(Ask),
                };
                part.map_or(Val::Undefined, Val::Str)
            }
            Expr::Slice(parts) => self.slice(parts)?,
            Expr::Not(of) => Val::Bool(!self.test(of)?),
            Expr::And(parts) => {
                let left = self.eval(&parts.0)?;
                match self.is_true(left)? {
                    true => self.eval(&parts.1)?,
                    false => left,
                }
            }
            Expr::Or(parts) => {
                let left = self.eval(&parts.0)?;
                match self.is_true(left)? {
                    true => left,
                    false => self.eval(&parts.1)?,
                }
            }
            Expr::Compare(order, parts) => {
                let (left, right) = (self.eval(&parts.0)?, self.eval(&parts.1)?);
                Val::Bool(self.compare(*order, left, right)?)
            }
            Expr::In(parts) => {
                let (item, of) = (self.eval(&parts.0)?, self.eval(&parts.1)?);
                Val::Bool(self.contains(of, item)?)
            }
            Expr::Contains(of, needle) => match self.eval(of)? {
                Val::Str(text) => {
                    self.account.pay_bytes(text.len())?;
                    Val::Bool(needle.finder.find(text.as_bytes()).is_some())
                }
                of => {
                    let text = std::str::from_utf8(needle.finder.needle()).map_err(|_| Ask)?;
                    Val::Bool(self.contains(of, Val::Str(text))?)
                }
            },
            Expr::Calculate(sum, parts) => {
                if let Some(int) = self.known_int(expr) {
                    return Ok(Val::Int(int));
                }
                let (left, right) = (self.eval(&parts.0)?, self.eval(&parts.1)?);
                self.calculate(*sum, left, right)?
            }
            Expr::Concat(parts) => match (self.eval(&parts.0)?, self.eval(&parts.1)?) {
                (Val::Str(left), Val::Str(right)) => self.join(left, right)?,
                _ => return Err(Ask),
            },
            Expr::If(parts) => {
                let [test, yes, no] = &**parts;
                match self.test(test)? {
                    true => self.eval(yes)?,
                    false => self.eval(no)?,
                }
            }
            Expr::Is(kind, of) => {
                let of = self.eval(of)?;
                Val::Bool(self.is(*kind, of)?)
            }
            Expr::Trim(_) | Expr::Strip(..) => Val::Str(self.text(expr)?),
            Expr::StartsWith(..) | Expr::EndsWith(..) => Val::Bool(self.test(expr)?),
            Expr::Length(of) => {
                let of = self.eval(of)?;
                self.length(of)?
            }
            Expr::ToText(of) => match self.eval(of)? {
                Val::Str(text) => {
                    self.account.pay_bytes(text.len())?;
                    Val::Str(text)
                }
                of => {
                    let text = self.printed_text(of)?;
                    self.account.pay_bytes(text.len())?;
                    Val::Str(self.store.text(text))
                }
            },
            Expr::Safe(of) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                Val::Str(text)
            }
            Expr::Default(of, value, also_false) => {
                let of = self.eval(of)?;
                // Arguments are there before the filter is.
                let value = self.eval(value)?;
                let missing = match of {
                    Val::Undefined => true,
                    of => *also_false && !self.is_true(of)?,
                };
                if let Val::Str(text) = of {
                    self.account.pay_bytes(text.len())?;
                }
                if missing { value } else { of }
            }
            Expr::ToJson(of, style) => {
                let of = self.eval(of)?;
                let value = self.value(of)?;
                let mut text = String::new();
                let nesting = self.given.limits.nesting;
                json::write(&mut text, &self.account, &value, style, nesting).map_err(|_| Ask)?;
                self.account.pay_bytes(text.len())?;
                Val::Str(self.store.text(text))
            }
            Expr::Keep(of) => {
                let of = self.eval(of)?;
                self.keep(of)?
            }
            Expr::Get(parts) => {
                let [of, key, default] = &**parts;
                let (of, key) = (self.eval(of)?, self.eval(key)?);
                let default = self.eval(default)?;
                match (of, key) {
                    (Val::Map(map), Val::Str(name)) => {
                        map.entries()?.get(name).map_or(default, Val::of)
                    }
                    _ => return Err(Ask),
                }
            }
            Expr::Range(args) => self.range(args)?,
            Expr::Namespace(fields) => {
                let mut own = Vec::with_capacity(fields.len() + 1);
                for (name, value) in fields {
                    own.push((&**name, self.eval(value)?));
                }
                let index = u32::try_from(self.namespaces.len()).map_err(|_| Ask)?;
                if self.kwarg("namespace").is_some() {
                    return Err(Ask);
                }
                self.namespaces.push(own);
                Val::Namespace(index)
            }
            Expr::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    let item = self.eval(item)?;
                    values.push(self.value(item)?);
                }
                self.account.pay_bytes(values.len().saturating_mul(16))?;
                Val::of(self.store.value(Value::from(values)))
            }
            Expr::Call(call) => self.call(call)?,
            Expr::Captured => self.captured,
            Expr::Pairs(_) | Expr::Ask => return Err(Ask),
        })
    }

    pub(super) fn join(&mut self, left: &'a str, right: &'a str) -> Result<Val<'a>> {
        self.account.pay_bytes(left.len() + right.len())?;
        Ok(Val::Str(match (left, right) {
            ("", text) | (text, "") => text,
            _ => self.store.text([left, right].concat()),
        }))
    }
}
