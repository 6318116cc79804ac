//! Ranks' parts put together.

use super::super::whole::merge;
use super::state;
use crate::checkpoint::{Phase, State};

const NAMES: &[&str] = &["sgd", "gsm8k"];

fn parts(world: u32) -> Vec<State> {
    let part = |rank| {
        let mut part = state(NAMES, 8, rank, world, 37);
        part.digest = format!("{:032x}", 1u128 << rank).parse().unwrap();
        part
    };
    (0..world).map(part).collect()
}

fn refused(parts: Vec<State>) -> String {
    merge(parts).unwrap_err().to_string()
}

#[test]
fn the_same_whole_of_any_number_of_ranks_in_any_order() {
    let one = merge(parts(1)).unwrap();
    for world in [2, 4, 8] {
        let mut parts = parts(world);
        parts.reverse();
        let whole = merge(parts).unwrap();
        assert_eq!(whole.lanes, one.lanes);
        assert_eq!(whole.world_size, world);
        assert_eq!(
            whole.digest.to_string(),
            format!("{:032x}", (1u128 << world) - 1)
        );
    }
    let numbers: Vec<u32> = one.lanes.iter().map(|lane| lane.lane).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn what_rank_0_took_over_others_deliver() {
    let mut parts = parts(2);
    for part in &mut parts {
        part.since = 10;
    }
    let account = |part: &mut State, taken, delivered, pending| {
        let records = &mut part.ledger.sources[0].1.records;
        (records.taken, records.delivered, records.pending) = (taken, delivered, pending);
    };
    account(&mut parts[0], 10, 6, 4);
    account(&mut parts[1], 1, 3, -2);
    let whole = merge(parts.clone()).unwrap();
    let records = &whole.ledger.sources[0].1.records;
    assert_eq!(
        (records.taken, records.delivered, records.pending),
        (11, 9, 2)
    );
    let mut examples = parts.clone();
    (
        examples[1].ledger.sources[0].1.examples.delivered,
        examples[1].ledger.sources[0].1.examples.pending,
    ) = (1, -1);
    assert!(refused(examples).contains("do not add up"));
    account(&mut parts[1], 1, 6, -5);
    assert!(refused(parts).contains("do not add up"));
}

#[test]
fn what_does_not_belong_together_is_refused_and_named() {
    let with = |change: fn(&mut Vec<State>)| {
        let mut parts = parts(4);
        change(&mut parts);
        refused(parts)
    };
    for (message, expected) in [
        (refused(Vec::new()), "no rank's part"),
        (with(|p| drop(p.remove(2))), "rank 2 of 4 is missing"),
        (with(|p| drop(p.pop())), "rank 3 of 4 is missing"),
        (with(|p| p[1] = p[2].clone()), "rank 1 of 4 is missing"),
        (with(|p| p.push(p[1].clone())), "rank 1 of 4 is given twice"),
        (
            with(|p| p[1].step = 21),
            "rank 0 stands at step 20, rank 1 at 21",
        ),
        (
            with(|p| p[1].since = 3),
            "rank 0 stands at resumed row 0, rank 1 at 3",
        ),
        (
            with(|p| p[3] = state(NAMES, 8, 3, 4, 38)),
            "rank 0 stands at row 37, rank 3 at 38",
        ),
        (
            with(|p| p[1] = state(NAMES, 8, 1, 2, 37)),
            "rank 0 is of 4 ranks, rank 1 of 2",
        ),
        (
            with(|p| p[2].fingerprint = super::fingerprint(NAMES, 8, 4)),
            "rank 2 is of another stream than rank 0: source sgd: 3 shards",
        ),
        (with(|p| p[2].lanes[0].rows += 1), "rank 2: lane 2's 6 rows"),
        (
            with(|p| p[2].phase = Phase::LastPool { rows: 0 }),
            "rank 2: the last pool packs before",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}
