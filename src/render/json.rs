//! The `tojson` filter of Transformers: Python's `json.dumps`, without HTML escaping.

use super::limits::{BYTES_PER_FUEL, Fuel};
use super::number::{BigInt, as_float, write_float};
use super::print::deeper;
use super::refusal::invalid;
use super::row::Listed;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, State};
use std::fmt::Write;

/// `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    args: Rest<ValueOrKwargs>,
    nesting: usize,
) -> Result<Value, Error> {
    let style = Style::from_args(&args.into_values())?;
    let mut out = String::new();
    write(&mut out, state, value, &style, nesting)?;
    Ok(Value::from(out))
}

/// Writes a value as `json.dumps` does, at most `nesting` levels deep.
pub(super) fn write<F: Fuel>(
    out: &mut String,
    fuel: &F,
    value: &Value,
    style: &Style,
    nesting: usize,
) -> Result<(), Error> {
    Writer { out, fuel, style }.value(value, 0, nesting)
}

/// How `json.dumps` was asked to write.
#[derive(Debug)]
pub(super) struct Style {
    ensure_ascii: bool,
    /// What a level is indented by; none: on one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
}

impl Style {
    /// Of the filter's arguments, keywords last.
    pub(super) fn from_args(args: &[Value]) -> Result<Style, Error> {
        type Args = (
            Option<Value>,
            Option<Value>,
            Option<Value>,
            Option<Value>,
            Kwargs,
        );
        let (ensure_ascii, indent, separators, sort_keys, kwargs): Args = from_args(args)?;
        let pick = |positional: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
            match positional {
                Some(value) => Ok(Some(value)),
                None => kwargs.get::<Option<Value>>(name),
            }
        };
        let ensure_ascii = pick(ensure_ascii, "ensure_ascii")?.is_some_and(|v| v.is_true());
        let indent = pick(indent, "indent")?;
        let separators = pick(separators, "separators")?;
        let sort_keys = pick(sort_keys, "sort_keys")?.is_some_and(|v| v.is_true());
        kwargs.assert_all_used()?;

        let indent = match indent {
            None => None,
            Some(value) if value.is_none() => None,
            Some(value) => Some(match value.as_str() {
                Some(text) => text.to_owned(),
                None => {
                    let width = i64::try_from(value)
                        .map_err(|_| invalid("tojson: indent is neither a number nor a string"))?;
                    // Beyond this nothing readable comes out; the bound keeps the allocation small.
                    " ".repeat(usize::try_from(width.clamp(0, 256)).unwrap_or(0))
                }
            }),
        };
        let (between_items, after_key) = match separators {
            Some(pair) if !pair.is_none() => {
                let parts: Vec<Value> = pair.try_iter()?.checked().collect::<Result<_, _>>()?;
                match parts.as_slice() {
                    [item, key] => match (item.as_str(), key.as_str()) {
                        (Some(item), Some(key)) => (item.to_owned(), key.to_owned()),
                        _ => return Err(invalid("tojson: separators are not strings")),
                    },
                    _ => return Err(invalid("tojson: separators are not a pair")),
                }
            }
            _ if indent.is_some() => (",".to_owned(), ": ".to_owned()),
            _ => (", ".to_owned(), ": ".to_owned()),
        };
        Ok(Style {
            ensure_ascii,
            indent,
            between_items,
            after_key,
            sort_keys,
        })
    }
}

struct Writer<'a, F> {
    out: &'a mut String,
    fuel: &'a F,
    style: &'a Style,
}

