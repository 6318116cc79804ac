//! Sizes in bytes: `2GiB`, `512MB`, `4096`.

/// Units, longest name last so that the largest exact one is found from the end.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// What a size in text must look like, for editors.
pub(super) const PATTERN: &str = "^[0-9]+ ?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$";

/// Bytes of `512MiB`, `512 MiB` or `4096`; none where it is no size or more than 64 bits.
pub fn parse(text: &str) -> Option<u64> {
    let (digits, unit) = split(text);
    let count: u64 = digits.parse().ok()?;
    if unit.is_empty() {
        return Some(count);
    }
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    count.checked_mul(*bytes)
}

/// What somebody who wrote `2gb`, `2 G` or `2Gib` may have meant.
pub(super) fn nearest(text: &str) -> Option<String> {
    let (digits, unit) = split(text);
    digits.parse::<u64>().ok()?;
    let wanted = unit.to_ascii_lowercase();
    let same = |name: &&(&str, u64)| name.0.to_ascii_lowercase() == wanted;
    let short =
        |name: &&(&str, u64)| name.0.to_ascii_lowercase().strip_suffix("ib") == Some(&wanted);
    let (name, _) = UNITS
        .iter()
        .find(same)
        .or_else(|| UNITS.iter().find(short))?;
    let nearest = format!("{digits}{name}");
    parse(&nearest).map(|_| nearest)
}

/// The shortest exact form in binary units, else in bytes. Reads back to the same number.
pub(crate) fn format(bytes: u64) -> String {
    let exact =
        |unit: &&(&str, u64)| unit.0.ends_with("iB") && bytes > 0 && bytes.is_multiple_of(unit.1);
    match UNITS.iter().rev().find(exact) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(end);
    (digits, unit.strip_prefix(' ').unwrap_or(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("100B", 100),
            ("2GiB", 2 << 30),
            ("512 MiB", 512 << 20),
            ("3GB", 3_000_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1",
            "1.5GiB",
            "2 gb",
            "2  GiB",
            "99999999TiB",
            "1e3",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(nearest("2gb").as_deref(), Some("2GB"));
        assert_eq!(nearest("2 G").as_deref(), Some("2GiB"));
        assert_eq!(nearest("2 parsecs"), None);
    }

    proptest! {
        #[test]
        fn reads_its_own_print(bytes: u64, shift in 0u32..60) {
            for bytes in [bytes, bytes << shift] {
                prop_assert_eq!(parse(&format(bytes)), Some(bytes));
            }
        }
    }
}
