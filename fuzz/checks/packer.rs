//! Rows of pieces, against the naive packer: the same rows from any lengths, and every token once.
//!
//! Input: strategy, row length, multiple, most segments, and then a byte or more a piece.

#[allow(dead_code, reason = "it has more twins than are compared here")]
#[path = "../../src/pack/naive.rs"]
mod naive;

use packmill::pack::{Packer, Scratch, packer as new_packer};
use packmill::recipe::{Overlong, PackConfig, Strategy};
use packmill::{Example, Origin, Piece, Span};

/// Knapsack's twin tries all subsets.
const MOST_PIECES: usize = 11;

pub(super) fn packer(data: &[u8]) {
    let [strategy, row, multiple, most, lengths @ ..] = data else {
        return;
    };
    let row = 1 + usize::from(*row);
    let multiple = 1 + usize::from(*multiple % 4);
    let most = (*most > 0).then(|| usize::from(*most % 16).max(1));
    let config = PackConfig {
        strategy: if strategy % 2 == 0 {
            Strategy::Knapsack
        } else {
            Strategy::Concat
        },
        sequence_length: row * multiple,
        overlong: Overlong::Truncate,
        lookahead: 4,
        segment_multiple: multiple,
        max_segments: most,
    };
    match config.strategy {
        Strategy::Knapsack => knapsack(&config, row, multiple, lengths),
        _ => concat(&config, lengths),
    }
}

fn piece(record: u64, tokens: usize, protected: Vec<Span>) -> Piece {
    Piece::whole(Example {
        origin: Origin {
            record,
            ..Origin::default()
        },
        ids: (0..).take(tokens).collect(),
        trained: vec![0..tokens as u32],
        weights: Vec::new(),
        protected,
    })
}

fn knapsack(config: &PackConfig, row: usize, multiple: usize, lengths: &[u8]) {
    let mut packer: Box<dyn Packer<Piece>> = new_packer(config).expect("it divides");
    // Record and length in multiples, oldest first.
    let mut held: Vec<(u64, u64)> = Vec::new();
    for (record, length) in (0..).zip(lengths.iter().take(MOST_PIECES)) {
        let length = 1 + usize::from(*length) % row;
        // Not all of a multiple is used.
        let tokens = length * multiple - usize::from(multiple > 1 && record % 2 == 0);
        packer.push(piece(record, tokens, Vec::new()));
        held.push((record, length as u64));
    }
    let mut scratch = Scratch::default();
    while let Some(made) = packer.row(&mut scratch) {
        let pool: Vec<u64> = held.iter().map(|(_, length)| *length).collect();
        let most = config.max_segments.unwrap_or(usize::MAX);
        let taken = naive::knapsack(&pool, row as u64, 128, most);
        let records = made
            .segments
            .iter()
            .map(|piece| piece.example.origin.record);
        assert!(
            records.eq(taken.iter().map(|at| held[*at].0)),
            "{held:?}: {taken:?}"
        );
        for at in taken.into_iter().rev() {
            held.remove(at);
        }
    }
    assert!(held.is_empty() && packer.pool().is_empty());
}

fn concat(config: &PackConfig, lengths: &[u8]) {
    let mut packer: Box<dyn Packer<Piece>> = new_packer(config).expect("it divides");
    let mut held: Vec<(u32, Vec<Span>)> = Vec::new();
    let mut pushed = 0;
    for (record, bytes) in (0..).zip(lengths.chunks(3).take(12)) {
        let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0));
        let tokens = 1 + byte(0) % 64;
        // A protected span must fit a row, or nothing could be cut anywhere.
        let start = byte(1) % tokens;
        let len = byte(2) % (config.sequence_length as u32).min(tokens - start).max(1);
        let protected: Vec<Span> = Some(start..start + len)
            .into_iter()
            .filter(|s| !s.is_empty())
            .collect();
        packer.push(piece(record, tokens as usize, protected.clone()));
        held.push((tokens, protected));
        pushed += u64::from(tokens);
    }
    let (mut scratch, mut delivered) = (Scratch::default(), 0);
    while let Some(made) = packer.row(&mut scratch) {
        let most = config.max_segments.unwrap_or(usize::MAX);
        let (length, multiple) = (
            config.sequence_length as u32,
            config.segment_multiple as u32,
        );
        let expected = naive::concat(&held, length, multiple, most);
        let tokens: usize = made.segments.iter().map(Piece::len).sum();
        if expected > 0 {
            assert_eq!(tokens as u32, expected, "{held:?}");
        }
        assert!(tokens > 0, "a row without a token");
        delivered += tokens as u64;
        advance(&mut held, tokens as u32);
    }
    assert_eq!(delivered, pushed);
}

/// Takes so many tokens from the front.
fn advance(held: &mut Vec<(u32, Vec<Span>)>, mut tokens: u32) {
    while tokens > 0 {
        let (length, protected) = &mut held[0];
        if *length <= tokens {
            tokens -= *length;
            held.remove(0);
            continue;
        }
        *length -= tokens;
        protected.retain(|span| span.start >= tokens);
        for span in protected.iter_mut() {
            *span = span.start - tokens..span.end - tokens;
        }
        tokens = 0;
    }
}
