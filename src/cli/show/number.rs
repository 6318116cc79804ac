//! Numbers as people read them.

use std::time::Duration;

/// All digits, in groups of three: `1,234,567`.
pub(crate) fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits and a unit from ten thousand on: `9,999`, `12.3 k`, `4.56 M`.
pub(crate) fn short(number: u64) -> String {
    if number < 10_000 {
        exact(number)
    } else {
        scaled(number as f64, 1_000.0, &["", " k", " M", " G", " T", " P"])
    }
}

/// Bytes in binary units: `512 B`, `1.20 GiB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(
        number as f64,
        1_024.0,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"],
    )
}

/// A time span: `340 µs`, `12.3 ms`, `4.56 s`, `3 min 07 s`, `2 h 05 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.000_999_5 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 0.999_5 {
        format!("{} ms", three_digits(seconds * 1e3))
    } else if seconds < 59.95 {
        format!("{} s", three_digits(seconds))
    } else {
        let whole = seconds.round() as u64;
        match whole / 60 {
            minutes @ 0..60 => format!("{minutes} min {:02} s", whole % 60),
            minutes => format!("{} h {:02} min", minutes / 60, minutes % 60),
        }
    }
}

/// Items a second: `12.3 M tokens/s`; a dash where no time has passed.
pub(crate) fn rate(items: u64, name: &str, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        format!(
            "{} {name}/s",
            short((items as f64 / seconds).round() as u64)
        )
    } else {
        "–".to_owned()
    }
}

/// A share with one decimal: `40.7%`; a dash of nothing. What is shown as 100.0% is all of it, and as 0.0% none of it.
pub(crate) fn percent(part: f64, whole: f64) -> String {
    if whole <= 0.0 {
        return "–".to_owned();
    }
    match (part / whole * 1_000.0).round() {
        0.0 if part > 0.0 => "<0.1%".to_owned(),
        1_000.0 if part < whole => ">99.9%".to_owned(),
        tenths => format!("{:.1}%", tenths / 10.0),
    }
}

/// The smallest unit with which the number stays below `base` when rounded.
fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    let mut number = number;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or("");
    let mut first = true;
    while number >= base - 0.5 {
        let Some(larger) = units.next() else { break };
        number /= base;
        unit = larger;
        first = false;
    }
    if first {
        format!("{number:.0}{unit}")
    } else {
        format!("{}{unit}", three_digits(number))
    }
}

/// `1.23`, `12.3`, `123`, and 1,023 where a binary unit has so many.
fn three_digits(number: f64) -> String {
    if number < 9.995 {
        format!("{number:.2}")
    } else if number < 99.95 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let shown = [
            0,
            999,
            1_000,
            9_999,
            10_000,
            12_345,
            999_499,
            999_500,
            12_345_678,
            u64::MAX,
        ];
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(
            shown.map(short),
            [
                "0", "999", "1,000", "9,999", "10.0 k", "12.3 k", "999 k", "1.00 M", "12.3 M",
                "18447 P"
            ]
        );
    }

    #[test]
    fn sizes() {
        let shown = [0, 1_023, 1_024, 1 << 20, 1_288_490_189, (1 << 30) - 1];
        assert_eq!(
            shown.map(bytes),
            [
                "0 B", "1023 B", "1.00 KiB", "1.00 MiB", "1.20 GiB", "1.00 GiB"
            ]
        );
    }

    #[test]
    fn times() {
        let shown = [
            0,
            999,
            1_500,
            340_000,
            999_600,
            1_234_000,
            59_960_000,
            187_000_000,
            7_500_000_000,
        ];
        assert_eq!(
            shown.map(|micros| duration(Duration::from_micros(micros))),
            [
                "0 µs",
                "999 µs",
                "1.50 ms",
                "340 ms",
                "1.00 s",
                "1.23 s",
                "1 min 00 s",
                "3 min 07 s",
                "2 h 05 min"
            ]
        );
    }

    #[test]
    fn shares_and_rates() {
        assert_eq!(percent(407.0, 1_000.0), "40.7%");
        assert_eq!(percent(999_999.0, 1_000_000.0), ">99.9%");
        assert_eq!(percent(1.0, 1_000_000.0), "<0.1%");
        assert_eq!(percent(0.0, 5.0), "0.0%");
        assert_eq!(percent(5.0, 5.0), "100.0%");
        assert_eq!(percent(0.0, 0.0), "–");
        assert_eq!(
            rate(12_300_000, "tokens", Duration::from_secs(1)),
            "12.3 M tokens/s"
        );
        assert_eq!(rate(5, "rows", Duration::ZERO), "–");
    }
}
