//! The writer against its naive twin, and the rules by name.

use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;

use super::naive::Expected;
use super::*;
use crate::error::Kind;
use crate::example::{Ends, Example, LossWeight, Origin, Piece, Span, TokenId, Weighted};

/// Rows of `rows × sequence_length` i32, aligned, nothing padded to a multiple.
pub(super) fn spec(rows: usize, sequence_length: usize) -> BatchSpec {
    BatchSpec {
        rows,
        sequence_length,
        pad_id: 0,
        labels: Labels::Aligned,
        loss_weights: LossWeights::Refuse,
        width: IdWidth::I32,
        segment_multiple: 1,
        max_segments: None,
    }
}

/// A whole example with these ids and trained spans.
pub(super) fn piece(ids: Range<TokenId>, trained: &[Span]) -> Piece {
    Piece::whole(Example {
        origin: Origin::default(),
        ids: ids.collect(),
        trained: trained.to_vec(),
        weights: vec![],
        protected: vec![],
    })
}

/// A batch of these rows, numbered from 0; rows without pieces are filling rows.
pub(super) fn batch(spec: BatchSpec, rows: &[Vec<Piece>]) -> Batch {
    let mut writer = BatchWriter::new(spec, BufferPool::new(4)).unwrap();
    write(&mut writer, &numbered(rows))
}

/// Two rows of 8: segments of 3 and 2 with 3 of padding, and one of 8.
pub(super) fn two_rows(spec: BatchSpec) -> Batch {
    let first = vec![piece(11..14, &[1..3]), piece(21..23, &[0..2])];
    batch(spec, &[first, vec![piece(31..39, &[2..4, 6..8])]])
}

/// Rows with their numbers in the stream.
type NumberedRows = Vec<(u64, Vec<Piece>)>;

fn numbered(rows: &[Vec<Piece>]) -> NumberedRows {
    (0..).zip(rows.iter().cloned()).collect()
}

fn write(writer: &mut BatchWriter, rows: &[(u64, Vec<Piece>)]) -> Batch {
    for (number, pieces) in rows {
        if pieces.is_empty() {
            writer.push_filling_row().unwrap();
        } else {
            writer.push_row(*number, pieces).unwrap();
        }
    }
    writer.finish().unwrap()
}

/// What the twin says, seen in a batch: the label form that it lacks is taken from the twin itself.
fn seen(batch: &Batch, expected: &Expected) -> Expected {
    let list = |ids: Option<Ids<'_>>, other: &[i64]| {
        ids.map_or_else(|| other.to_vec(), |ids| ids.iter().collect())
    };
    Expected {
        input_ids: batch.input_ids().iter().collect(),
        labels: list(batch.labels(), &expected.labels),
        shift_labels: list(batch.shift_labels(), &expected.shift_labels),
        loss_weights: batch.loss_weights().map(<[f32]>::to_vec),
        position_ids: batch.position_ids().to_vec(),
        segment_ids: batch.segment_ids().to_vec(),
        cu_seqlens: batch.cu_seqlens().to_vec(),
        max_seqlen: batch.max_seqlen(),
        segment_lengths: batch.segment_lengths().to_vec(),
        num_tokens: batch.num_tokens(),
        num_label_tokens: batch.num_label_tokens(),
        provenance: batch.provenance().to_vec(),
        digest: u128::from_str_radix(&batch.digest().to_string(), 16).unwrap(),
    }
}

/// A piece of up to `most` tokens of an example that goes on before and behind it.
fn any_piece(most: usize) -> impl Strategy<Value = Piece> {
    let token = (any::<u16>(), any::<bool>(), 0_u8..5);
    let example = prop::collection::vec(token, 1..=most + 4);
    let origin = (0_u32..3, any::<u32>(), any::<u32>(), 0_u32..3);
    (example, any::<prop::sample::Index>(), 1..=most, origin).prop_map(
        |(tokens, start, length, origin)| {
            let start = start.index(tokens.len());
            let end = (start + length).min(tokens.len());
            let (source, block, record, example) = origin;
            let mut trained: Vec<Span> = vec![];
            for (at, _) in (0..).zip(&tokens).filter(|(_, token)| token.1) {
                match trained.last_mut() {
                    Some(span) if span.end == at => span.end += 1,
                    _ => trained.push(at..at + 1),
                }
            }
            let lighter = trained.iter().flat_map(|span| span.clone());
            let lighter = lighter.filter_map(|at| {
                let weight = f64::from(tokens[at as usize].2) / 4.0;
                let weight = LossWeight::new(weight).filter(|weight| *weight < LossWeight::ONE)?;
                Some(Weighted {
                    tokens: at..at + 1,
                    weight,
                })
            });
            let weights = lighter.collect();
            Piece {
                example: Arc::new(Example {
                    origin: Origin {
                        source,
                        shard: block / 7,
                        block: u64::from(block),
                        record: u64::from(record),
                        example,
                        epoch: 1,
                        ..Origin::default()
                    },
                    ids: tokens.iter().map(|token| u32::from(token.0)).collect(),
                    trained,
                    weights,
                    protected: vec![],
                }),
                tokens: start as u32..end as u32,
                ends: Ends::Record,
            }
        },
    )
}

