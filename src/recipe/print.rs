//! A recipe as YAML, resolved: every key with its value, in the table's order. Reads back to the same recipe.

use super::Recipe;
use super::keys::RECIPE;
use super::scalar::resolve;
use super::shape::{Key, Section, Shape};
use super::size;
use super::tree::Tree;
use serde_json::Value;
use std::fmt::{self, Write};

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        section(f, &value, &RECIPE, 0, "")
    }
}

/// Some of a recipe's keys as YAML: a line each, and one for each key of a source.
pub(super) fn to_yaml(recipe: &Value) -> String {
    let mut out = String::new();
    // Texts have no way to fail.
    let _ = some(&mut out, recipe);
    out
}

fn some(f: &mut impl Write, recipe: &Value) -> fmt::Result {
    for (key, value) in recipe.as_object().into_iter().flatten() {
        text(f, key)?;
        let Value::Array(items) = value else {
            f.write_str(": ")?;
            flow(f, value)?;
            writeln!(f)?;
            continue;
        };
        writeln!(f, ":")?;
        for item in items {
            let mut lead = "  - ";
            for (key, value) in item.as_object().into_iter().flatten() {
                write!(f, "{lead}")?;
                text(f, key)?;
                f.write_str(": ")?;
                flow(f, value)?;
                writeln!(f)?;
                lead = "    ";
            }
        }
    }
    Ok(())
}

/// A block mapping, indented by `indent` spaces; the first line begins with `lead` instead.
fn section(
    f: &mut impl Write,
    value: &Value,
    section: &Section,
    indent: usize,
    lead: &str,
) -> fmt::Result {
    let mut lead = lead;
    for key in section.keys {
        let pad = indent.saturating_sub(lead.chars().count());
        write!(f, "{lead}{:pad$}", "")?;
        entry(f, value.get(key.name).unwrap_or(&Value::Null), key, indent)?;
        lead = "";
    }
    Ok(())
}

fn entry(f: &mut impl Write, value: &Value, key: &Key, indent: usize) -> fmt::Result {
    match (key.shape.inner(), value) {
        (Shape::Section(below) | Shape::Located(below), Value::Object(_)) => {
            writeln!(f, "{}:", key.name)?;
            section(f, value, below, indent + 2, "")
        }
        (
            Shape::List {
                of: Shape::Section(below),
                ..
            },
            Value::Array(items),
        ) if !items.is_empty() => {
            writeln!(f, "{}:", key.name)?;
            let lead = format!("{:indent$}  - ", "");
            items
                .iter()
                .try_for_each(|item| section(f, item, below, indent + 4, &lead))
        }
        (shape, _) => {
            write!(f, "{}: ", key.name)?;
            match (shape, value.as_u64()) {
                (Shape::Size { .. }, Some(bytes)) => f.write_str(&size::format(bytes))?,
                _ => flow(f, value)?,
            }
            writeln!(f)
        }
    }
}

/// A value on one line.
fn flow(f: &mut impl Write, value: &Value) -> fmt::Result {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => write!(f, "{value}"),
        Value::String(string) => text(f, string),
        Value::Array(items) => {
            f.write_str("[")?;
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                flow(f, item)?;
            }
            f.write_str("]")
        }
        Value::Object(map) => {
            f.write_str("{")?;
            for (index, (key, value)) in map.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                text(f, key)?;
                f.write_str(": ")?;
                flow(f, value)?;
            }
            f.write_str("}")
        }
    }
}

/// A word as it is; anything else in double quotes, with escapes for what is not printable.
fn text(f: &mut impl Write, text: &str) -> fmt::Result {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(word)
        && matches!(resolve(text), Tree::Text(_));
    if plain {
        return f.write_str(text);
    }
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            // Line breaks of older YAML, the mark of byte order, and what is no character.
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                write!(f, "\\u{:04x}", c as u32)?
            }
            c if c.is_control() => write!(f, "\\x{:02x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
