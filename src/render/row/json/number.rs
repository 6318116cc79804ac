//! Numbers: integers to the last digit, floats correctly rounded.

use super::{Cursor, Type};
use crate::error::Kind;
use crate::render::row::fault::{Fault, Result};

/// Most digits of an integer: Python's own limit (`sys.int_info.default_max_str_digits`).
pub(in crate::render::row) const MAX_INT_DIGITS: usize = 4300;

/// A number as written: with a fraction or an exponent it is a float, else an integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::render::row) enum Number<'a> {
    /// An integer of at most 18 digits.
    Int(i64),
    /// The text of an integer of 19 digits or more.
    BigInt(&'a str),
    Float(f64),
}

impl<'a> Cursor<'a> {
    /// Takes a number, Python's `NaN`, `Infinity` and `-Infinity` among them.
    pub(in crate::render::row) fn number(&mut self) -> Result<Number<'a>> {
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
}