/// A spec and the rows of several batches that fit it.
fn any_batches() -> impl Strategy<Value = (BatchSpec, Vec<NumberedRows>)> {
    let shape = (
        1_usize..5,
        1_usize..9,
        prop::sample::select(vec![1_usize, 2, 3, 8]),
    );
    let form = (any::<bool>(), any::<bool>(), any::<bool>(), 0_u32..70_000);
    (shape, form).prop_flat_map(
        |((rows, multiples, multiple), (shifted, wide, weighed, pad_id))| {
            let spec = BatchSpec {
                rows,
                sequence_length: multiples * multiple,
                pad_id,
                labels: if shifted {
                    Labels::Shifted
                } else {
                    Labels::Aligned
                },
                loss_weights: if weighed {
                    LossWeights::Use
                } else {
                    LossWeights::Refuse
                },
                width: if wide { IdWidth::I64 } else { IdWidth::I32 },
                segment_multiple: multiple,
                max_segments: None,
            };
            let row = prop::collection::vec(any_piece(spec.sequence_length), 1..8);
            let row = (any::<u64>(), row).prop_map(move |(number, pieces)| {
                let mut room = spec.sequence_length;
                let fits = pieces.into_iter().filter(|piece| {
                    let padded = piece.len().next_multiple_of(multiple);
                    let fits = padded <= room;
                    room -= if fits { padded } else { 0 };
                    fits
                });
                (number, fits.collect::<Vec<_>>())
            });
            let batch =
                (prop::collection::vec(row, rows), 0..=rows).prop_map(|(mut rows, real)| {
                    rows.iter_mut().skip(real).for_each(|row| row.1.clear());
                    rows
                });
            (Just(spec), prop::collection::vec(batch, 1..4))
        },
    )
}

proptest! {
    #[test]
    fn equals_its_naive_twin((spec, batches) in any_batches()) {
        // One writer, and batches dropped at once: the second is written over the first one's bytes.
        let mut writer = BatchWriter::new(spec, BufferPool::new(2)).unwrap();
        for rows in &batches {
            let batch = write(&mut writer, rows);
            let expected = Expected::of(&spec, rows);
            prop_assert_eq!(seen(&batch, &expected), expected);
            let real = rows.iter().filter(|row| !row.1.is_empty());
            let numbers: Vec<u64> = real.map(|row| row.0).collect();
            prop_assert_eq!(batch.row_numbers(), numbers);
            prop_assert_eq!(batch.filling(), spec.rows - batch.row_numbers().len());
            let pieces = rows.iter().flat_map(|row| &row.1);
            prop_assert_eq!(batch.num_segments(), pieces.clone().count());
            prop_assert_eq!(batch.num_label_tokens(), pieces.map(Piece::num_label_tokens).sum::<u64>());
        }
    }

    #[test]
    fn the_digest_is_the_same_in_every_form((spec, batches) in any_batches()) {
        let mut digests = vec![];
        for labels in [Labels::Aligned, Labels::Shifted] {
            for width in [IdWidth::I32, IdWidth::I64] {
                let spec = BatchSpec { labels, width, ..spec };
                let mut writer = BatchWriter::new(spec, BufferPool::new(2)).unwrap();
                let batch = write(&mut writer, &batches[0]);
                let numbers = batch.row_numbers().iter().enumerate();
                let again = numbers.map(|(row, &n)| Digest::of_row(n, &batch.row(row).unwrap()));
                prop_assert_eq!(again.sum::<Digest>(), batch.digest());
                digests.push(batch.digest());
            }
        }
        prop_assert!(digests.iter().all(|digest| *digest == digests[0]));
    }
}

