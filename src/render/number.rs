//! Numbers as Python prints them.

use minijinja::value::{DynObject, Object, ObjectRepr, Value};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// An integer beyond `i128`, as its decimal digits. Templates can print, compare for equality and
/// serialize it; they cannot calculate with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigInt(pub String);

impl Object for BigInt {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<BigInt>()?;
        let key = |digits: &str| -> (bool, usize) { (!digits.starts_with('-'), digits.len()) };
        let (a, b) = (key(&self.0), key(&other.0));
        let magnitude = a.1.cmp(&b.1).then_with(|| self.0.cmp(&other.0));
        Some(match (a.0, b.0) {
            (true, true) => magnitude,
            (false, false) => magnitude.reverse(),
            (positive, _) => positive.cmp(&!positive),
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a value is a [`BigInt`].
pub(super) fn is_big(value: &Value) -> bool {
    value.downcast_object_ref::<BigInt>().is_some()
}

/// The value as a float, if it is one. Integers and booleans are not.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    if value.is_number() && !value.is_integer() {
        f64::try_from(value.clone()).ok()
    } else {
        None
    }
}

/// `repr(float)`: the shortest digits that read back as the same number, an exponent below 1e-4 and
/// from 1e16 on, at least two digits in the exponent.
pub(super) fn write_float(out: &mut impl fmt::Write, x: f64) -> fmt::Result {
    if x.is_nan() {
        return out.write_str("nan");
    }
    if x.is_infinite() {
        return out.write_str(if x < 0.0 { "-inf" } else { "inf" });
    }
    // Rust's `{:?}` changes to an exponent at the same magnitudes, and both print the shortest digits.
    let text = format!("{x:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return out.write_str(&text);
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    write!(out, "{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(x: f64) -> String {
        let mut out = String::new();
        write_float(&mut out, x).unwrap();
        out
    }

    #[test]
    fn floats_are_printed_as_python_does() {
        for (x, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-10, "1.5e-10"),
            (100000.0, "100000.0"),
            (123456789012345.6, "123456789012345.6"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.2345e22, "1.2345e+22"),
            (1e100, "1e+100"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(repr(x), expected);
        }
    }

    #[test]
    fn big_integers_are_ordered_by_value() {
        let big = |digits: &str| Value::from_object(BigInt(digits.to_owned()));
        let (small, large) = ("9".repeat(40), "1".to_owned() + &"0".repeat(40));
        assert!(big(&small) < big(&large));
        assert!(big(&format!("-{large}")) < big(&format!("-{small}")));
        assert!(big(&format!("-{large}")) < big(&small));
        assert!(big(&large) == big(&large));
        assert!(big(&large) != big(&small));
    }
}
