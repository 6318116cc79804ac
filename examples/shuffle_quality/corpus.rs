//! The corpus: records by their topic, length and place alone, sorted by topic.

use crate::lengths::Random;
use std::ops::Range;

/// Records of a topic.
pub(crate) const TOPIC: usize = 1_000;

/// Tokens of a record at every eighth of the whole: a log-normal distribution of deviation 0.8, cut at both ends.
const EIGHTHS: [usize; 9] = [32, 119, 175, 233, 301, 388, 516, 756, 1_900];

/// Bytes of a record's line besides its text, and bytes of text for each token.
const LINE: (u64, u64) = (60, 4);

/// Records in the order in which they lie; topic t has the records from t × [`TOPIC`].
pub(crate) struct Corpus {
    pub(crate) lengths: Vec<u32>,
}

impl Corpus {
    /// `topics` × [`TOPIC`] records. Integers alone, so that it is the same on every machine.
    pub(crate) fn new(topics: usize) -> Self {
        let mut random = Random(7);
        let mut length = || {
            let eighth = random.below(8);
            let (from, to) = (EIGHTHS[eighth], EIGHTHS[eighth + 1]);
            (from + random.below(to - from)) as u32
        };
        Corpus {
            lengths: (0..topics * TOPIC).map(|_| length()).collect(),
        }
    }

    pub(crate) fn records(&self) -> usize {
        self.lengths.len()
    }

    pub(crate) fn topics(&self) -> usize {
        self.records().div_ceil(TOPIC)
    }

    pub(crate) fn topic(record: u32) -> usize {
        record as usize / TOPIC
    }

    /// Bytes of a record's text without its newline.
    pub(crate) fn bytes(&self, record: u32) -> u64 {
        LINE.0 + LINE.1 * u64::from(self.lengths[record as usize])
    }

    /// Blocks of at most `records` records and at most `bytes` of text.
    pub(crate) fn frames(&self, records: usize, bytes: u64) -> Vec<Range<u32>> {
        let mut blocks = Vec::new();
        let (mut start, mut held) = (0, 0);
        for record in 0..self.records() as u32 {
            let more = self.bytes(record) + 1;
            if record > start && ((record - start) as usize == records || held + more > bytes) {
                blocks.push(start..record);
                (start, held) = (record, 0);
            }
            held += more;
        }
        blocks.push(start..self.records() as u32);
        blocks
    }

    /// Blocks of `bytes` bytes of a plain file: a record belongs to the one that holds the newline before it.
    pub(crate) fn pieces(&self, bytes: u64) -> Vec<Range<u32>> {
        let mut blocks = Vec::new();
        let (mut start, mut block, mut begins) = (0, 0, 0_u64);
        for record in 0..self.records() as u32 {
            let holder = begins.saturating_sub(1) / bytes;
            if holder != block {
                blocks.push(start..record);
                (start, block) = (record, holder);
            }
            begins += self.bytes(record) + 1;
        }
        blocks.push(start..self.records() as u32);
        blocks
    }

    /// `files` files of as many records each as can be.
    pub(crate) fn files(&self, files: usize) -> Vec<Range<u32>> {
        let at = |file: usize| (self.records() * file / files) as u32;
        (0..files).map(|file| at(file)..at(file + 1)).collect()
    }
}
