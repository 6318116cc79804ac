//! The naive twin: every tensor token by token from the definitions, for tests to compare with.

use super::spec::BatchSpec;
use crate::example::{IGNORE_INDEX, Piece};
use crate::recipe::{Labels, LossWeights};

/// What stands at one place of a row.
#[derive(Clone, Copy)]
struct Slot {
    id: i64,
    segment: i32,
    position: i32,
    real: bool,
    trained: bool,
    weight: f32,
}

/// All that a batch of these rows must hold. Rows without pieces are filling rows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expected {
    pub(super) input_ids: Vec<i64>,
    pub(super) labels: Vec<i64>,
    pub(super) shift_labels: Vec<i64>,
    /// In the form of the labels that the spec asks for; none where it asks for no weights.
    pub(super) loss_weights: Option<Vec<f32>>,
    pub(super) position_ids: Vec<i32>,
    pub(super) segment_ids: Vec<i32>,
    pub(super) cu_seqlens: Vec<i32>,
    pub(super) max_seqlen: usize,
    pub(super) segment_lengths: Vec<i32>,
    pub(super) num_tokens: u64,
    pub(super) num_label_tokens: u64,
    pub(super) provenance: Vec<i64>,
    pub(super) digest: u128,
}

impl Expected {
    pub(super) fn of(spec: &BatchSpec, rows: &[(u64, Vec<Piece>)]) -> Self {
        let mut expected = Expected::default();
        let weighed = spec.loss_weights == LossWeights::Use;
        expected.loss_weights = weighed.then(Vec::new);
        for (row, (number, pieces)) in rows.iter().enumerate() {
            let slots = slots(spec, pieces);
            expected.add_tensors(&slots);
            if let Some(weights) = &mut expected.loss_weights {
                let shifted = usize::from(spec.labels == Labels::Shifted);
                weights.extend((0..slots.len()).map(|t| match slots.get(t + shifted) {
                    Some(slot) if slot.segment == slots[t].segment => slot.weight,
                    _ => 0.0,
                }));
            }
            for piece in pieces {
                let origin = piece.example.origin;
                expected.provenance.extend([
                    i64::from(origin.source),
                    i64::from(origin.shard),
                    origin.block as i64,
                    origin.record as i64,
                    i64::from(origin.example),
                    origin.epoch as i64,
                    i64::from(piece.tokens.start),
                    i64::from(piece.tokens.end - 1),
                    row as i64,
                ]);
            }
            if !pieces.is_empty() {
                expected.digest = expected.digest.wrapping_add(hash(*number, &slots, weighed));
            }
        }
        expected.cu_seqlens.push(expected.input_ids.len() as i32);
        let runs = expected.cu_seqlens.windows(2).map(|run| run[1] - run[0]);
        expected.max_seqlen = runs.max().unwrap() as usize;
        expected
    }

    fn add_tensors(&mut self, slots: &[Slot]) {
        for (t, slot) in slots.iter().enumerate() {
            if t == 0 || slots[t - 1].segment != slot.segment {
                self.cu_seqlens.push(self.input_ids.len() as i32);
                self.segment_lengths.push(0);
            }
            self.input_ids.push(slot.id);
            self.labels.push(label(slot));
            self.shift_labels.push(match slots.get(t + 1) {
                Some(next) if next.segment == slot.segment => label(next),
                _ => i64::from(IGNORE_INDEX),
            });
            self.position_ids.push(slot.position);
            self.segment_ids.push(slot.segment);
            *self.segment_lengths.last_mut().unwrap() += i32::from(slot.real);
            self.num_tokens += u64::from(slot.real);
            self.num_label_tokens += u64::from(slot.trained);
        }
    }
}

fn label(slot: &Slot) -> i64 {
    if slot.trained {
        slot.id
    } else {
        i64::from(IGNORE_INDEX)
    }
}

fn slots(spec: &BatchSpec, pieces: &[Piece]) -> Vec<Slot> {
    let padding = Slot {
        id: i64::from(spec.pad_id),
        segment: 0,
        position: 0,
        real: false,
        trained: false,
        weight: 0.0,
    };
    let mut slots = Vec::new();
    for (k, piece) in pieces.iter().enumerate() {
        let mut position = 0;
        while position < piece.len() || position % spec.segment_multiple != 0 {
            let mut slot = Slot {
                segment: k as i32 + 1,
                position: position as i32,
                ..padding
            };
            if position < piece.len() {
                let at = piece.tokens.start + position as u32;
                slot.id = i64::from(piece.example.ids[at as usize]);
                slot.real = true;
                let within = piece.example.trained.iter().any(|span| span.contains(&at));
                slot.trained = position > 0 && within;
                if slot.trained {
                    let own = piece
                        .example
                        .weights
                        .iter()
                        .find(|w| w.tokens.contains(&at));
                    slot.weight = own.map_or(1.0, |own| own.weight.get());
                }
            }
            slots.push(slot);
            position += 1;
        }
    }
    for position in 0..spec.sequence_length - slots.len() {
        slots.push(Slot {
            position: position as i32,
            ..padding
        });
    }
    slots
}

/// The row's hash in one shot over its bytes.
fn hash(number: u64, slots: &[Slot], weighed: bool) -> u128 {
    let mut bytes = number.to_le_bytes().to_vec();
    let mut put = |value: &dyn Fn(&Slot) -> i32| {
        for slot in slots {
            bytes.extend(value(slot).to_le_bytes());
        }
    };
    put(&|slot| slot.id as i32);
    put(&|slot| label(slot) as i32);
    put(&|slot| slot.position);
    put(&|slot| slot.segment);
    if weighed {
        put(&|slot| slot.weight.to_bits() as i32);
    }
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
