//! Python's `str()` and `repr()` of template values: what `{{ x }}`, `|string`, `~` and `|join` print.

use super::limits::{BYTES_PER_FUEL, Fuel};
use super::number::{as_float, write_float};
use super::refusal::invalid;
use minijinja::Error;
use minijinja::value::{Value, ValueKind};
use std::fmt::{self, Write};

/// Prints a value as `str()` does: strings as they are, the rest as [`write_repr`].
pub(super) fn write_str(
    out: &mut impl Write,
    fuel: &impl Fuel,
    value: &Value,
    nesting: usize,
) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => Ok(out.write_str(text)?),
        None if value.is_undefined() => Ok(()),
        None => write_repr(out, fuel, value, nesting),
    }
}

/// Prints a value as `repr()` does. `nesting` is how much deeper containers may go.
///
/// Items and strings are charged as fuel before they are printed, since a lazy list (`[x] * 1000000`)
/// is as long as it likes.
pub(super) fn write_repr(
    out: &mut impl Write,
    fuel: &impl Fuel,
    value: &Value,
    nesting: usize,
) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => out.write_str("Undefined")?,
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            fuel.consume(text.len() as u64 / BYTES_PER_FUEL)?;
            write_quoted(out, text)?;
        }
        ValueKind::Number => match as_float(value) {
            Some(x) => write_float(out, x)?,
            None => write!(out, "{value}")?,
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let nesting = deeper(nesting)?;
            let tuple = value.is_tuple();
            out.write_char(if tuple { '(' } else { '[' })?;
            let mut count = 0_usize;
            for item in value.try_iter()?.checked() {
                fuel.consume(1)?;
                if count > 0 {
                    out.write_str(", ")?;
                }
                write_repr(out, fuel, &item?, nesting)?;
                count += 1;
            }
            out.write_str(match (tuple, count) {
                (true, 1) => ",)",
                (true, _) => ")",
                (false, _) => "]",
            })?;
        }
        ValueKind::Map => {
            let nesting = deeper(nesting)?;
            out.write_char('{')?;
            let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
            for (index, (key, item)) in pairs.into_iter().flatten().enumerate() {
                fuel.consume(1)?;
                if index > 0 {
                    out.write_str(", ")?;
                }
                write_repr(out, fuel, &key, nesting)?;
                out.write_str(": ")?;
                write_repr(out, fuel, &item, nesting)?;
            }
            out.write_char('}')?;
        }
        _ => write!(out, "{value}")?,
    }
    Ok(())
}

/// One level down, or a refusal: printing is recursive, and the stack is not endless.
pub(super) fn deeper(nesting: usize) -> Result<usize, Error> {
    nesting
        .checked_sub(1)
        .ok_or_else(|| invalid("a value is nested too deeply to be printed"))
}

/// `repr(str)`: single quotes unless only those occur inside, escapes for what cannot be seen.
fn write_quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == quote => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            ' '..='~' => out.write_char(c)?,
            c if c.is_ascii() || !is_printable(c) => match u32::from(c) {
                code @ 0..=0xff => write!(out, "\\x{code:02x}")?,
                code @ 0x100..=0xffff => write!(out, "\\u{code:04x}")?,
                code => write!(out, "\\U{code:08x}")?,
            },
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)
}

/// `str.isprintable()` for one character that is not ASCII.
///
/// The standard library escapes the same general categories in `escape_debug`; behind another character
/// it also leaves combining marks alone.
fn is_printable(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let len = c.encode_utf8(&mut buffer[1..]).len();
    match std::str::from_utf8(&buffer[..=len]) {
        Ok(text) => !text.escape_debug().any(|c| c == '\\'),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        write_quoted(&mut out, text).unwrap();
        out
    }

    #[test]
    fn strings_are_quoted_as_python_does() {
        for (text, expected) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("it's \"so\"", "'it\\'s \"so\"'"),
            ("\"", "'\"'"),
            ("a\\b\n\t\r", "'a\\\\b\\n\\t\\r'"),
            ("\0\x1b\x7f", "'\\x00\\x1b\\x7f'"),
            ("é 日本 😀", "'é 日本 😀'"),
            ("\u{a0}\u{ad}\u{2028}", "'\\xa0\\xad\\u2028'"),
            ("\u{200b}\u{e000}\u{f0000}", "'\\u200b\\ue000\\U000f0000'"),
            ("e\u{301}", "'e\u{301}'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
