//! What a plain YAML scalar means: the core schema of YAML 1.2 (section 10.3), where `yes` and `off` are
//! texts and only `true` and `false` are booleans.

use super::tree::Tree;

/// The value of an unquoted scalar without a tag.
pub(super) fn resolve(text: &str) -> Tree {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        "true" | "True" | "TRUE" => return Tree::Flag(true),
        "false" | "False" | "FALSE" => return Tree::Flag(false),
        ".nan" | ".NaN" | ".NAN" => return Tree::Float(f64::NAN),
        _ => {}
    }
    integer(text)
        .or_else(|| float(text))
        .unwrap_or_else(|| Tree::Text(text.to_owned()))
}

/// `[-+]?[0-9]+`, `0o[0-7]+` or `0x[0-9a-fA-F]+`. One beyond 128 bits becomes a float, as in JSON.
fn integer(text: &str) -> Option<Tree> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let well_formed = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return if well_formed {
                i128::from_str_radix(digits, radix).ok().map(Tree::Integer)
            } else {
                None
            };
        }
    }
    let (_, digits) = split_sign(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match text.parse() {
        Ok(integer) => Some(Tree::Integer(integer)),
        Err(_) => text.parse().ok().map(Tree::Float),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` or an infinity.
fn float(text: &str) -> Option<Tree> {
    let (negative, rest) = split_sign(text);
    if matches!(rest, ".inf" | ".Inf" | ".INF") {
        let infinity = if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
        return Some(Tree::Float(infinity));
    }
    // Rust also takes `inf` and `nan`; only digits and these marks are YAML's.
    let marks = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    let first = rest.bytes().next()?;
    if !rest.bytes().all(marks) || !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    text.parse().ok().map(Tree::Float)
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_yaml_1_2() {
        for null in ["", "~", "null", "NULL"] {
            assert_eq!(resolve(null), Tree::Null, "{null}");
        }
        for text in [
            "yes",
            "off",
            "nULL",
            "inf",
            "nan",
            "1_000",
            "0b1",
            "0x",
            "0o9",
            "-",
            "+",
            ".",
            "1e",
            "e5",
            "1.2.3",
            "--1",
            "0x-5",
            "none",
            "2026-11-24",
        ] {
            assert_eq!(resolve(text), Tree::Text(text.to_owned()), "{text}");
        }
        for (text, value) in [
            ("0", 0),
            ("-17", -17),
            ("+4", 4),
            ("007", 7),
            ("0x1F", 31),
            ("0o17", 15),
            ("18446744073709551615", i128::from(u64::MAX)),
        ] {
            assert_eq!(resolve(text), Tree::Integer(value), "{text}");
        }
        for (text, value) in [
            ("0.001", 0.001),
            (".5", 0.5),
            ("1.", 1.0),
            ("1e-3", 0.001),
            ("-.inf", f64::NEG_INFINITY),
            ("+12.5E+1", 125.0),
        ] {
            assert_eq!(resolve(text), Tree::Float(value), "{text}");
        }
    }
}
