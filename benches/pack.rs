//! The packer alone, on lengths like those of short chats: mean 381, deviation 131.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use packmill::pack::{Row, Scratch, packer};
use packmill::recipe::{Overlong, PackConfig, Strategy};
use packmill::{Example, Origin, Piece};
use std::hint::black_box;
use std::sync::Arc;

/// About four million tokens.
const EXAMPLES: u64 = 10_000;

/// Pieces of normally distributed length (a sum of uniform numbers), 20 tokens at least. Packers look at lengths
/// alone, so the examples have no ids.
fn chats() -> Vec<Piece> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 33) as f64 / (1_u64 << 31) as f64
    };
    let mut piece = |record| {
        let normal = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let origin = Origin {
            record,
            ..Origin::default()
        };
        Piece {
            example: Arc::new(Example {
                origin,
                ids: Vec::new(),
                trained: Vec::new(),
                protected: Vec::new(),
            }),
            tokens: 0..(381.0 + 131.0 * normal).max(20.0) as u32,
            last: true,
        }
    };
    (0..EXAMPLES).map(&mut piece).collect()
}

fn pack(config: &PackConfig, scratch: &mut Scratch, pieces: Vec<Piece>) -> Vec<Row> {
    let Ok(mut packer) = packer(config) else {
        return Vec::new();
    };
    let mut pieces = pieces.into_iter();
    let mut rows = Vec::new();
    loop {
        while packer.wants() {
            let Some(piece) = pieces.next() else {
                return rows;
            };
            packer.push(piece);
        }
        rows.extend(packer.row(scratch));
    }
}

fn rows(criterion: &mut Criterion) {
    let pieces = chats();
    let tokens: usize = pieces.iter().map(Piece::len).sum();
    let mut scratch = Scratch::default();
    let mut group = criterion.benchmark_group("pack");
    group.throughput(Throughput::Elements(tokens as u64));
    for (name, strategy, sequence_length, lookahead) in [
        ("knapsack 4096", Strategy::Knapsack, 4096, 128),
        (
            "knapsack 4096, lookahead 256",
            Strategy::Knapsack,
            4096,
            256,
        ),
        ("knapsack 32768", Strategy::Knapsack, 32_768, 128),
        ("concat 4096", Strategy::Concat, 4096, 128),
    ] {
        let config = PackConfig {
            strategy,
            sequence_length,
            overlong: Overlong::Truncate,
            lookahead,
            segment_multiple: 1,
            max_segments: None,
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || pieces.clone(),
                |pieces| black_box(pack(&config, &mut scratch, pieces)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