#[test]
fn r1_the_first_token_of_every_segment_has_no_label() {
    let batch = two_rows(spec(2, 8));
    let labels = batch.labels().unwrap().as_i32().unwrap();
    assert_eq!(labels[..8], [-100, 12, 13, -100, 22, -100, -100, -100]);
    assert_eq!(labels[8..], [-100, -100, 33, 34, -100, -100, 37, 38]);
}

#[test]
fn r2_shifted_labels_never_cross_a_segment() {
    let batch = two_rows(BatchSpec {
        labels: Labels::Shifted,
        ..spec(2, 8)
    });
    assert!(batch.labels().is_none());
    let labels = batch.shift_labels().unwrap().as_i32().unwrap();
    assert_eq!(labels[..8], [12, 13, -100, 22, -100, -100, -100, -100]);
    assert_eq!(labels[8..], [-100, 33, 34, -100, -100, 37, 38, -100]);
}

#[test]
fn weights_stand_where_their_labels_stand_and_are_0_elsewhere() {
    let light = |tokens, weight| Weighted {
        tokens,
        weight: LossWeight::new(weight).unwrap(),
    };
    let mut first = piece(11..15, &[0..3]);
    Arc::get_mut(&mut first.example).unwrap().weights = vec![light(0..2, 0.25)];
    let rows = [vec![first, piece(21..23, &[0..2])]];
    for (labels, expected) in [
        (Labels::Aligned, [0.0, 0.25, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        (Labels::Shifted, [0.25, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
    ] {
        let spec = BatchSpec {
            labels,
            loss_weights: LossWeights::Use,
            ..spec(1, 8)
        };
        assert_eq!(batch(spec, &rows).loss_weights(), Some(&expected[..]));
    }
    assert_eq!(batch(spec(1, 8), &rows).loss_weights(), None);
}

#[test]
fn r3_positions_restart_in_each_segment() {
    let batch = two_rows(spec(2, 8));
    assert_eq!(batch.position_ids()[..8], [0, 1, 2, 0, 1, 0, 1, 2]);
    assert_eq!(batch.position_ids()[8..], [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn r4_offsets_cover_the_flattened_batch_and_cut_at_every_row() {
    let batch = two_rows(spec(2, 8));
    assert_eq!(batch.cu_seqlens(), [0, 3, 5, 8, 16]);
    assert_eq!(batch.segment_lengths(), [3, 2, 0, 8]);
    assert_eq!(batch.max_seqlen(), 8);
}

#[test]
fn r5_padding_is_one_run_that_counts_up_in_segment_0() {
    let batch = batch(
        BatchSpec {
            pad_id: 7,
            ..spec(1, 6)
        },
        &[vec![piece(11..13, &[0..2])]],
    );
    assert_eq!(batch.input_ids(), Ids::I32(&[11, 12, 7, 7, 7, 7]));
    assert_eq!(
        batch.labels(),
        Some(Ids::I32(&[-100, 12, -100, -100, -100, -100]))
    );
    assert_eq!(batch.position_ids(), [0, 1, 0, 1, 2, 3]);
    assert_eq!(batch.segment_ids(), [1, 1, 0, 0, 0, 0]);
    assert_eq!(batch.cu_seqlens(), [0, 2, 6]);
}

#[test]
fn r8_a_real_token_with_the_pad_id_keeps_its_label() {
    let batch = batch(
        BatchSpec {
            pad_id: 12,
            ..spec(1, 4)
        },
        &[vec![piece(11..13, &[0..2])]],
    );
    assert_eq!(batch.input_ids(), Ids::I32(&[11, 12, 12, 12]));
    assert_eq!(batch.labels(), Some(Ids::I32(&[-100, 12, -100, -100])));
    assert_eq!((batch.num_tokens(), batch.num_label_tokens()), (2, 1));
}

#[test]
fn r29_a_segments_own_padding_keeps_its_segment_and_goes_on_counting() {
    let spec = BatchSpec {
        segment_multiple: 4,
        ..spec(1, 12)
    };
    let batch = batch(spec, &[vec![piece(11..14, &[0..3]), piece(21..22, &[])]]);
    assert_eq!(
        batch.input_ids(),
        Ids::I32(&[11, 12, 13, 0, 21, 0, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(
        batch.labels().unwrap().as_i32().unwrap()[..5],
        [-100, 12, 13, -100, -100]
    );
    assert_eq!(batch.position_ids(), [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
    assert_eq!(batch.segment_ids(), [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0]);
    assert_eq!(batch.cu_seqlens(), [0, 4, 8, 12]);
    assert_eq!(batch.segment_lengths(), [3, 1, 0]);
    assert_eq!(batch.num_tokens(), 4);
}

#[test]
fn r35_targets_are_counted_after_the_shift() {
    let batch = two_rows(spec(2, 8));
    assert_eq!(batch.num_label_tokens(), 2 + 1 + 4);
    assert_eq!(batch.num_tokens(), 3 + 2 + 8);
}

#[test]
fn a_filling_row_enters_no_figure_and_no_digest() {
    let row = vec![piece(11..14, &[1..3])];
    let alone = batch(spec(1, 4), std::slice::from_ref(&row));
    let filled = batch(spec(3, 4), &[row, vec![], vec![]]);
    assert_eq!(filled.filling(), 2);
    assert_eq!(filled.digest(), alone.digest());
    assert_eq!(filled.num_tokens(), alone.num_tokens());
    assert_eq!(filled.num_label_tokens(), alone.num_label_tokens());
    assert_eq!(filled.provenance(), alone.provenance());
    assert_eq!(filled.row_numbers(), [0]);
    assert_eq!(filled.cu_seqlens(), [0, 3, 4, 8, 12]);
    assert_eq!(filled.segment_ids()[4..], [0; 8]);
    assert_eq!(filled.position_ids()[4..], [0, 1, 2, 3, 0, 1, 2, 3]);
    assert!(
        filled
            .labels()
            .unwrap()
            .iter()
            .skip(4)
            .all(|label| label == -100)
    );
}

#[test]
fn provenance_names_the_tokens_of_a_cut_example() {
    let mut part = piece(11..21, &[1..9]);
    part.tokens = 4..7;
    let origin = Origin {
        source: 1,
        shard: 2,
        block: 3,
        record: 4,
        example: 5,
        epoch: 6,
        ..Origin::default()
    };
    Arc::make_mut(&mut part.example).origin = origin;
    let batch = batch(spec(2, 4), &[vec![piece(1..2, &[])], vec![part]]);
    assert_eq!(batch.provenance()[9..], [1, 2, 3, 4, 5, 6, 4, 6, 1]);
    assert_eq!(batch.input_ids().as_i32().unwrap()[4..], [15, 16, 17, 0]);
    assert_eq!(
        batch.labels().unwrap().as_i32().unwrap()[4..],
        [-100, 16, 17, -100]
    );
}

#[test]
fn the_digest_sees_number_ids_labels_and_cuts() {
    let digest = |number, pieces: &[Piece]| {
        let mut writer = BatchWriter::new(spec(1, 8), BufferPool::new(1)).unwrap();
        writer.push_row(number, pieces).unwrap();
        writer.finish().unwrap().digest()
    };
    let digests = [
        digest(0, &[piece(11..15, &[1..4])]),
        digest(1, &[piece(11..15, &[1..4])]),
        digest(0, &[piece(12..16, &[1..4])]),
        digest(0, &[piece(11..15, &[1..3])]),
        digest(0, &[piece(11..13, &[1..2]), piece(13..15, &[0..2])]),
    ];
    for (i, one) in digests.iter().enumerate() {
        assert!(digests[..i].iter().all(|other| other != one), "{i}");
    }
}

#[test]
fn every_tensor_begins_at_a_multiple_of_64_bytes() {
    for width in [IdWidth::I32, IdWidth::I64] {
        let batch = two_rows(BatchSpec {
            width,
            ..spec(2, 8)
        });
        for address in [
            batch.input_ids().as_bytes().as_ptr().addr(),
            batch.labels().unwrap().as_bytes().as_ptr().addr(),
            batch.position_ids().as_ptr().addr(),
            batch.segment_ids().as_ptr().addr(),
            batch.cu_seqlens().as_ptr().addr(),
            batch.segment_lengths().as_ptr().addr(),
            batch.provenance().as_ptr().addr(),
        ] {
            assert_eq!(address % 64, 0);
        }
    }
}

#[test]
fn a_dropped_batch_gives_its_buffers_back_from_any_thread() {
    let pool = BufferPool::new(2);
    let mut writer = BatchWriter::new(spec(1, 8), pool.clone()).unwrap();
    let mut next = |first: TokenId| {
        writer
            .push_row(0, &[piece(first..first + 3, &[1..3])])
            .unwrap();
        writer.finish().unwrap()
    };
    let (one, two, three) = (next(1), next(2), next(3));
    let memory = one.input_ids().as_bytes().as_ptr().addr();
    std::thread::spawn(move || drop(one)).join().unwrap();
    assert_eq!(pool.idle(), 1);
    let four = next(4);
    assert_eq!(four.input_ids().as_bytes().as_ptr().addr(), memory);
    assert_eq!(pool.idle(), 0);
    drop((two, three, four));
    assert_eq!(pool.idle(), 2);
}

#[test]
fn a_batch_may_go_to_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Batch>();
    shared::<BufferPool>();
    fn sent<T: Send>() {}
    sent::<BatchWriter>();
}

#[test]
fn an_id_above_31_bits_is_refused_and_leaves_the_batch_as_it_was() {
    for width in [IdWidth::I32, IdWidth::I64] {
        let mut writer = BatchWriter::new(
            BatchSpec {
                width,
                ..spec(2, 8)
            },
            BufferPool::new(1),
        )
        .unwrap();
        writer
            .push_row(0, &[piece(11..14, &[1..3]), piece(21..23, &[0..2])])
            .unwrap();
        let good = piece(5..7, &[0..2]);
        let bad = piece(u32::MAX - 1..u32::MAX, &[0..1]);
        assert_eq!(
            writer.push_row(1, &[good, bad]).unwrap_err().kind(),
            Kind::Limit
        );
        assert_eq!(writer.rows(), 1);
        writer.push_row(1, &[piece(31..39, &[2..4, 6..8])]).unwrap();
        let batch = writer.finish().unwrap();
        assert_eq!(batch.digest(), two_rows(spec(2, 8)).digest());
        assert_eq!(batch.cu_seqlens(), [0, 3, 5, 8, 16]);
    }
}

#[test]
fn what_no_packer_gives_is_an_error_and_no_panic() {
    let spec = BatchSpec {
        max_segments: Some(2),
        segment_multiple: 2,
        ..spec(2, 8)
    };
    let mut writer = BatchWriter::new(spec, BufferPool::new(1)).unwrap();
    let with = |tokens: Span| Piece {
        tokens,
        ..piece(1..9, &[])
    };
    let three = [with(0..1), with(0..1), with(0..1)];
    let too_long = [with(0..5), with(0..3)];
    let backwards = Span { start: 4, end: 2 };
    for row in [
        &[][..],
        &three,
        &too_long,
        &[with(3..3)],
        &[with(5..9)],
        &[with(backwards)],
    ] {
        assert_eq!(
            writer.push_row(0, row).unwrap_err().kind(),
            Kind::Internal,
            "{row:?}"
        );
    }
    assert_eq!(writer.finish().unwrap_err().kind(), Kind::Internal);
    writer.push_filling_row().unwrap();
    assert_eq!(
        writer.push_row(0, &[with(0..1)]).unwrap_err().kind(),
        Kind::Internal
    );
    assert!(writer.finish().is_err());
    writer.push_filling_row().unwrap();
    assert!(writer.is_full());
    assert_eq!(
        writer.push_filling_row().unwrap_err().kind(),
        Kind::Internal
    );
    assert_eq!(writer.finish().unwrap().filling(), 2);
}

#[test]
fn a_spec_that_no_batch_can_have_is_refused_with_a_remedy() {
    let good = spec(2, 8);
    assert!(good.validate().is_ok());
    for wrong in [
        BatchSpec { rows: 0, ..good },
        BatchSpec {
            sequence_length: 0,
            ..good
        },
        BatchSpec {
            segment_multiple: 0,
            ..good
        },
        BatchSpec {
            segment_multiple: 3,
            ..good
        },
        BatchSpec {
            max_segments: Some(0),
            ..good
        },
        BatchSpec {
            rows: 1 << 20,
            sequence_length: 1 << 11,
            ..good
        },
        BatchSpec {
            rows: usize::MAX,
            ..good
        },
        BatchSpec {
            pad_id: 1 << 31,
            ..good
        },
    ] {
        let error = wrong.validate().unwrap_err();
        assert_eq!(error.kind(), Kind::Recipe);
        assert!(error.to_string().contains("; "), "{error}");
        assert!(BatchWriter::new(wrong, BufferPool::new(1)).is_err());
    }
}
