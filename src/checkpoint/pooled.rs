//! Pooled examples as text: one entry each, a few characters, as a lane holds a hundred of them.
//!
//! `stream:back.place/example@first`, where `back` counts the lane's blocks back from the stream's cursor. Parts
//! that are 0 are left out, with their marks: `3` is the example three blocks back, `1:3.120` the 121st
//! record of a block of the second stream, `.7/2@4096` a later piece of that record's third example.

use super::state::{Pooled, StreamState};
use std::fmt::Write;

/// The entries of `pool`, separated by blanks.
pub(super) fn write(pool: &[Pooled], streams: &[StreamState]) -> String {
    let mut text = String::new();
    for (index, pooled) in pool.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        entry(&mut text, pooled, streams);
    }
    text
}

pub(super) fn entry(text: &mut String, pooled: &Pooled, streams: &[StreamState]) {
    let cursor = streams.get(pooled.stream as usize);
    let cursor = cursor.map_or(0, |stream| i128::from(stream.position));
    // Below 0 for a state that makes no sense; reading refuses it.
    let back = cursor - i128::from(pooled.position);
    // Writing to a String cannot fail.
    if pooled.stream > 0 {
        let _ = write!(text, "{}:", pooled.stream);
    }
    let alone = pooled.place == 0 && pooled.example == 0 && pooled.first == 0;
    if back != 0 || alone {
        let _ = write!(text, "{back}");
    }
    if pooled.place > 0 {
        let _ = write!(text, ".{}", pooled.place);
    }
    if pooled.example > 0 {
        let _ = write!(text, "/{}", pooled.example);
    }
    if pooled.first > 0 {
        let _ = write!(text, "@{}", pooled.first);
    }
}

/// Reads what [`write`] writes; `Err` names the first entry that makes no sense.
pub(super) fn read(text: &str, streams: &[StreamState]) -> Result<Vec<Pooled>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(' ')
        .map(|entry| pooled(entry, streams).ok_or_else(|| format!("pooled example `{entry}`")))
        .collect()
}

pub(super) fn pooled(entry: &str, streams: &[StreamState]) -> Option<Pooled> {
    let (stream, rest) = match entry.split_once(':') {
        Some((stream, rest)) => (u32::try_from(number(stream)?).ok()?, rest),
        None => (0, entry),
    };
    let (rest, first) = cut(rest, '@')?;
    let (rest, example) = cut(rest, '/')?;
    let (back, place) = cut(rest, '.')?;
    let back = match back {
        "" if place + example + first > 0 => 0,
        digits => number(digits)?,
    };
    Some(Pooled {
        stream,
        position: streams.get(stream as usize)?.position.checked_sub(back)?,
        place,
        example: u32::try_from(example).ok()?,
        first: u32::try_from(first).ok()?,
    })
}

/// What stands before `mark`, and the number after it; 0 where there is no mark.
fn cut(text: &str, mark: char) -> Option<(&str, u64)> {
    match text.split_once(mark) {
        Some((before, after)) => Some((before, number(after)?)),
        None => Some((text, 0)),
    }
}

/// Digits and nothing else. Below 2^60, so that a few of them can be added.
pub(super) fn number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| plain)?;
    (number < 1 << 60).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Vec<StreamState> {
        let at = |position| StreamState {
            position,
            ..StreamState::default()
        };
        vec![at(10), at(1_000_000_000_000)]
    }

    #[test]
    fn zero_parts_are_left_out() {
        let of = |stream, position, place, example, first| Pooled {
            stream,
            position,
            place,
            example,
            first,
        };
        let pool = [
            of(0, 7, 0, 0, 0),
            of(1, 999_999_999_997, 120, 0, 0),
            of(0, 10, 7, 2, 4096),
            of(0, 10, 0, 0, 0),
            of(1, 1_000_000_000_000, 0, 0, 1),
        ];
        let text = write(&pool, &streams());
        assert_eq!(text, "3 1:3.120 .7/2@4096 0 1:@1");
        assert_eq!(read(&text, &streams()), Ok(pool.to_vec()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            " ",
            "3 ",
            "3  4",
            "11",
            "2:1",
            "-1",
            "+1",
            "1.",
            "1/",
            "1@",
            ".",
            "",
            "1.2.3",
            "1:",
            "x",
            "1@2/3",
            "99999999999999999999",
        ] {
            let alone = format!("0 {text}");
            assert!(read(&alone, &streams()).is_err(), "{text:?} is taken");
        }
    }
}
