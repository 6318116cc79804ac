//! String literals as Python reads them, where the engine reads them otherwise.

/// Reads a literal with its quotes as Jinja does: Python's `unicode-escape`. None where the escapes
/// name no character that a string here can hold: a lone surrogate, `\N{…}`, too few digits.
pub(super) fn read(literal: &str) -> Option<String> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((text, tail)) = rest.split_once('\\') {
        out.push_str(text);
        let mut chars = tail.chars();
        let mut digits = 0;
        match chars.next() {
            // What is behind an escaped character begins where the character ends, but for those with
            // digits.
            Some('\n') => {}
            Some(c @ ('\\' | '\'' | '"')) => out.push(c),
            Some('a') => out.push('\x07'),
            Some('b') => out.push('\x08'),
            Some('f') => out.push('\x0c'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\x0b'),
            Some('x') => digits = 2,
            Some('u') => digits = 4,
            Some('U') => digits = 8,
            Some('N') => return None,
            Some('0'..='7') => {
                let length = tail
                    .bytes()
                    .take(3)
                    .take_while(|b| matches!(b, b'0'..=b'7'))
                    .count();
                let (octal, tail) = tail.split_at(length);
                out.push(char::from_u32(u32::from_str_radix(octal, 8).ok()?)?);
                rest = tail;
                continue;
            }
            Some(c) if c.is_ascii() => {
                out.push('\\');
                out.push(c);
            }
            // Jinja first turns the character into an escape of its own, whose backslash this one then
            // escapes.
            Some(c) => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
            None => out.push('\\'),
        }
        rest = chars.as_str();
        if digits > 0 {
            let (code, tail) = rest.split_at_checked(digits)?;
            if !code.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            rest = tail;
        }
    }
    out.push_str(rest);
    Some(out)
}

/// Writes a literal that the engine reads as `text`, over as many lines as `original`.
pub(super) fn write(text: &str, original: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    let lines = |text: &str| text.matches('\n').count();
    let missing = lines(original).saturating_sub(lines(&out));
    out.extend(std::iter::repeat_n('\n', missing));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_python_reads_them() {
        for (literal, expected) in [
            (r"'plain é'", "plain é"),
            (r#"'\'\"\\'"#, "'\"\\"),
            (r"'\a\b\f\n\r\t\v'", "\x07\x08\x0c\n\r\t\x0b"),
            (r"'\x41\u00e9\U0001F600'", "Aé😀"),
            (r"'\0\101\1018\400'", "\0AA8Ā"),
            (r"'\/\q\d'", r"\/\q\d"),
            ("'a\\\nb'", "ab"),
            (r"'\é\日'", r"\xe9\u65e5"),
        ] {
            assert_eq!(read(literal).as_deref(), Some(expected), "{literal}");
        }
        for literal in [
            r"'\N{BULLET}'",
            r"'\ud800'",
            r"'\x4'",
            r"'\u+041'",
            r"'\U00110000'",
        ] {
            assert_eq!(read(literal), None, "{literal}");
        }
    }

    #[test]
    fn what_is_written_keeps_its_lines() {
        assert_eq!(write("a\"\\b", "'a'"), r#""a\"\\b""#);
        assert_eq!(write("ab", "'a\\\nb'"), "\"ab\"\n");
        assert_eq!(write("a\nb", "'a\nb'"), "\"a\nb\"");
    }
}
