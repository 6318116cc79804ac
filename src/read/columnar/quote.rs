//! Strings as JSON, and JSON that stands in strings.

/// Writes a text as a JSON string. No byte of it is a line end.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        match byte {
            b'"' => out.extend(b"\\\""),
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            control => {
                let digit = |n: u8| b"0123456789abcdef".get(usize::from(n)).copied();
                out.extend(b"\\u00");
                out.extend(digit(control >> 4));
                out.extend(digit(control & 0xf));
            }
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.push(b'"');
}

/// Writes the one JSON value that a text holds, as it stands there; line ends between its parts become spaces.
///
/// It is looked at as far as it takes for it to be one value among others: strings end, brackets match, nothing
/// stands behind. All else is for the row parser, whose grammar it is. False: it holds none, and nothing is written.
pub(super) fn value(text: &str, out: &mut Vec<u8>) -> bool {
    if !is_one_value(text.as_bytes()) {
        return false;
    }
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    let line = text.bytes().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => other,
    });
    out.extend(line);
    true
}

fn is_one_value(text: &[u8]) -> bool {
    // The brackets that close what is open.
    let mut open: Vec<u8> = Vec::new();
    // At the top: whether a value stands there, and whether it may still go on, as a number does.
    let (mut begun, mut goes_on) = (false, false);
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if let b' ' | b'\t' | b'\n' | b'\r' = byte {
            goes_on = false;
            continue;
        }
        let closes = matches!(byte, b']' | b'}');
        let scalar = !matches!(byte, b'"' | b'[' | b'{' | b',' | b':') && !closes;
        if open.is_empty() {
            if closes || matches!(byte, b',' | b':') || (begun && !(scalar && goes_on)) {
                return false;
            }
            (begun, goes_on) = (true, scalar);
        }
        if closes && open.pop() != Some(byte) {
            return false;
        }
        match byte {
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            b'"' => loop {
                match bytes.next() {
                    Some(b'"') => break,
                    Some(b'\\') => drop(bytes.next()),
                    // A control character must be escaped; as a line end it would end the record.
                    Some(0..=0x1f) | None => return false,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    begun && open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> Option<String> {
        let mut out = Vec::new();
        value(text, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_value_stands_alone() {
        for whole in [
            "1",
            "-1.5e3",
            "\"a\\\"]\"",
            "[]",
            "{\"a\": [1, {}]}",
            "NaN",
            "true",
        ] {
            assert_eq!(written(whole).as_deref(), Some(whole));
        }
        assert_eq!(written(" {\n\"a\":\r\n1}\n").unwrap(), "{ \"a\":  1}");
        for odd in [
            "",
            " ",
            "1,2",
            "1 2",
            "\"a\"\"b\"",
            "{}{}",
            "]",
            "[}",
            "\"a",
            "[\"a]",
            "{\"a\":1",
            "1]",
            "\"\n\"",
            "\"a\":1",
            "[]1",
            "1[]",
        ] {
            assert_eq!(written(odd), None, "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_string_is_read_back(text in "\\PC*|[\\x00-\\x7f]*") {
            let mut out = Vec::new();
            string(&text, &mut out);
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn json_passes_as_it_is(text in "[\\[\\]{}\",: 1a\\\\\n]{0,12}") {
            // Whatever is one value to a parser is one here.
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                let line = written(&text).expect("one value");
                prop_assert!(!line.contains('\n'));
                serde_json::from_str::<serde::de::IgnoredAny>(&line).unwrap();
            }
        }
    }
}
