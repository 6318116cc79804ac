use super::*;
use crate::example::{Ends, LossWeight, Span, Weighted};
use crate::pack::knapsack::Knapsack;
use crate::pack::naive;
use crate::pack::overlong::fit;
use crate::pack::subset::{self, Price, Reach};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy as _, any, prop_assert, prop_assert_eq, prop_oneof};
use proptest::proptest;
use proptest::test_runner::Config as ProptestConfig;

/// Spans within `0..length`, sorted and apart.
fn spans(length: u32) -> impl proptest::strategy::Strategy<Value = Vec<Span>> {
    vec((0..5_u32, 1..7_u32), 0..6).prop_map(move |steps| {
        let mut at = 0;
        let mut spans = Vec::new();
        for (gap, size) in steps {
            let start = at + gap;
            at = start + size;
            if at <= length {
                spans.push(start..at);
            }
        }
        spans
    })
}

fn any_example() -> impl proptest::strategy::Strategy<Value = Example> {
    (1..40_u32).prop_flat_map(|length| {
        (Just(length), spans(length), spans(length)).prop_map(|(length, trained, protected)| {
            let lighter = trained.iter().step_by(2).map(|span| Weighted {
                tokens: span.start..span.end.min(span.start + 3),
                weight: LossWeight::new(1.0 / f64::from(span.end + 1)).unwrap(),
            });
            Example {
                weights: lighter.collect(),
                trained,
                protected,
                ..example(0, length as usize)
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_best_subset_is_the_best_of_all(
        lengths in vec(1..90_u64, 1..12),
        room in 90..400_u64,
        most in 1..9_usize,
        cost in 0..40_u64,
        gain in 1..20_u64,
    ) {
        let wide: Vec<usize> = lengths.iter().map(|&l| l as usize).collect();
        let price = Price { tokens: u128::from(cost), scale: u128::from(gain) };
        let mut found = vec![99];
        subset::best(&wide, room as usize, most, price, &mut Reach::default(), &mut found);
        prop_assert_eq!(found, naive::best(&lengths, room, most, cost, gain));
    }

    #[test]
    fn knapsack_makes_the_rows_of_its_definition(
        (row, pool) in prop_oneof![1..40_usize, 100..300_usize].prop_flat_map(|row| {
            // Short ones alone, or any.
            let length = prop_oneof![1..=row, 1..=row.div_ceil(8)];
            (Just(row), vec(length, 1..13))
        }),
        multiple in 1..4_usize,
        max_segments in prop_oneof![Just(usize::MAX), 1..14_usize],
        choice in prop_oneof![Just(128_usize), 1..6_usize],
    ) {
        let config = PackConfig {
            segment_multiple: multiple,
            max_segments: (max_segments != usize::MAX).then_some(max_segments),
            ..config(Strategy::Knapsack, row * multiple)
        };
        let mut knapsack = Knapsack::new(&config);
        knapsack.limit_choice(choice);
        let mut held: Vec<(u64, u64)> = Vec::new();
        for (record, &length) in (0..).zip(&pool) {
            // Not all of a multiple is used.
            let tokens = length * multiple - usize::from(multiple > 1 && record % 2 == 0);
            knapsack.push(piece(record, tokens));
            held.push((record, length as u64));
        }
        let mut scratch = Scratch::default();
        while let Some(made) = knapsack.row(&mut scratch) {
            let lengths: Vec<u64> = held.iter().map(|&(_, length)| length).collect();
            let taken = naive::knapsack(&lengths, row as u64, choice, max_segments);
            let expected: Vec<u64> = taken.iter().map(|&i| held[i].0).collect();
            prop_assert_eq!(records(&made), expected);
            taken.iter().rev().for_each(|&i| { held.remove(i); });
            let pooled: Vec<u64> = knapsack.pool().iter().map(|p| p.example.origin.record).collect();
            prop_assert_eq!(pooled, held.iter().map(|&(record, _)| record).collect::<Vec<_>>());
        }
        prop_assert!(held.is_empty());
    }

    #[test]
    fn concat_makes_the_rows_of_its_definition(
        examples in vec(any_example(), 1..8),
        row in 6..20_usize,
        multiple in 1..4_usize,
        max_segments in prop_oneof![Just(usize::MAX), 1..4_usize],
    ) {
        let config = PackConfig {
            segment_multiple: multiple,
            max_segments: (max_segments != usize::MAX).then_some(max_segments),
            ..config(Strategy::Concat, row * multiple)
        };
        let mut packer = packer(&config).unwrap();
        let mut held: Vec<(u32, Vec<Span>)> = Vec::new();
        let mut joined: Vec<u32> = Vec::new();
        for example in examples {
            joined.extend(&example.ids);
            held.push((example.ids.len() as u32, example.protected.clone()));
            packer.push(Piece::whole(example));
        }
        let mut scratch = Scratch::default();
        let mut delivered: Vec<u32> = Vec::new();
        while let Some(made) = packer.row(&mut scratch) {
            let tokens = naive::concat(&held, config.sequence_length as u32, multiple as u32, max_segments);
            prop_assert_eq!(lengths(&made).iter().sum::<usize>(), tokens as usize);
            prop_assert!(tokens > 0);
            delivered.extend(made.segments.iter().flat_map(|s| s.ids().to_vec()));
            let mut rest = tokens;
            while rest > 0 {
                if held[0].0 <= rest {
                    rest -= held.remove(0).0;
                } else {
                    held[0].0 -= rest;
                    let left = held[0].1.iter().filter(|s| s.start >= rest).map(|s| s.start - rest..s.end - rest);
                    held[0].1 = left.collect();
                    rest = 0;
                }
            }
        }
        prop_assert_eq!(delivered, joined);
        prop_assert!(packer.wants());
    }

    #[test]
    fn r26_nothing_is_lost_or_delivered_twice(
        stream in vec(1..200_usize, 0..300),
        multiple in prop_oneof![Just(1_usize), Just(8)],
        max_segments in prop_oneof![Just(None), (1..5_usize).prop_map(Some)],
        lookahead in 1..50_usize,
        strategy in prop_oneof![Just(Strategy::Knapsack), Just(Strategy::Concat), Just(Strategy::None)],
    ) {
        let config = PackConfig { lookahead, segment_multiple: multiple, max_segments, ..config(strategy, 200) };
        let rows = rows(&config, &stream);
        let mut tokens = vec![0; stream.len()];
        let mut ends = vec![0; stream.len()];
        for row in &rows {
            prop_assert!(!row.segments.is_empty());
            prop_assert!(row.segments.len() <= max_segments.unwrap_or(usize::MAX));
            prop_assert!(lengths(row).iter().map(|l| l.next_multiple_of(multiple)).sum::<usize>() <= 200);
            prop_assert!(records(row).is_sorted());
            for segment in &row.segments {
                let record = segment.example.origin.record as usize;
                tokens[record] += segment.len();
                ends[record] += usize::from(segment.ends == Ends::Record);
            }
        }
        prop_assert_eq!(tokens, stream);
        prop_assert!(ends.iter().all(|&ends| ends == 1));
    }

    #[test]
    fn r27_a_pool_handed_over_goes_on_as_it_would_have(
        stream in vec(1..200_usize, 60..200),
        after in 0..10_usize,
        strategy in prop_oneof![Just(Strategy::Knapsack), Just(Strategy::Concat), Just(Strategy::None)],
    ) {
        let config = config(strategy, 200);
        let mut first = packer(&config).unwrap();
        let mut scratch = Scratch::default();
        let mut stream = (0..).zip(stream);
        let mut refill = |packer: &mut dyn Packer, other: Option<&mut dyn Packer>| {
            let mut taken = Vec::new();
            while packer.wants() && let Some((record, length)) = stream.next() {
                packer.push(piece(record, length));
                taken.push(piece(record, length));
            }
            if let Some(other) = other {
                taken.into_iter().for_each(|piece| other.push(piece));
            }
        };
        for _ in 0..after {
            refill(&mut *first, None);
            first.row(&mut scratch);
        }
        let mut second = packer(&config).unwrap();
        first.pool().iter().for_each(|piece| second.push(piece.clone()));
        loop {
            refill(&mut *first, Some(&mut *second));
            prop_assert_eq!(first.wants(), second.wants());
            let (one, other) = (first.row(&mut scratch), second.row(&mut Scratch::default()));
            prop_assert_eq!(one.as_ref().map(records), other.as_ref().map(records));
            prop_assert_eq!(one.as_ref().map(lengths), other.as_ref().map(lengths));
            if one.is_none() { break }
        }
    }

    #[test]
    fn every_token_is_kept_truncated_or_dropped(
        example in any_example(),
        row in 1..30_usize,
        policy in prop_oneof![
            Just(Overlong::Truncate), Just(Overlong::TruncateLeft), Just(Overlong::Split), Just(Overlong::Drop),
        ],
        with_bos in any::<bool>(),
    ) {
        let bos = with_bos.then_some(100);
        let tokens = example.len();
        let Ok(fitted) = fit(example.clone(), &overlong(policy, row), bos) else {
            prop_assert!(policy == Overlong::Split && example.protected.iter().any(|p| p.len() > row));
            return Ok(());
        };
        let kept: usize = fitted.pieces.iter().map(Piece::len).sum();
        prop_assert_eq!(kept as u64 + fitted.truncated_tokens + fitted.dropped_tokens, tokens as u64);
        prop_assert_eq!(fitted.pieces.is_empty(), fitted.dropped.is_some());
        prop_assert!(fitted.pieces.iter().all(|p| p.len() <= row && p.num_label_tokens() > 0));
        prop_assert_eq!(fitted.pieces.iter().filter(|p| p.ends == Ends::Record).count(), usize::from(!fitted.pieces.is_empty()));
        prop_assert!(fitted.pieces.last().is_none_or(|p| p.ends == Ends::Record));
        for piece in &fitted.pieces {
            let Span { start, end } = piece.tokens;
            for span in &piece.example.protected {
                prop_assert!(span.end <= start || end <= span.start || (start <= span.start && span.end <= end));
            }
            for span in piece.example.trained.iter().chain(&piece.example.protected) {
                prop_assert!(span.start < span.end && span.end as usize <= piece.example.len());
            }
            // Each token of a piece is one of the example's, and trained where that is.
            let place = |id: u32| id - 100;
            let weight = |example: &Example, at: u32| example.weights.iter().find(|w| w.tokens.contains(&at)).map(|w| w.weight);
            let trained = |example: &Example, at: u32| example.trained.iter().any(|s| s.contains(&at));
            for (at, &id) in (start..).zip(piece.ids()) {
                prop_assert_eq!(trained(&piece.example, at), trained(&example, place(id)));
                // The first token is no target, and may be a beginning-of-sequence token that was kept.
                if at > 0 {
                    prop_assert_eq!(weight(&piece.example, at), weight(&example, place(id)));
                }
            }
        }
        if policy == Overlong::Truncate && let [piece] = &fitted.pieces[..] {
            let beginning = naive::beginning(tokens as u32, row as u32, &example.protected);
            prop_assert_eq!(piece.tokens.clone(), 0..beginning);
        }
        if policy == Overlong::Split {
            let mut at = 0;
            for piece in &fitted.pieces {
                while at < piece.tokens.start {
                    at += naive_piece(&example, at, row);
                }
                prop_assert_eq!(at, piece.tokens.start);
                at += naive_piece(&example, at, row);
                prop_assert_eq!(at, piece.tokens.end);
            }
        }
    }
}

/// Length of the piece that splitting makes at `at`.
fn naive_piece(example: &Example, at: u32, row: usize) -> u32 {
    let rest: Vec<Span> = example
        .protected
        .iter()
        .filter(|s| s.start >= at)
        .map(|s| s.start - at..s.end - at)
        .collect();
    naive::beginning(example.len() as u32 - at, row as u32, &rest)
}
