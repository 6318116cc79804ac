//! States that make sense, and what becomes of them.

use super::fingerprint::Fingerprint;
use super::history::Fork;
use super::print::{Form, ShardPrint, SourcePrint, TokenizerPrint};
use super::run::Run;
use super::state::{LaneState, Phase, Pooled, State, StreamState};
use crate::batch::Digest;
use crate::ledger::{Ledger, Reason};
use crate::recipe::{Recipe, SourceConfig, TokenizerConfig};
use proptest::prelude::*;

mod differences;

mod folder;

mod fork;

mod ranks;

mod size;

mod text;

/// A recipe of the sources named.
fn recipe(names: &[&str], lanes: u32) -> Recipe {
    let source = |name: &&str| SourceConfig {
        name: (*name).to_owned(),
        paths: vec![format!("{name}.jsonl")],
        ..SourceConfig::default()
    };
    Recipe {
        tokenizer: TokenizerConfig {
            path: "tokenizer".to_owned(),
            ..TokenizerConfig::default()
        },
        sources: names.iter().map(source).collect(),
        lanes,
        ..Recipe::default()
    }
}

/// A source of so many shards.
fn source(name: &str, shards: u64) -> SourcePrint {
    let shard = |index: u64| ShardPrint {
        name: format!("{name}-{index:05}.jsonl.zst"),
        bytes: 1_000_000_000 + index,
        hash: index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    };
    SourcePrint {
        form: Form::Held,
        blocks: 123_456_789,
        shards: (0..shards).map(shard).collect(),
        template: Some(0x0123_4567_89ab_cdef),
        function: None,
    }
}

fn tokenizer() -> TokenizerPrint {
    TokenizerPrint {
        version: "tokenizers 0.23.2".to_owned(),
        files: 17,
        special_tokens: vec![("eos_token".to_owned(), "<eos>".to_owned())],
        bos: None,
        eos: Some(3),
        pad: 0,
    }
}

fn fingerprint(names: &[&str], lanes: u32, shards: u64) -> Fingerprint {
    let sources: Vec<SourcePrint> = names.iter().map(|name| source(name, shards)).collect();
    Fingerprint::of(&recipe(names, lanes), &sources, &tokenizer())
}

/// Rows that a lane has made before row `rows` of an endless stream.
fn turns(rows: u64, lane: u32, lanes: u32) -> u64 {
    (0..u64::from(lanes))
        .map(|k| (rows / u64::from(lanes)) * u64::from(lanes) + k)
        .filter(|n| *n < rows && n % u64::from(lanes) == u64::from(lane))
        .count() as u64
        + rows / u64::from(lanes)
}

/// A rank's part at row `rows`, with empty pools.
fn state(names: &[&str], lanes: u32, rank: u32, world_size: u32, rows: u64) -> State {
    let lane = |lane| LaneState {
        lane,
        rows: turns(rows, lane, lanes),
        ended: false,
        weights: 0,
        streams: vec![StreamState {
            position: 9,
            ..StreamState::default()
        }],
        pool: Vec::new(),
        waiting: Vec::new(),
        carried: Vec::new(),
        bad: vec![(7, 1); names.len()],
    };
    State {
        fingerprint: fingerprint(names, lanes, 3),
        rank,
        world_size,
        step: 20,
        rows,
        since: 0,
        step_rows: Some(8),
        digest: Digest::default(),
        ledger: Ledger::new(names),
        phase: Phase::Lanes,
        lanes: (rank..lanes)
            .step_by(world_size as usize)
            .map(lane)
            .collect(),
        engine: "packmill 0.1.0, tokenizers 0.23.2, x86_64 \"linux\"".to_owned(),
        history: Vec::new(),
    }
}

