//! The batch stage alone: writing rows and hashing them, in tokens a second of one thread.
//!
//! The corpora are told apart by character: short chats (many segments a row, many trained spans), long
//! documents (few of either). Rows are made beforehand; buffers come from the pool, as in a run.

#![allow(
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to measure"
)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use packmill::batch::{Batch, BatchSpec, BatchWriter, BufferPool, IdWidth, adapters};
use packmill::recipe::Labels;
use packmill::{Example, Origin, Piece};
use std::hint::black_box;

const ROWS: usize = 8;
const SEQUENCE_LENGTH: usize = 4096;

/// A row of examples of `length` tokens, in turns of `turn` tokens, every second one trained.
fn row(length: u32, turn: u32) -> Vec<Piece> {
    let pieces = SEQUENCE_LENGTH as u32 / length;
    let example = |piece| Example {
        origin: Origin::default(),
        ids: (0..length)
            .map(|token| (piece * 7919 + token * 31) % 151_000)
            .collect(),
        trained: (0..length)
            .step_by(turn as usize)
            .skip(1)
            .step_by(2)
            .map(|start| start..(start + turn).min(length))
            .collect(),
        weights: vec![],
        protected: vec![],
    };
    (0..pieces)
        .map(|piece| Piece::whole(example(piece)))
        .collect()
}

fn spec(labels: Labels, width: IdWidth) -> BatchSpec {
    BatchSpec {
        rows: ROWS,
        sequence_length: SEQUENCE_LENGTH,
        pad_id: 0,
        labels,
        loss_weights: packmill::recipe::LossWeights::Refuse,
        width,
        segment_multiple: 1,
        max_segments: None,
    }
}

fn write(writer: &mut BatchWriter, rows: &[Vec<Piece>]) -> Batch {
    for (number, row) in (0..).zip(rows) {
        writer.push_row(number, row).expect("rows fit");
    }
    writer.finish().expect("all rows are there")
}

fn write_and_digest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch/write_and_digest");
    group.throughput(Throughput::Elements((ROWS * SEQUENCE_LENGTH) as u64));
    for (corpus, length, turn) in [("short_chats", 250, 40), ("long_documents", 4000, 1000)] {
        let rows: Vec<_> = (0..ROWS).map(|_| row(length, turn)).collect();
        for labels in [Labels::Aligned, Labels::Shifted] {
            for width in [IdWidth::I32, IdWidth::I64] {
                let name = format!("{labels:?}/{width:?}");
                group.bench_with_input(BenchmarkId::new(corpus, name), &rows, |bencher, rows| {
                    let spec = spec(labels, width);
                    let mut writer = BatchWriter::new(spec, BufferPool::new(2)).expect("valid");
                    bencher.iter(|| black_box(write(&mut writer, rows).digest()));
                });
            }
        }
    }
    group.finish();
}

fn adapt(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch/adapters");
    group.throughput(Throughput::Elements((ROWS * SEQUENCE_LENGTH) as u64));
    let spec = spec(Labels::Aligned, IdWidth::I32);
    let mut writer = BatchWriter::new(spec, BufferPool::new(2)).expect("valid");
    let rows: Vec<_> = (0..ROWS).map(|_| row(250, 40)).collect();
    let batch = write(&mut writer, &rows);
    group.bench_function("hf_flash", |bencher| {
        bencher.iter(|| adapters::hf_flash::hf_flash(black_box(&batch)));
    });
    group.bench_function("megatron", |bencher| {
        let parallel = adapters::megatron::TokenParallel {
            context: 1,
            sequence: 1,
        };
        bencher.iter(|| adapters::megatron::megatron_thd(black_box(&batch), parallel));
    });
    group.bench_function("maxtext", |bencher| {
        bencher.iter(|| adapters::maxtext::maxtext(black_box(&batch)));
    });
    group.finish();
}

criterion_group!(benches, write_and_digest, adapt);
criterion_main!(benches);
