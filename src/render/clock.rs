//! `strftime_now`: Python's `datetime.strftime` of a fixed time, in the C locale.

use super::refusal::invalid;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use minijinja::Error;
use std::fmt::Write;

/// Reads the recipe's `template.now`: `YYYY-MM-DDTHH:MM:SS`, or a date alone, which means its midnight.
pub(super) fn parse(now: &str) -> Option<NaiveDateTime> {
    let now = now.trim();
    NaiveDateTime::parse_from_str(now, "%Y-%m-%dT%H:%M:%S")
        .or_else(|_| NaiveDateTime::parse_from_str(now, "%Y-%m-%d %H:%M:%S"))
        .or_else(|_| {
            NaiveDate::parse_from_str(now, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN))
        })
        .ok()
}

/// Directives with a number, the ones that a padding flag (`%-d`) changes.
const NUMERIC: &str = "CdeGgHIjklmMSsuUVwWyY";
/// Directives with a text.
const TEXT: &str = "AaBbcDFhnPpRrTtXx";

/// Formats as glibc does for Python: unknown directives stay as they are.
pub(super) fn strftime(now: NaiveDateTime, format: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = format;
    while let Some((text, tail)) = rest.split_once('%') {
        out.push_str(text);
        let (flag, after_flag) = match tail.strip_prefix(['-', '_', '0']) {
            Some(after) => (tail.chars().next(), after),
            None => (None, tail),
        };
        // The alternative numerals and eras of other locales; the C locale has none.
        let after_modifier = after_flag.strip_prefix(['E', 'O']).unwrap_or(after_flag);
        let mut chars = after_modifier.chars();
        let spec = match chars.next() {
            Some('%') => "%%".to_owned(),
            Some('f') => "%6f".to_owned(),
            // A naive time has no zone.
            Some('z' | 'Z') => String::new(),
            Some(c) if TEXT.contains(c) => format!("%{c}"),
            Some(c) if NUMERIC.contains(c) => match flag {
                Some(flag) => format!("%{flag}{c}"),
                None => format!("%{c}"),
            },
            Some('^' | '#') => {
                return Err(invalid(format!(
                    "strftime_now does not know the flags in {format:?}"
                )));
            }
            _ => {
                out.push('%');
                rest = tail;
                continue;
            }
        };
        write!(out, "{}", now.format(&spec))
            .map_err(|_| invalid(format!("strftime_now does not understand {format:?}")))?;
        rest = chars.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(format: &str) -> String {
        strftime(parse("2026-02-03T04:05:06").unwrap(), format).unwrap()
    }

    #[test]
    fn formats_as_python_does() {
        for (format, expected) in [
            ("%d %b %Y", "03 Feb 2026"),
            ("%Y-%m-%d", "2026-02-03"),
            ("%-d/%-m/%y", "3/2/26"),
            ("%_d|%e|%-I %p", " 3| 3|4 AM"),
            ("%A, %B %d, %H:%M:%S", "Tuesday, February 03, 04:05:06"),
            ("%a %j %U %W %V %u %w %G", "Tue 034 05 05 06 2 2 2026"),
            ("%f", "000000"),
            ("%c", "Tue Feb  3 04:05:06 2026"),
            (
                "%x %X %D %F %T %R",
                "02/03/26 04:05:06 02/03/26 2026-02-03 04:05:06 04:05",
            ),
            ("%Z%z|100%%|%Q|%", "|100%|%Q|%"),
            ("%-B %Ey é", "February 26 é"),
        ] {
            assert_eq!(at(format), expected, "{format}");
        }
    }

    #[test]
    fn reads_times_and_dates() {
        assert!(parse("2026-11-24T00:00:00").is_some());
        assert_eq!(parse("2026-11-24"), parse("2026-11-24 00:00:00"));
        for wrong in ["", "now", "2026-13-01", "2026-11-24T25:00:00", "24.11.2026"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
