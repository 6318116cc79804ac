//! A cursor over JSON text that hands out one value after another, with the grammar of Python's `json.loads`.
//!
//! No general parser fits: integers must come through exactly at any size while floats stay floats, `NaN` and
//! the infinities are accepted as Python does, keys of no interest must cost next to nothing, and a fault must
//! name its byte. So the text is checked for UTF-8 once and then walked in place: strings without escapes are
//! borrowed, and what a field becomes is decided by the code that asks for it, without a tree in between.
//!
//! Beyond Python: nesting ends at [`MAX_DEPTH`], and a string that is asked for may not hold half a surrogate
//! pair, which Python would carry along until the tokenizer refuses it.

use super::fault::{Fault, Result};
use crate::error::Kind;
use std::borrow::Cow;

/// Deepest nesting of arrays and objects, the record itself included.
pub(super) const MAX_DEPTH: u32 = 128;

/// Most digits of an integer: Python's own limit (`sys.int_info.default_max_str_digits`).
pub(super) const MAX_INT_DIGITS: usize = 4300;

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

/// A number as written: with a fraction or an exponent it is a float, else an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number<'a> {
    /// An integer of at most 18 digits.
    Int(i64),
    /// The text of an integer of 19 digits or more.
    BigInt(&'a str),
    Float(f64),
}

/// Where we are in a text. Every method that returns a value leaves the cursor behind it.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// Takes a text's one value with `take`; nothing may follow it.
pub(super) fn whole<'a, T>(
    text: &'a str,
    take: impl FnOnce(&mut Cursor<'a>) -> Result<T>,
) -> Result<T> {
    let mut cursor = Cursor::new(text);
    let taken = take(&mut cursor)?;
    cursor.end()?;
    Ok(taken)
}

impl<'a> Cursor<'a> {
    /// At the text's start, behind the byte order mark that some writers put before a file's first record.
    fn new(text: &'a str) -> Self {
        let mark = '\u{FEFF}';
        Cursor {
            text,
            at: if text.starts_with(mark) {
                mark.len_utf8()
            } else {
                0
            },
            depth: 0,
        }
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

    /// Takes a number, Python's `NaN`, `Infinity` and `-Infinity` among them.
    pub(super) fn number(&mut self) -> Result<Number<'a>> {
        self.expect(Type::Number)?;
        let start = self.at;
        match self.rest() {
            [b'N', ..] => return self.literal("NaN").map(|()| Number::Float(f64::NAN)),
            [b'I', ..] => {
                return self
                    .literal("Infinity")
                    .map(|()| Number::Float(f64::INFINITY));
            }
            [b'-', b'I', ..] => {
                return self
                    .literal("-Infinity")
                    .map(|()| Number::Float(f64::NEG_INFINITY));
            }
            _ => {}
        }
        let negative = self.eat(b'-');
        let first_digit = self.at;
        let magnitude = self.digits()?;
        let num_digits = self.at - first_digit;
        if num_digits > 1 && self.text.as_bytes().get(first_digit) == Some(&b'0') {
            self.at = first_digit;
            return Err(self.syntax("a number starts with a needless zero"));
        }
        let mut float = false;
        if self.eat(b'.') {
            self.digits()?;
            float = true;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
            float = true;
        }
        let text = self.slice(start, self.at);
        if float {
            let value = text.parse().map_err(|_| self.syntax("no number"))?;
            return Ok(Number::Float(value));
        }
        if num_digits > MAX_INT_DIGITS {
            let clause = format!(
                "has an integer of {num_digits} digits at byte {start}, more than {MAX_INT_DIGITS}"
            );
            return Err(Fault::new(Kind::Limit, clause)
                .remedy("write it as a string; Python's json refuses it too"));
        }
        if num_digits > 18 {
            return Ok(Number::BigInt(text));
        }
        // Eighteen digits fit, so the sum below did not wrap.
        let value = i64::try_from(magnitude).map_err(|_| self.syntax("no number"))?;
        Ok(Number::Int(if negative { -value } else { value }))
    }

