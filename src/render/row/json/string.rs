//! Strings: borrowed as they lie where nothing is escaped.

use super::{Cursor, Type};
use crate::error::Kind;
use crate::render::row::fault::{Fault, Result};
use memchr::memchr2;
use std::borrow::Cow;

impl<'a> Cursor<'a> {
    /// Takes a string; borrowed where it has no escapes.
    pub(in crate::render::row) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.expect(Type::String)?;
        self.quoted()
    }

    /// Takes the string on whose opening quote a [`peek`](Self::peek) has put the cursor.
    #[inline]
    pub(in crate::render::row) fn quoted(&mut self) -> Result<Cow<'a, str>> {
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

    /// Walks over a string; half a surrogate pair goes by unseen.
    pub(super) fn skip_string(&mut self) -> Result<()> {
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

    #[cold]
    fn broken_string(&self) -> Fault {
        match self.rest() {
            [] => self.syntax("a string is not closed"),
            _ => self.syntax("a control character stands in a string"),
        }
    }
}

/// Length of the run of bytes before the first quote, backslash or control character.
pub(in crate::render::row) fn plain_run(bytes: &[u8]) -> usize {
    let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
    let run = bytes.get(..end).unwrap_or_default();
    // Control characters are rare: that there is none is seen many bytes at a time.
    match run.iter().fold(false, |any, byte| any | (*byte < 0x20)) {
        false => end,
        true => {
            let control = run.iter().position(|byte| *byte < 0x20);
            control.unwrap_or(end)
        }
    }
}
