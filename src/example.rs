//! What flows from mask to pack: one tokenized record, or one of several made of it.

use std::ops::Range;
use std::sync::Arc;

/// Version of everything that makes examples of a record: reading its row, rendering, tokenizing, masking. Part of every
/// fingerprint, and of the name under which `plan: global` keeps lengths.
///
/// To be raised whenever any record, under a recipe that was accepted before, would become other examples: other ids,
/// other trained or protected spans, more or fewer of them, or bad or dropped where it was not, or the reverse. A new key
/// of the recipe raises nothing, as long as its default changes nothing.
pub(crate) const EXAMPLES_VERSION: u32 = 1;

/// A token id as tokenizers give it. Batches carry the same number as i32 or i64.
pub type TokenId = u32;

/// The label of a token that is not trained: PyTorch's `ignore_index`.
pub const IGNORE_INDEX: i32 = -100;

/// Token positions within an example, `start..end`.
pub type Span = Range<u32>;

/// Where an example comes from. Numbers count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Origin {
    /// Source, in the recipe's order.
    pub source: u32,
    /// Shard within the source, sorted by name.
    pub shard: u32,
    /// Block within the shard; in held sources the record within the shard.
    pub block: u64,
    /// Record within the block; 0 in held sources.
    pub record: u64,
    /// Example within the record.
    pub example: u32,
    /// Pass over the corpus.
    pub epoch: u64,
    /// Where it stands in its lane's stream.
    pub at: Cursor,
}

/// A place in a lane's part of a sequence of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Cursor {
    /// The lane's block of this index: the first of those that are taken together.
    pub position: u64,
    /// The item in the order in which these blocks' items come: their records, whatever stands in the place of one,
    /// and their ends. 0 in held sources.
    pub place: u64,
}

/// A factor of a token's loss: above 0 and at most 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct LossWeight(f32);

// Never NaN.
impl Eq for LossWeight {}

impl LossWeight {
    /// The weight of every token that nothing is said of.
    pub const ONE: LossWeight = LossWeight(1.0);

    /// A weight of this size to the precision of f32; none where that is not above 0 or is above 1.
    pub fn new(weight: f64) -> Option<LossWeight> {
        let weight = weight as f32;
        (weight > 0.0 && weight <= 1.0).then_some(LossWeight(weight))
    }

    /// What a stretch of this weight counts in a text of that one.
    pub fn times(self, other: LossWeight) -> LossWeight {
        // The product of two small ones may be none any more.
        LossWeight((self.0 * other.0).max(f32::MIN_POSITIVE))
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Trained tokens whose loss counts for less than that of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted {
    /// Which.
    pub tokens: Span,
    /// For how much.
    pub weight: LossWeight,
}

/// What is trained of some tokens, and what of it for less than the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// Positions that carry a label: sorted, disjoint, not empty.
    pub trained: Vec<Span>,
    /// Of these the positions that weigh less than 1, likewise.
    pub weights: Vec<Weighted>,
}

impl From<Vec<Span>> for Targets {
    /// All of the same weight.
    fn from(trained: Vec<Span>) -> Self {
        Targets {
            trained,
            weights: Vec::new(),
        }
    }
}

/// One tokenized record with what is trained of it.
///
/// Invariants: spans are sorted, disjoint, not empty and within `ids`. `ids` is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Where it comes from.
    pub origin: Origin,
    /// The tokens, at least one.
    pub ids: Vec<TokenId>,
    /// Positions that carry a label. Position 0 may be listed; it is never a target.
    pub trained: Vec<Span>,
    /// Of the trained positions those that weigh less than 1.
    pub weights: Vec<Weighted>,
    /// Positions that no cut may fall into (placeholder runs of pictures).
    pub protected: Vec<Span>,
}

impl Example {
    /// Length in tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has no tokens; never true of an example that left the mask stage.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Aligned labels: the id where it is trained, else [`IGNORE_INDEX`].
    pub fn labels(&self) -> Vec<i64> {
        let mut labels = vec![i64::from(IGNORE_INDEX); self.ids.len()];
        for span in &self.trained {
            let tokens = span.start as usize..span.end as usize;
            let ids = self.ids.get(tokens.clone()).unwrap_or_default();
            let own = labels.get_mut(tokens).unwrap_or_default();
            for (label, &id) in own.iter_mut().zip(ids) {
                *label = i64::from(id);
            }
        }
        labels
    }

    /// Targets that count after the shift in `start..end` as a segment of its own: trained
    /// positions but the segment's first.
    pub fn num_label_tokens(&self, span: &Span) -> u64 {
        let first = span.start + 1;
        self.trained
            .iter()
            .map(|t| u64::from(t.end.min(span.end).saturating_sub(t.start.max(first))))
            .sum()
    }
}

/// A run of an example's tokens that becomes one segment: all of it, or one part of a cut one.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The example that it is cut from.
    pub example: Arc<Example>,
    /// Which of its tokens, at least one.
    pub tokens: Span,
    /// What is delivered with it.
    pub ends: Ends,
}

/// What is delivered with a piece, beside its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ends {
    /// Nothing more: others of the example's kept pieces come after it.
    Nothing,
    /// Its example, of which it is the last kept piece.
    Example,
    /// Its example and its record, of whose kept examples it is the last.
    Record,
}

impl Piece {
    /// The whole example as one piece, the only one of its record.
    pub fn whole(example: Example) -> Self {
        let tokens = 0..u32::try_from(example.ids.len()).unwrap_or(u32::MAX);
        Piece {
            example: Arc::new(example),
            tokens,
            ends: Ends::Record,
        }
    }

    /// Length in tokens.
    pub fn len(&self) -> usize {
        (self.tokens.end - self.tokens.start) as usize
    }

    /// Whether it has no tokens; never true of a piece in a pool.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The piece's ids.
    pub fn ids(&self) -> &[TokenId] {
        &self.example.ids[self.tokens.start as usize..self.tokens.end as usize]
    }

    /// Targets that count after the shift.
    pub fn num_label_tokens(&self) -> u64 {
        self.example.num_label_tokens(&self.tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_above_0_and_at_most_1() {
        assert_eq!(LossWeight::new(1.0), Some(LossWeight::ONE));
        assert_eq!(LossWeight::new(0.5).map(LossWeight::get), Some(0.5));
        for none in [0.0, -0.0, -0.5, 1.001, f64::NAN, f64::INFINITY, 1e-60] {
            assert_eq!(LossWeight::new(none), None, "{none}");
        }
    }

    #[test]
    fn a_segments_first_token_is_never_a_target() {
        let example = Example {
            origin: Origin::default(),
            ids: vec![1; 10],
            trained: vec![0..3, 5..9],
            weights: vec![],
            protected: vec![],
        };
        assert_eq!(example.num_label_tokens(&(0..10)), 2 + 4);
        assert_eq!(example.num_label_tokens(&(5..10)), 3);
        assert_eq!(example.num_label_tokens(&(3..5)), 0);
        assert_eq!(example.num_label_tokens(&(2..7)), 2);
    }
}
