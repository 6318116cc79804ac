//! Examples by their lengths alone: what packers are measured on. Shared with `examples/pack_lengths.rs`.

#![allow(
    dead_code,
    reason = "bench and example draw from different distributions"
)]

use packmill::{Ends, Example, Origin, Piece};
use std::sync::Arc;

/// A piece of this length. Packers look at lengths alone, so it has no ids.
pub(crate) fn piece(record: u64, length: usize) -> Piece {
    let origin = Origin {
        record,
        ..Origin::default()
    };
    Piece {
        example: Arc::new(Example {
            origin,
            ids: Vec::new(),
            trained: Vec::new(),
            weights: Vec::new(),
            protected: Vec::new(),
        }),
        tokens: 0..u32::try_from(length).unwrap_or(u32::MAX),
        ends: Ends::Record,
    }
}

/// SplitMix64: the same lengths on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number from 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed around 0 with deviation 1: Box and Muller's transform.
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A length like those of short chats: mean 381, deviation 131, 20 tokens at least.
    pub(crate) fn chat(&mut self) -> usize {
        (381.0 + 131.0 * self.normal()).max(20.0) as usize
    }

    /// A length of 8 to 4096 tokens whose logarithm is normally distributed.
    pub(crate) fn lognormal(&mut self, mean: f64, deviation: f64) -> usize {
        loop {
            let length = (mean + deviation * self.normal()).exp();
            if (8.0..=4096.0).contains(&length) {
                return length as usize;
            }
        }
    }
}
