use super::*;
use crate::Kind;
use crate::example::Ends;

#[test]
fn the_oldest_comes_first_and_the_rest_fills_the_row() {
    let config = PackConfig {
        lookahead: 6,
        ..config(Strategy::Knapsack, 20)
    };
    let rows = rows(&config, &[7, 12, 5, 8, 3, 10]);
    assert_eq!(all_lengths(&rows), [vec![7, 5, 8], vec![12, 3], vec![10]]);
}

#[test]
fn equal_subsets_give_way_to_the_older() {
    let config = PackConfig {
        lookahead: 7,
        ..config(Strategy::Knapsack, 12)
    };
    let rows = rows(&config, &[2, 6, 4, 6, 4, 4, 6]);
    assert_eq!(records(&rows[0]), [0, 1, 2]);
}

#[test]
fn a_segment_more_must_pay_for_itself() {
    // 990 of 1000 in one segment; two would hold 1000, ten tokens more, and cost 17.3 each: Σ l² / 48 Σ l.
    let config = PackConfig {
        lookahead: 4,
        ..config(Strategy::Knapsack, 2000)
    };
    let rows = rows(&config, &[1000, 10, 990, 990]);
    assert_eq!(all_lengths(&rows)[0], [1000, 990]);
}

#[test]
fn r24_no_more_rows_than_best_fit_decreasing() {
    // What lengths 5, 2, 3, 1 become in rows of 4, truncated and split.
    for (pieces, expected) in [
        (vec![4, 2, 3, 1], vec![vec![4], vec![2, 1], vec![3]]),
        (vec![4, 1, 2, 3, 1], vec![vec![4], vec![1, 3], vec![2, 1]]),
    ] {
        let rows = rows(&config(Strategy::Knapsack, 4), &pieces);
        assert_eq!(all_lengths(&rows), expected);
    }
}

#[test]
fn r25_a_row_need_not_be_a_power_of_two_long() {
    let config = PackConfig {
        lookahead: 8,
        ..config(Strategy::Knapsack, 1000)
    };
    let rows = rows(&config, &[333, 1000, 334, 333, 1, 999, 500, 500]);
    assert!(
        rows.iter()
            .all(|row| lengths(row).iter().sum::<usize>() == 1000)
    );
    assert_eq!(rows.len(), 4);
}

#[test]
fn r25_an_example_as_long_as_a_row_is_a_row() {
    let rows = rows(&config(Strategy::Knapsack, 8), &[8, 3, 8, 5]);
    assert_eq!(all_lengths(&rows), [vec![8], vec![3, 5], vec![8]]);
}

#[test]
fn r29_lengths_count_rounded_up() {
    let config = PackConfig {
        segment_multiple: 4,
        lookahead: 3,
        ..config(Strategy::Knapsack, 12)
    };
    let rows = rows(&config, &[5, 5, 4]);
    assert_eq!(all_lengths(&rows), [vec![5, 4], vec![5]]);
}

#[test]
fn none_gives_each_example_a_row() {
    let config = config(Strategy::None, 8);
    assert_eq!(all_lengths(&rows(&config, &[3, 8, 1])), [[3], [8], [1]]);
    let mut packer = packer(&config).unwrap();
    assert!(packer.wants());
    packer.push(piece(0, 3));
    assert!(!packer.wants());
    assert_eq!(packer.pool().len(), 1);
    assert_eq!(packer.drain().len(), 1);
}

#[test]
fn concat_joins_and_cuts_and_says_when_an_example_ends() {
    let rows = rows(&config(Strategy::Concat, 8), &[5, 6, 1, 9]);
    assert_eq!(all_lengths(&rows), [vec![5, 3], vec![3, 1, 4], vec![5]]);
    let ends: Vec<Vec<bool>> = rows
        .iter()
        .map(|r| r.segments.iter().map(|s| s.ends == Ends::Record).collect())
        .collect();
    assert_eq!(
        ends,
        [vec![true, false], vec![true, true, false], vec![true]]
    );
    assert_eq!(rows[1].segments[0].tokens, 3..6);
}

#[test]
fn concat_ends_a_row_before_a_protected_span() {
    let mut packer = packer(&config(Strategy::Concat, 8)).unwrap();
    let mut scratch = Scratch::default();
    let mut long = example(1, 12);
    long.protected = vec![1..6];
    packer.push(piece(0, 5));
    packer.push(Piece::whole(long));
    assert!(!packer.wants());
    assert_eq!(lengths(&packer.row(&mut scratch).unwrap()), [5, 1]);
    assert_eq!(packer.pool()[0].tokens, 1..12);
    assert_eq!(lengths(&packer.row(&mut scratch).unwrap()), [8]);
    assert!(packer.wants());
    assert_eq!(lengths(&packer.row(&mut scratch).unwrap()), [3]);
    assert!(packer.row(&mut scratch).is_none());
}

#[test]
fn impossible_configurations_are_refused() {
    let good = config(Strategy::Knapsack, 12);
    assert!(packer::<Piece>(&good).is_ok());
    for bad in [
        PackConfig {
            sequence_length: 0,
            ..good.clone()
        },
        PackConfig {
            sequence_length: 1 << 31,
            ..good.clone()
        },
        PackConfig {
            segment_multiple: 0,
            ..good.clone()
        },
        PackConfig {
            segment_multiple: 5,
            ..good.clone()
        },
        PackConfig {
            lookahead: 0,
            ..good.clone()
        },
        PackConfig {
            max_segments: Some(0),
            ..good.clone()
        },
    ] {
        let error = packer::<Piece>(&bad).err().unwrap();
        assert_eq!(error.kind(), Kind::Recipe);
    }
}

#[test]
fn wants_a_look_ahead_of_examples_and_two_rows_of_tokens() {
    let mut packer = packer(&config(Strategy::Knapsack, 100)).unwrap();
    for (record, length) in (0..).zip([50, 50, 50, 49]) {
        assert!(packer.wants());
        packer.push(piece(record, length));
    }
    assert!(packer.wants(), "199 tokens are not two rows' worth");
    assert_eq!((packer.lacks(1), packer.lacks(1000)), (1, 1));
    packer.push(piece(4, 1));
    assert!(!packer.wants());
    assert_eq!((packer.lacks(1), packer.lacks(1000)), (0, 0));
}

#[test]
fn short_examples_are_taken_up_to_4096_of_them() {
    let mut packer = packer(&config(Strategy::Knapsack, 1 << 20)).unwrap();
    for record in 0..4096 {
        assert!(packer.wants());
        packer.push(piece(record, 1));
    }
    assert!(!packer.wants());
    assert_eq!(
        packer.row(&mut Scratch::default()).unwrap().segments.len(),
        4096
    );
}