impl<F: Fuel> Writer<'_, F> {
    fn value(&mut self, value: &Value, level: usize, nesting: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self
                .out
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value)?,
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => {
                let nesting = deeper(nesting)?;
                self.out.push('[');
                let mut empty = true;
                if let Some(items) = value.downcast_object_ref::<Vec<Value>>() {
                    for item in items {
                        self.before_item(&mut empty, level)?;
                        self.value(item, level + 1, nesting)?;
                    }
                    self.after_items(empty, level);
                    self.out.push(']');
                    return Ok(());
                }
                for item in value.try_iter()?.checked() {
                    self.before_item(&mut empty, level)?;
                    self.value(&item?, level + 1, nesting)?;
                }
                self.after_items(empty, level);
                self.out.push(']');
            }
            ValueKind::Map => {
                let nesting = deeper(nesting)?;
                // What the row reader makes is read where it lies.
                let listed = value.downcast_object_ref::<Listed>();
                if let Some(listed) = listed.filter(|_| !self.style.sort_keys) {
                    let pairs = listed.entries().iter();
                    return self.pairs(pairs.map(|(key, item)| (key, item)), level, nesting);
                }
                let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
                let mut pairs: Vec<(Value, Value)> = match pairs {
                    Some(pairs) => pairs.collect(),
                    None => return Err(not_serializable(value)),
                };
                if self.style.sort_keys {
                    if pairs.iter().any(|(key, _)| key.as_str().is_none()) {
                        return Err(invalid("tojson: only string keys can be sorted"));
                    }
                    pairs.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
                }
                self.pairs(pairs.iter().map(|(key, item)| (key, item)), level, nesting)?;
            }
            _ => match value.downcast_object_ref::<BigInt>() {
                Some(big) => self.out.push_str(&big.0),
                None => return Err(not_serializable(value)),
            },
        }
        Ok(())
    }

    fn pairs<'v>(
        &mut self,
        pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
        level: usize,
        nesting: usize,
    ) -> Result<(), Error> {
        self.out.push('{');
        let mut empty = true;
        for (key, item) in pairs {
            self.before_item(&mut empty, level)?;
            self.key(key)?;
            self.out.push_str(&self.style.after_key);
            self.value(item, level + 1, nesting)?;
        }
        self.after_items(empty, level);
        self.out.push('}');
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        match as_float(value) {
            Some(x) if x.is_nan() => self.out.push_str("NaN"),
            Some(x) if x.is_infinite() => {
                self.out
                    .push_str(if x < 0.0 { "-Infinity" } else { "Infinity" })
            }
            Some(x) => write_float(self.out, x)?,
            None => write!(self.out, "{value}")?,
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.string(key.as_str().unwrap_or_default())?,
            ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                self.out.push('"');
                self.value(key, 0, 1)?;
                self.out.push('"');
            }
            _ => return Err(invalid("tojson: a key is neither a string nor a number")),
        }
        Ok(())
    }

    fn before_item(&mut self, empty: &mut bool, level: usize) -> Result<(), Error> {
        // A lazy list (`[x] * 1000000`) is as long as it likes, so items are paid for before they are
        // written.
        let style = &self.style;
        let indent = style
            .indent
            .as_ref()
            .map_or(0, |indent| indent.len().saturating_mul(level + 1));
        let bytes = indent
            .saturating_add(style.between_items.len())
            .saturating_add(style.after_key.len());
        self.fuel.consume(1 + bytes as u64 / BYTES_PER_FUEL)?;
        if !*empty {
            self.out.push_str(&self.style.between_items);
        }
        *empty = false;
        self.new_line(level + 1);
        Ok(())
    }

    fn after_items(&mut self, empty: bool, level: usize) {
        if !empty {
            self.new_line(level);
        }
    }

    fn new_line(&mut self, level: usize) {
        if let Some(indent) = &self.style.indent {
            self.out.push('\n');
            for _ in 0..level {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.fuel.consume(text.len() as u64 / BYTES_PER_FUEL)?;
        self.out.push('"');
        let mut rest = text;
        let ascii = self.style.ensure_ascii;
        // All of these are the first bytes of characters.
        let special =
            |b: u8| -> bool { b < 0x20 || b == b'"' || b == b'\\' || (ascii && !b.is_ascii()) };
        while let Some(at) = rest.bytes().position(special) {
            let (plain, tail) = rest.split_at(at);
            self.out.push_str(plain);
            let mut chars = tail.chars();
            match chars.next() {
                Some('"') => self.out.push_str("\\\""),
                Some('\\') => self.out.push_str("\\\\"),
                Some('\n') => self.out.push_str("\\n"),
                Some('\r') => self.out.push_str("\\r"),
                Some('\t') => self.out.push_str("\\t"),
                Some('\x08') => self.out.push_str("\\b"),
                Some('\x0c') => self.out.push_str("\\f"),
                Some(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
                None => {}
            }
            rest = chars.as_str();
        }
        self.out.push_str(rest);
        self.out.push('"');
        Ok(())
    }
}

fn not_serializable(value: &Value) -> Error {
    invalid(format!("tojson: {} is not JSON serializable", value.kind()))
}
