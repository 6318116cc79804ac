//! What expressions are worth.
//!
//! Each operation is done here for the values that chat templates use it on, where its result is beyond doubt; for
//! any other the engine is asked to render the row, which may be an error there.

use super::code::{Expr, Kind, LoopField, Order, Sum};
use super::run::{Ask, Item, Result, Run};
use super::value::{Map, NO_MESSAGE, Val, is_plain};
use crate::render::json;
use crate::render::methods::{Ends, strip};
use crate::render::page::Tracking;
use crate::render::print::write_repr;
use minijinja::value::{Value, ValueKind};
use std::fmt::Write;

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
            Expr::Attr(of, name) => {
                let of = self.eval(of)?;
                self.attribute(of, name)?
            }
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
            Expr::Not(of) => {
                let of = self.eval(of)?;
                Val::Bool(!self.is_true(of)?)
            }
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
                let (left, right) = (self.eval(&parts.0)?, self.eval(&parts.1)?);
                self.calculate(*sum, left, right)?
            }
            Expr::Concat(parts) => match (self.eval(&parts.0)?, self.eval(&parts.1)?) {
                (Val::Str(left), Val::Str(right)) => self.join(left, right)?,
                _ => return Err(Ask),
            },
            Expr::If(parts) => {
                let [test, yes, no] = &**parts;
                let test = self.eval(test)?;
                match self.is_true(test)? {
                    true => self.eval(yes)?,
                    false => self.eval(no)?,
                }
            }
            Expr::Is(kind, of) => {
                let of = self.eval(of)?;
                Val::Bool(self.is(*kind, of)?)
            }
            Expr::Trim(of) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                Val::Str(strip(text, None, Ends::Both))
            }
            Expr::Strip(ends, of, chars) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                Val::Str(strip(text, chars.as_deref(), *ends))
            }
            Expr::StartsWith(of, start) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                Val::Bool(text.starts_with(&**start))
            }
            Expr::EndsWith(of, end) => {
                let text = self.text(of)?;
                self.account.pay_bytes(text.len())?;
                Val::Bool(text.ends_with(&**end))
            }
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
                        map.entries.get(name).map_or(default, Val::of)
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

    /// An expression that is a text.
    fn text(&mut self, expr: &'a Expr) -> Result<&'a str> {
        match self.eval(expr)? {
            Val::Str(text) => Ok(text),
            _ => Err(Ask),
        }
    }

    fn loop_field(&mut self, field: LoopField) -> Result<Val<'a>> {
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

    fn attribute(&self, of: Val<'a>, name: &str) -> Result<Val<'a>> {
        Ok(match of {
            Val::Map(map) => map.entries.get(name).map_or(Val::Undefined, Val::of),
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
            | Val::Seq(..)
            | Val::Messages { .. }
            | Val::Slice { .. }
            | Val::Range { .. } => Val::Undefined,
            _ => return Err(Ask),
        })
    }

    fn subscript(&mut self, of: Val<'a>, key: Val<'a>) -> Result<Val<'a>> {
        let index = match (of, key) {
            (Val::Map(_) | Val::Namespace(_), Val::Str(name)) => return self.attribute(of, name),
            (_, Val::Int(index)) => index,
            _ => return Err(Ask),
        };
        let len = match of {
            Val::Seq(_, items) => items.len(),
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

    fn slice(&mut self, parts: &'a [Expr; 4]) -> Result<Val<'a>> {
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
            Val::Seq(_, items)
            | Val::Slice {
                items,
                reversed: false,
            } => {
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

    pub(super) fn is_true(&self, value: Val<'a>) -> Result<bool> {
        Ok(match value {
            Val::Undefined | Val::None => false,
            Val::Bool(flag) => flag,
            Val::Int(int) => int != 0,
            Val::Str(text) => !text.is_empty(),
            Val::Map(map) => map.entries.len() > 0,
            Val::Seq(_, items) | Val::Slice { items, .. } => !items.is_empty(),
            Val::Messages { from, to, .. } => to > from,
            Val::Range { len, .. } => len > 0,
            Val::Number(value) | Val::Held(value) => value.is_true(),
            Val::Macro(_) | Val::Function(_) => true,
            Val::Unset | Val::Foreign(_) | Val::Namespace(_) => return Err(Ask),
        })
    }

    fn is(&self, kind: Kind, value: Val<'a>) -> Result<bool> {
        let lazy = is_lazy(value);
        let list = matches!(value, Val::Seq(..) | Val::Messages { lazy: false, .. });
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

    fn compare(&mut self, order: Order, left: Val<'a>, right: Val<'a>) -> Result<bool> {
        if let (Order::Eq | Order::Ne, Some(equal)) = (order, same(left, right)) {
            return Ok(equal == (order == Order::Eq));
        }
        if let (Val::Int(left), Val::Int(right)) = (left, right) {
            return Ok(match order {
                Order::Eq => left == right,
                Order::Ne => left != right,
                Order::Lt => left < right,
                Order::Lte => left <= right,
                Order::Gt => left > right,
                Order::Gte => left >= right,
            });
        }
        if matches!(left, Val::Held(_)) || matches!(right, Val::Held(_)) {
            return Err(Ask);
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        let items = left.len().unwrap_or(0).min(right.len().unwrap_or(0));
        self.account.pay_instructions(1 + items as u64)?;
        Ok(match order {
            Order::Eq => left == right,
            Order::Ne => left != right,
            Order::Lt => left < right,
            Order::Lte => left <= right,
            Order::Gt => left > right,
            Order::Gte => left >= right,
        })
    }

    fn contains(&mut self, of: Val<'a>, item: Val<'a>) -> Result<bool> {
        match (of, item) {
            (Val::Undefined, _) => Ok(false),
            (Val::Str(text), Val::Str(part)) => {
                self.account.pay_bytes(text.len())?;
                Ok(text.contains(part))
            }
            (Val::Map(map), Val::Str(name)) => Ok(map.entries.get(name).is_some()),
            (Val::Seq(_, items) | Val::Slice { items, .. }, item) => {
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

    fn calculate(&mut self, sum: Sum, left: Val<'a>, right: Val<'a>) -> Result<Val<'a>> {
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

    fn join(&mut self, left: &'a str, right: &'a str) -> Result<Val<'a>> {
        self.account.pay_bytes(left.len() + right.len())?;
        Ok(Val::Str(match (left, right) {
            ("", text) | (text, "") => text,
            _ => self.store.text([left, right].concat()),
        }))
    }

    fn length(&mut self, of: Val<'a>) -> Result<Val<'a>> {
        let len = match of {
            Val::Undefined => 0,
            Val::Str(text) => {
                self.account.pay_bytes(text.len())?;
                text.chars().count()
            }
            Val::Map(map) => map.entries.len(),
            Val::Seq(_, items) | Val::Slice { items, .. } => items.len(),
            Val::Messages { from, to, .. } => to.saturating_sub(from) as usize,
            Val::Range { len, .. } => len as usize,
            Val::Held(value) => value.len().ok_or(Ask)?,
            _ => return Err(Ask),
        };
        i64::try_from(len).map(Val::Int).map_err(|_| Ask)
    }

    /// Most that the engine makes a range of.
    fn range(&mut self, args: &'a [Expr]) -> Result<Val<'a>> {
        const MOST: i64 = 100_000;
        if self.kwarg("range").is_some() {
            return Err(Ask);
        }
        let mut ints = [None; 3];
        for (place, arg) in ints.iter_mut().zip(args) {
            match self.eval(arg)? {
                Val::Int(int) if (-MOST..=MOST).contains(&int) => *place = Some(int),
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

    /// What a namespace keeps of a value.
    fn keep(&mut self, value: Val<'a>) -> Result<Val<'a>> {
        match value {
            Val::Str(text) => {
                self.account.pay_bytes(text.len())?;
                Ok(value)
            }
            Val::Undefined | Val::None | Val::Bool(_) | Val::Int(_) | Val::Number(_) => Ok(value),
            // Shallow ones are kept as they are.
            Val::Map(Map { value: of, .. }) | Val::Seq(of, _) if is_shallow(of) => {
                self.account
                    .pay_instructions((SHALLOW + 1) * (SHALLOW + 1))?;
                Ok(value)
            }
            _ => Err(Ask),
        }
    }

    /// Prints what an expression is worth.
    pub(super) fn print(&mut self, expr: &'a Expr) -> Result<()> {
        match expr {
            Expr::ToJson(of, style) => {
                let of = self.eval(of)?;
                let value = self.value(of)?;
                let nesting = self.given.limits.nesting;
                self.write_with(|page, account| {
                    json::write(page, account, &value, style, nesting).map_err(|_| Ask)
                })
            }
            Expr::If(parts) => {
                let [test, yes, no] = &**parts;
                let test = self.eval(test)?;
                let branch = if self.is_true(test)? { yes } else { no };
                self.print(branch)
            }
            Expr::Call(call) => match self.macro_of(call)? {
                Some(index) => self.whole(|run| run.run_macro(index, call)),
                None => {
                    let value = self.call(call)?;
                    self.print_value(value)
                }
            },
            _ => {
                let value = self.eval(expr)?;
                self.print_value(value)
            }
        }
    }

    /// Prints texts that are added up.
    pub(super) fn print_all(&mut self, terms: &'a [Expr]) -> Result<()> {
        // A `+` makes a text of all before it.
        let extra = terms.len().saturating_sub(2);
        let mut bytes = 0;
        self.whole(|run| {
            for term in terms {
                if let Expr::ToJson(..) = term {
                    run.print(term)?;
                    continue;
                }
                let text = run.text(term)?;
                bytes += text.len();
                run.write(text)?;
            }
            Ok(())
        })?;
        self.account.pay(bytes as u64 * extra as u64)
    }

    pub(super) fn print_value(&mut self, value: Val<'a>) -> Result<()> {
        match value {
            Val::Str(text) => self.write(text),
            Val::Undefined => Ok(()),
            // The engine prints other values in pieces of its own.
            _ if self.given.tracking == Tracking::Turns => Err(Ask),
            _ => {
                let text = self.printed_text(value)?;
                // Lists and maps cost sixteen times their text.
                self.account.pay_bytes(text.len().saturating_mul(4))?;
                self.write(&text)
            }
        }
    }

    /// What is printed of a value that is no text.
    fn printed_text(&mut self, value: Val<'a>) -> Result<String> {
        let mut text = String::new();
        match value {
            Val::Int(int) => write!(text, "{int}").map_err(|_| Ask)?,
            Val::Undefined => {}
            _ => {
                let value = self.value(value)?;
                let nesting = self.given.limits.nesting;
                write_repr(&mut text, &self.account, &value, nesting).map_err(|_| Ask)?;
            }
        }
        Ok(text)
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
            Val::Seq(value, _) if is_plain(value) => value.clone(),
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

/// Whether the engine has an iterator where we have a list.
fn is_lazy(value: Val<'_>) -> bool {
    matches!(
        value,
        Val::Slice { .. } | Val::Range { .. } | Val::Messages { lazy: true, .. }
    )
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