    /// Takes a string; borrowed where it has no escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.expect(Type::String)?;
        self.quoted()
    }

    /// Takes the string on whose opening quote a [`peek`](Self::peek) has put the cursor.
    #[inline]
    pub(super) fn quoted(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        self.at += plain_run(self.rest());
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(self.slice(start, self.at - 1)));
        }
        self.unescape(start).map(Cow::Owned)
    }

    /// Takes the rest of a string that began at `start` and in which something other than its end was met.
    fn unescape(&mut self, start: usize) -> Result<String> {
        let mut decoded = String::with_capacity(2 * (self.at - start));
        decoded.push_str(self.slice(start, self.at));
        loop {
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(decoded);
                }
                [b'\\', ..] => decoded.push(self.escape()?),
                _ => return Err(self.broken_string()),
            }
            let start = self.at;
            self.at += plain_run(self.rest());
            decoded.push_str(self.slice(start, self.at));
        }
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

    fn skip_string(&mut self) -> Result<()> {
        self.at += 1;
        loop {
            self.at += plain_run(self.rest());
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', b'u', ..] => {
                    self.at += 2;
                    self.hex()?;
                }
                [
                    b'\\',
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                    ..,
                ] => self.at += 2,
                [b'\\', ..] => return Err(self.syntax("no such escape")),
                _ => return Err(self.broken_string()),
            }
        }
    }

    /// Takes an escape, from its backslash on.
    fn escape(&mut self) -> Result<char> {
        let start = self.at;
        let code = self.rest().get(1).copied();
        self.at += 2;
        Ok(match code {
            Some(same @ (b'"' | b'\\' | b'/')) => char::from(same),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => self.code_point(start)?,
            _ => {
                self.at = start;
                return Err(self.syntax("no such escape"));
            }
        })
    }

    /// Takes what follows `\u`, the second half of a surrogate pair included. `start`: where the escape began.
    fn code_point(&mut self, start: usize) -> Result<char> {
        let unit = self.hex()?;
        let decoded = match (unit, self.rest()) {
            (0xD800..=0xDBFF, [b'\\', b'u', ..]) => {
                self.at += 2;
                let pair = [unit, self.hex()?];
                char::decode_utf16(pair).next().and_then(|half| half.ok())
            }
            _ => char::from_u32(u32::from(unit)),
        };
        decoded.ok_or_else(|| {
            let clause = format!("has half a surrogate pair at byte {start}");
            Fault::new(Kind::Corrupt, clause).remedy(
                "such text has no UTF-8 form and no tokens; repair the record or leave it out",
            )
        })
    }

    /// Takes the four digits behind `\u`.
    fn hex(&mut self) -> Result<u16> {
        let digits = self.rest().get(..4).unwrap_or_default();
        let unit = digits.iter().try_fold(0_u16, |unit, &digit| {
            let value = char::from(digit).to_digit(16)?;
            Some(unit << 4 | value as u16)
        });
        match unit {
            Some(unit) if digits.len() == 4 => {
                self.at += 4;
                Ok(unit)
            }
            _ => Err(self.syntax("expected four hexadecimal digits")),
        }
    }

    /// Takes one digit or more; their value wraps beyond nineteen.
    fn digits(&mut self) -> Result<u64> {
        let start = self.at;
        let mut value = 0_u64;
        while let Some(digit @ b'0'..=b'9') = self.rest().first() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return Err(self.syntax("expected a digit"));
        }
        Ok(value)
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
        if self.depth > MAX_DEPTH {
            let clause = format!(
                "nests deeper than {MAX_DEPTH} levels at byte {}",
                self.at - 1
            );
            return Err(Fault::new(Kind::Limit, clause)
                .remedy("store what is nested deeper as a JSON string"));
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
    fn broken_string(&self) -> Fault {
        match self.rest() {
            [] => self.syntax("a string is not closed"),
            _ => self.syntax("a control character stands in a string"),
        }
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

/// Length of the run of bytes before the first quote, backslash or control character.
///
/// Eight bytes at a time (the "has less" test of Anderson's Bit Twiddling Hacks). A borrow makes false hits
/// above a true one only, so the lowest hit is always true.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        let hits = ((quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGHS;
        if hits != 0 {
            return 8 * index + (hits.trailing_zeros() / 8) as usize;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
    8 * words.len() + tail.iter().position(ends).unwrap_or(tail.len())
}
