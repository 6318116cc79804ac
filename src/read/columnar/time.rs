//! Times as ISO 8601 text, as Python's `isoformat` writes them.

use arrow_schema::TimeUnit;
use chrono::{DateTime, NaiveTime, Timelike};
use std::fmt::Write as _;

const DAY_S: i64 = 86_400;

/// Units of a second.
fn a_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Whole seconds, and nanoseconds into the next.
fn split(value: i64, unit: TimeUnit) -> (i64, u32) {
    let units = a_second(unit);
    let nanos = value.rem_euclid(units) * (1_000_000_000 / units);
    (value.div_euclid(units), u32::try_from(nanos).unwrap_or(0))
}

/// `2026-11-24T12:30:00`, with a fraction where there is one, and `+00:00` where the time is one of a zone: it is
/// stored in UTC. None beyond the years that a calendar has.
pub(super) fn timestamp(value: i64, unit: TimeUnit, zoned: bool) -> Option<String> {
    let (seconds, nanos) = split(value, unit);
    let moment = DateTime::from_timestamp(seconds, nanos)?;
    let mut text = date_text(seconds.div_euclid(DAY_S))?;
    text.push('T');
    push_time(&mut text, moment.time());
    if zoned {
        text.push_str("+00:00");
    }
    Some(text)
}

/// `2026-11-24`, from days since 1970.
pub(super) fn date(days: i64) -> Option<String> {
    date_text(days)
}

/// The same from milliseconds.
pub(super) fn date_of_ms(ms: i64) -> Option<String> {
    date_text(ms.div_euclid(DAY_S * 1_000))
}

/// `12:30:00`, from units since midnight.
pub(super) fn time(value: i64, unit: TimeUnit) -> Option<String> {
    let (seconds, nanos) = split(value, unit);
    let seconds = u32::try_from(seconds).ok()?;
    let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)?;
    let mut text = String::new();
    push_time(&mut text, time);
    Some(text)
}

fn date_text(days: i64) -> Option<String> {
    let moment = DateTime::from_timestamp(days.checked_mul(DAY_S)?, 0)?;
    Some(moment.date_naive().to_string())
}

/// Microseconds have six digits, as in Python; nanoseconds, which Python has not, nine.
fn push_time(text: &mut String, time: NaiveTime) {
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    // Writing to a string does not fail.
    let _ = write!(text, "{hour:02}:{minute:02}:{second:02}");
    let _ = match time.nanosecond() {
        0 => Ok(()),
        nanos if nanos % 1_000 == 0 => write!(text, ".{:06}", nanos / 1_000),
        nanos => write!(text, ".{nanos:09}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_writes_them() {
        let stamp = |value, unit, zoned| timestamp(value, unit, zoned).unwrap();
        assert_eq!(stamp(0, TimeUnit::Second, false), "1970-01-01T00:00:00");
        assert_eq!(
            stamp(1_500, TimeUnit::Millisecond, true),
            "1970-01-01T00:00:01.500000+00:00"
        );
        assert_eq!(
            stamp(-1, TimeUnit::Nanosecond, false),
            "1969-12-31T23:59:59.999999999"
        );
        assert_eq!(timestamp(i64::MAX, TimeUnit::Second, false), None);
        assert_eq!(date(20_781).unwrap(), "2026-11-24");
        assert_eq!(date_of_ms(-1).unwrap(), "1969-12-31");
        assert_eq!(time(45_000, TimeUnit::Second).unwrap(), "12:30:00");
        assert_eq!(time(86_400, TimeUnit::Second), None);
    }
}
