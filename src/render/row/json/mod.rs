//! A cursor over JSON text that hands out one value after another, with the grammar of Python's `json.loads`.
//!
//! No general parser fits: integers must come through exactly at any size while floats stay floats, `NaN` and
//! the infinities are accepted as Python does, keys of no interest must cost next to nothing, and a fault must
//! name its byte. So the text is checked for UTF-8 once and then walked in place: strings without escapes are
//! borrowed, and what a field becomes is decided by the code that asks for it, without a tree in between.
//!
//! Beyond Python: nesting ends where whoever reads says, and a string that is asked for may not hold half a surrogate
//! pair, which Python would carry along until the tokenizer refuses it.

mod number;
mod string;

pub(super) use number::Number;
#[cfg(test)]
pub(super) use {number::MAX_INT_DIGITS, string::plain_run};

use super::fault::{Fault, Result};
use crate::error::Kind;
use std::borrow::Cow;

/// What a value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Type {
    /// The type's name for a sentence: `a string`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Bool => "a boolean",
            Type::Number => "a number",
            Type::String => "a string",
            Type::Array => "a list",
            Type::Object => "an object",
        }
    }

    #[cold]
    fn instead_of(self, wanted: Type) -> Fault {
        Fault::row(format!("is {}, not {}", self.name(), wanted.name()))
    }
}

/// Where we are in a text. Every method that returns a value leaves the cursor behind it.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Deepest nesting of arrays and objects, the record itself included.
    nesting: u32,
}

/// Takes a text's one value, which nests at most `nesting` levels deep, with `take`; nothing may follow it.
pub(super) fn whole<'a, T>(
    text: &'a str,
    nesting: u32,
    take: impl FnOnce(&mut Cursor<'a>) -> Result<T>,
) -> Result<T> {
    let mut cursor = Cursor::new(text, nesting);
    let taken = take(&mut cursor)?;
    cursor.end()?;
    Ok(taken)
}

impl<'a> Cursor<'a> {
    /// At the text's start, behind the byte order mark that some writers put before a file's first record.
    fn new(text: &'a str, nesting: u32) -> Self {
        let mark = '\u{FEFF}';
        Cursor {
            text,
            at: if text.starts_with(mark) {
                mark.len_utf8()
            } else {
                0
            },
            depth: 0,
            nesting,
        }
    }

    /// How deep values may nest here.
    pub(super) fn nesting(&self) -> u32 {
        self.nesting
    }

    /// The type of the value that comes next.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Type> {
        match self.byte() {
            Some(b'"') => Ok(Type::String),
            Some(b'{') => Ok(Type::Object),
            Some(b'[') => Ok(Type::Array),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Type::Number),
            Some(b't' | b'f') => Ok(Type::Bool),
            Some(b'n') => Ok(Type::Null),
            _ => Err(self.syntax("expected a value")),
        }
    }

    /// Goes on if the next value is a `wanted`, and names what it is instead if not.
    #[inline]
    pub(super) fn expect(&mut self, wanted: Type) -> Result<()> {
        let found = self.peek()?;
        if found == wanted {
            return Ok(());
        }
        Err(found.instead_of(wanted))
    }

    /// Takes `null`, and only that.
    pub(super) fn null(&mut self) -> Result<()> {
        self.peek()?;
        self.literal("null")
    }

    /// Takes `true` or `false`.
    pub(super) fn bool(&mut self) -> Result<bool> {
        self.expect(Type::Bool)?;
        let value = self.byte() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Walks an array; `each` takes exactly one value.
    pub(super) fn array(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.expect(Type::Array)?;
        self.enter()?;
        if self.byte() == Some(b']') {
            return self.leave();
        }
        loop {
            each(self)?;
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.leave(),
                _ => return Err(self.syntax("expected `,` or `]`")),
            }
        }
    }

    /// Walks an object; `each` is given a key and takes exactly its value. A key may come twice.
    pub(super) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>,
    ) -> Result<()> {
        self.expect(Type::Object)?;
        self.enter()?;
        if self.byte() == Some(b'}') {
            return self.leave();
        }
        loop {
            if self.byte() != Some(b'"') {
                return Err(self.syntax("expected a key in double quotes"));
            }
            let key = self.quoted()?;
            if self.byte() != Some(b':') {
                return Err(self.syntax("expected `:`"));
            }
            self.at += 1;
            each(self, key)?;
            match self.byte() {
                Some(b',') => self.at += 1,
                Some(b'}') => return self.leave(),
                _ => return Err(self.syntax("expected `,` or `}`")),
            }
        }
    }

    /// Walks over one value without building anything. The grammar is checked all the same: Python would
    /// refuse the record. Only half a surrogate pair goes by unseen, as it does in Python.
    pub(super) fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Type::Null => self.null(),
            Type::Bool => self.bool().map(drop),
            Type::Number => self.number().map(drop),
            Type::String => self.skip_string(),
            Type::Array => self.array(Cursor::skip),
            Type::Object => self.object(|cursor, _| cursor.skip()),
        }
    }

    /// Nothing but white space may be left.
    fn end(&mut self) -> Result<()> {
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.syntax("more after the value")),
        }
    }

    fn literal(&mut self, word: &str) -> Result<()> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.syntax("expected a value"))
    }

    fn enter(&mut self) -> Result<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > self.nesting {
            let clause = format!(
                "nests deeper than {} levels at byte {}",
                self.nesting,
                self.at - 1
            );
            return Err(Fault::new(Kind::Limit, clause).remedy(
                "store what is nested deeper as a JSON string, or set a larger limits.nesting",
            ));
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// The next byte that is not white space, with the cursor on it.
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Both ends lie beside ASCII characters.
    #[inline]
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    #[cold]
    fn syntax(&self, what: &str) -> Fault {
        let place = match self.text.len() {
            0 => "in an empty text".to_owned(),
            len if self.at >= len => format!("at its end, byte {len}"),
            _ => format!("at byte {}", self.at),
        };
        Fault::new(Kind::Corrupt, format!("is not JSON: {what} {place}"))
            .remedy("repair it or leave it out; on_bad_record: skip passes over such records")
    }
}
