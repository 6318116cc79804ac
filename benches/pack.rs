//! The packer alone, on lengths like those of short chats: mean 381, deviation 131.

#[path = "common/lengths.rs"]
mod lengths;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lengths::{Random, piece};
use packmill::Piece;
use packmill::pack::{Row, Scratch, packer};
use packmill::recipe::{Overlong, PackConfig, Strategy};
use std::hint::black_box;

/// About four million tokens.
const EXAMPLES: u64 = 10_000;

fn chats() -> Vec<Piece> {
    let mut random = Random(1);
    (0..EXAMPLES)
        .map(|record| piece(record, random.chat()))
        .collect()
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