/// States of all kinds: streams and pools as they come, finite and endless.
fn any_state() -> impl Strategy<Value = State> {
    let shape = (0u32..4, 0usize..4, 1u32..4, any::<bool>(), 0u64..1_000_000);
    shape
        .prop_flat_map(|(ranks, names, share, weighted, rows)| {
            let names: Vec<&str> = ["sgd", "gsm8k", "a \"b\"\n", "ünï"][..=names].to_vec();
            let world = 1 << ranks;
            let lanes = world * share;
            let streams = if weighted { names.len() } else { 1 };
            let lane_states =
                prop::collection::vec(lane_state(streams, names.len()), share as usize);
            let part = (
                lane_states,
                0..world,
                any::<bool>(),
                any_ledger(names.len()),
            );
            (
                part,
                Just((names, lanes, world, rows)),
                any::<u128>(),
                0u64..100,
            )
        })
        .prop_map(
            |((lane_states, rank, finite, accounts), (names, lanes, world, rows), digest, last)| {
                let mut state = state(&names, lanes, rank, world, rows);
                for (lane, made) in state.lanes.iter_mut().zip(lane_states) {
                    *lane = LaneState {
                        lane: lane.lane,
                        rows: lane.rows,
                        ..made
                    };
                }
                if finite && world == 1 {
                    state.lanes.iter_mut().for_each(|lane| lane.ended = true);
                    state.phase = Phase::LastPool { rows: last };
                    state.rows += last;
                }
                state.since = rows / 2;
                state.step_rows = (last % 2 == 0).then_some(last);
                if rank == 0 && last % 3 == 0 {
                    state.history = vec![Fork {
                        step: 3,
                        rows: 9,
                        fingerprint: fingerprint(&names, lanes, 2),
                    }];
                }
                state.digest = format!("{digest:032x}").parse().unwrap();
                for ((_, account), made) in state.ledger.sources.iter_mut().zip(accounts) {
                    *account = made;
                }
                state
            },
        )
}

fn any_ledger(sources: usize) -> impl Strategy<Value = Vec<crate::ledger::Account>> {
    let account = (0u64..1 << 40, 0u64..1 << 40, 0u64..1000, -1000i64..1000);
    let account = account.prop_map(|(taken, tokens, dropped, pending)| {
        let mut account = crate::ledger::Account::default();
        for (count, base) in [(&mut account.records, taken), (&mut account.tokens, tokens)] {
            count.delivered = base + 1000;
            count.pending = pending;
            count.taken = (base + 1000 + dropped).saturating_add_signed(pending);
            if dropped > 0 {
                count.dropped.insert(Reason::Overlong, dropped);
            }
        }
        account.unreadable.bytes = dropped;
        account
    });
    prop::collection::vec(account, sources)
}

fn lane_state(streams: usize, sources: usize) -> impl Strategy<Value = LaneState> {
    let cursor = (
        1u64..1_000_000_000_000,
        0u64..5000,
        0u64..1 << 50,
        0u64..5000,
        0u64..100,
    );
    let cursor = cursor.prop_map(|(position, place, drawn, records, blocks)| StreamState {
        position,
        place,
        drawn,
        barren: (records, blocks),
    });
    let taken = (
        0..streams as u32,
        0u64..200,
        0u64..2000,
        0u32..3,
        0u32..9000,
    );
    let bad = (0u64..1 << 50, 0u64..9).prop_map(|(records, bad)| (records + bad, bad));
    (
        prop::collection::vec(cursor, streams),
        prop::collection::vec(taken, 0..40),
        prop::collection::vec(bad, sources),
        0usize..40,
        0u32..3,
    )
        .prop_map(|(streams, taken, bad, waiting, weights)| {
            let mut pool: Vec<Pooled> = taken
                .into_iter()
                .map(|(stream, back, place, example, first)| Pooled {
                    stream,
                    position: streams[stream as usize].position.saturating_sub(1 + back),
                    place,
                    example,
                    first,
                })
                .collect();
            pool.sort_by_key(|p| (p.position, p.place, p.example, p.first, p.stream));
            pool.dedup();
            // Whatever begins at the first piece, and holds it alone.
            let carried = pool.first().map(|of| Run {
                of: *of,
                end: of.first + 1,
                last: weights == 1,
            });
            let waiting = pool.split_off(pool.len().saturating_sub(waiting));
            LaneState {
                lane: 0,
                rows: 0,
                ended: false,
                weights,
                streams,
                pool,
                waiting,
                carried: carried.into_iter().collect(),
                bad,
            }
        })
}
