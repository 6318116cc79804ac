//! What input may use up: a cap for everything that a hostile or broken file could let grow.

use super::keys::json;
use super::shape::{Section, Shape, at_least, between, key};
use serde::{Deserialize, Serialize};

/// What input may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsConfig {
    /// Longest line of a shard, in bytes of its text without the line's end.
    pub line_bytes: u64,
    /// Largest record, in bytes of its text.
    pub record_bytes: u64,
    /// Levels of arrays and objects in a record, the record itself included.
    pub nesting: u32,
    /// Largest zstd window, as a power of two.
    pub window_log: u32,
    /// Bytes of text for each stored byte of a block, behind the block's first MiB of text.
    pub ratio: u64,
    /// Work of one render.
    pub template_fuel: u64,
    /// Text of one render in bytes, and of a record's examples together.
    pub template_output_bytes: u64,
    /// Longest run of letters, of digits, of blanks or of other characters in a text, in bytes.
    pub run_bytes: u64,
    /// Examples that `render: per_turn` makes of a record.
    pub examples_per_record: usize,
}

impl LimitsConfig {
    /// What holds where a recipe says nothing.
    pub const DEFAULT: LimitsConfig = LimitsConfig {
        // A conversation of a million tokens is some 5 MiB of JSON. Each block that is open may hold a line of this
        // length, and a file without line ends must not cost more than that.
        line_bytes: 16 << 20,
        // A line is a record: one limit is enough unless somebody wants less parsed than is read.
        record_bytes: 16 << 20,
        // Tool schemas nest some ten levels. Reading recurses, and a worker has 2 MiB of stack.
        nesting: 128,
        // 128 MiB: what `zstd --long` writes and `zstd -d` reads unasked.
        window_log: 27,
        // Chats compress 3 to 20 times, ones that repeat a long system prompt some 200 times; gzip reaches 1032,
        // zstd 32,000, and whatever comes near is not text that anybody wrote.
        ratio: 1000,
        // A turn costs 100 to 500 units in the templates in use, and each pass over the text one for 64 bytes, so
        // this is some 10,000 turns. An endless loop is stopped within half a second.
        template_fuel: 4_000_000,
        // As long as the longest record: some four million tokens, longer than any context window.
        template_output_bytes: 16 << 20,
        // What lies between two cuts of a pre-tokenizer is merged at once, at more than a hundred bytes of memory for each
        // of its own. Words have some ten, a dump of a file in base64 some ten between two digits.
        run_bytes: 256 << 10,
        // The texts of a record's examples grow with the square of its turns.
        examples_per_record: 64,
    };
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig::DEFAULT
    }
}

/// Runs of records are addressed in 32 bits, and a worker holds a record several times over.
const MOST_BYTES: u64 = 1 << 30;

/// Levels for which a worker's stack is enough many times over.
const MOST_NESTING: u64 = 512;

/// Windows that zstd knows, on machines of 64 bits.
const WINDOWS: (u64, u64) = (10, 31);

/// Examples are numbered in 32 bits within their record, and nobody means as many as this.
const MOST_EXAMPLES: u64 = 1 << 16;

const BYTES: Shape = Shape::Size {
    least: 1 << 10,
    most: MOST_BYTES,
};

/// The keys.
pub(super) static KEYS: Section = Section {
    defaults: || json(&LimitsConfig::default()),
    keys: &[
        key(
            "line_bytes",
            BYTES,
            "Longest line, in bytes of its text; a longer one is given up as soon as it passes this.",
        ),
        key(
            "record_bytes",
            BYTES,
            "Largest record that is looked into, in bytes of its text.",
        ),
        key(
            "nesting",
            between(4, MOST_NESTING),
            "Levels of arrays and objects in a record, the record itself included.",
        ),
        key(
            "window_log",
            between(WINDOWS.0, WINDOWS.1),
            "Largest window of a zstd frame, as a power of two: memory that a file asks for.",
        ),
        key(
            "ratio",
            at_least(1),
            "Bytes of text for each stored byte of a block, behind the block's first MiB of text.",
        ),
        key(
            "template_fuel",
            at_least(1),
            "Work of one render: about a unit an instruction, and one for each 64 bytes that are made.",
        ),
        key(
            "template_output_bytes",
            BYTES,
            "Text of one render, and of all examples of a record together.",
        ),
        key(
            "run_bytes",
            BYTES,
            "Longest run of letters, of digits, of blanks or of other characters in a text.",
        ),
        key(
            "examples_per_record",
            between(1, MOST_EXAMPLES),
            "Examples that render: per_turn makes of a record.",
        ),
    ],
};
