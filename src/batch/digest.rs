//! What rows were delivered, in one number: equal digests mean equal rows, whoever delivered them.
//!
//! A row's hash is XXH3-128 (seed 0) of the row's number in the stream as a little-endian u64, then of
//! input_ids, aligned labels, position_ids and segment_ids as little-endian i32, and, where batches carry them, of the
//! aligned loss_weights as little-endian f32, whatever form the batch takes.
//! The digest is the sum of the rows' hashes modulo 2^128, so that the parts of several ranks, and of the
//! time before and after a resume, simply add up.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign};
use std::str::FromStr;
use xxhash_rust::xxh3::Xxh3;

use super::ids::Ids;
use super::row::Row;
use crate::error::{Error, Kind, Stage};
use crate::example::IGNORE_INDEX;
use crate::recipe::Labels;

/// The sum of rows' hashes modulo 2^128; 0 for no rows. Written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(u128);

impl Digest {
    /// The hash of one row, the `number`-th of the stream.
    pub fn of_row(number: u64, row: &Row<'_>) -> Self {
        RowHasher::default().hash(number, row)
    }
}

impl Add for Digest {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Digest(self.0.wrapping_add(other.0))
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Digest {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Digest::default(), Add::add)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Reads what `Display` writes, and nothing else: 32 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(sum) if digits && text.len() == 32 => Ok(Digest(sum)),
            _ => Err(Error::new(
                Kind::Corrupt,
                Stage::Batch,
                "a digest is not 32 lower-case hexadecimal digits",
            )),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// Ids that are narrowed or swapped at a time: 4 KiB, which stay in the first cache.
const SCRATCH: usize = 1024;

/// Hashes rows one after another with the same state.
#[derive(Default)]
pub(super) struct RowHasher {
    state: Xxh3,
}

impl RowHasher {
    /// The hash of one row.
    pub(super) fn hash(&mut self, number: u64, row: &Row<'_>) -> Digest {
        self.state.reset();
        self.state.update(&number.to_le_bytes());
        self.ids(row.input_ids);
        match row.form {
            Labels::Aligned => self.ids(row.labels),
            // A segment's last shifted label is -100, and so is the next segment's first aligned one: moving
            // the row by one, with -100 in front, is exact. The row's last shifted label has no successor.
            Labels::Shifted => {
                self.narrow(&[IGNORE_INDEX]);
                let kept = row.labels.len().saturating_sub(1);
                if let Some(labels) = row.labels.get(0..kept) {
                    self.ids(labels);
                }
            }
        }
        self.narrow(row.position_ids);
        self.narrow(row.segment_ids);
        match (row.loss_weights, row.form) {
            (None, _) => {}
            (Some(weights), Labels::Aligned) => self.weights(weights),
            // As with labels: 0 goes with -100.
            (Some(weights), Labels::Shifted) => {
                self.weights(&[0.0]);
                self.weights(weights.split_last().map_or(&[], |(_, kept)| kept));
            }
        }
        Digest(self.state.digest128())
    }

    fn weights(&mut self, weights: &[f32]) {
        if cfg!(target_endian = "little") {
            self.state.update(bytemuck::cast_slice(weights));
            return;
        }
        for weight in weights {
            self.state.update(&weight.to_le_bytes());
        }
    }

    fn ids(&mut self, ids: Ids<'_>) {
        match ids {
            Ids::I32(ids) => self.narrow(ids),
            Ids::I64(ids) => {
                let mut scratch = [0_i32; SCRATCH];
                for wide in ids.chunks(SCRATCH) {
                    for (narrow, &id) in scratch.iter_mut().zip(wide) {
                        // The writer put in nothing but i32 values.
                        *narrow = id as i32;
                    }
                    self.narrow(&scratch[..wide.len()]);
                }
            }
        }
    }

    fn narrow(&mut self, values: &[i32]) {
        if cfg!(target_endian = "little") {
            self.state.update(bytemuck::cast_slice(values));
            return;
        }
        let mut scratch = [0_i32; SCRATCH];
        for part in values.chunks(SCRATCH) {
            for (swapped, &value) in scratch.iter_mut().zip(part) {
                *swapped = value.to_le();
            }
            self.state
                .update(bytemuck::cast_slice(&scratch[..part.len()]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_32_digits_and_reads_them_back() {
        for sum in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef << 60] {
            let text = Digest(sum).to_string();
            assert_eq!(text.len(), 32);
            assert_eq!(text.parse::<Digest>().unwrap(), Digest(sum));
        }
        for wrong in [
            "",
            "0",
            "+0000000000000000000000000000000",
            &"F".repeat(32),
            &"0".repeat(33),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn goes_through_json_as_text() {
        let text = serde_json::to_string(&Digest(255)).unwrap();
        assert_eq!(text, "\"000000000000000000000000000000ff\"");
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), Digest(255));
        assert!(serde_json::from_str::<Digest>("\"ff\"").is_err());
    }

    #[test]
    fn sums_wrap() {
        let sum: Digest = [Digest(u128::MAX), Digest(2)].into_iter().sum();
        assert_eq!(sum, Digest(1));
    }

    /// Frozen: XXH3-128 of 8 + 4 × 8 bytes, worked out with the reference implementation. A change here
    /// makes every checkpoint's digest worthless.
    #[test]
    fn the_hash_of_a_row_is_frozen() {
        let row = Row {
            input_ids: Ids::I32(&[5, 6]),
            labels: Ids::I32(&[-100, 6]),
            form: Labels::Aligned,
            loss_weights: None,
            position_ids: &[0, 1],
            segment_ids: &[1, 1],
        };
        assert_eq!(
            Digest::of_row(7, &row).to_string(),
            "3af0db7e16e1666ac558bdaea47f7179"
        );
        let weighted = Row {
            loss_weights: Some(&[0.0, 0.5]),
            ..row
        };
        assert_eq!(
            Digest::of_row(7, &weighted).to_string(),
            "f90de26ba1b4592070e172e132320168"
        );
    }
}
