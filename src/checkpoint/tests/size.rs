//! How large a checkpoint is at most.

use super::super::state::{Pooled, StreamState};
use super::{recipe, source, state, tokenizer};
use crate::checkpoint::Fingerprint;
use crate::ledger::Reason;

const FAR: u64 = 1_000_000_000_000;

/// A pool of 128 examples as it is in practice: held sources have a record a block, so examples lie one behind
/// the other; in streamed ones most are of the last blocks, at any place.
fn pool(streams: u32, held: bool) -> Vec<Pooled> {
    let example = |index: u64| Pooled {
        stream: (index % u64::from(streams)) as u32,
        position: FAR
            - if held {
                300 - index * 2
            } else {
                5 - index / 32
            },
        place: if held { 0 } else { 10_000 + index },
        example: u32::from(index.is_multiple_of(5)),
        first: if index.is_multiple_of(9) { 4096 } else { 0 },
    };
    (0..128).map(example).collect()
}

#[test]
fn a_pooled_example_takes_16_bytes_a_cursor_64() {
    for (names, held) in [
        (&["a"][..], true),
        (&["a"], false),
        (&["a", "b", "c"], false),
    ] {
        let mut full = state(names, 1, 0, 1, FAR);
        let lane = &mut full.lanes[0];
        lane.streams = vec![
            StreamState {
                position: FAR,
                place: 99_999,
                drawn: FAR,
                barren: (4096, 64),
            };
            names.len()
        ];
        lane.bad = vec![(FAR, 12); names.len()];
        let cursors = full.to_text().len();
        full.lanes[0].pool = pool(names.len() as u32, held);
        let pooled = full.to_text().len() - cursors;
        assert!(pooled <= 128 * 16, "{pooled} bytes for 128 pooled examples");

        full.lanes[0].streams.clear();
        full.lanes[0].bad.clear();
        full.lanes[0].pool.clear();
        let cursors = cursors - full.to_text().len();
        let bytes = cursors.div_ceil(names.len());
        assert!(bytes <= 64, "{bytes} bytes for cursor and counts");
    }
}

#[test]
fn a_source_takes_1_kib() {
    let size = |names: &[&str], examples_more: u64| {
        let mut recipe = recipe(names, 64);
        for config in &mut recipe.sources {
            config.limit = Some(1_000_000);
            config.roles.insert("human".to_owned(), "user".to_owned());
            config
                .roles
                .insert("gpt".to_owned(), "assistant".to_owned());
            config.fields.messages = "conversations".to_owned();
        }
        recipe
            .template
            .kwargs
            .insert("enable_thinking".to_owned(), false.into());
        let prints: Vec<_> = names.iter().map(|name| source(name, 1000)).collect();
        let mut state = state(names, 64, 0, 64, 0);
        state.lanes.clear();
        state.fingerprint = Fingerprint::of(&recipe, &prints, &tokenizer());
        for (_, account) in &mut state.ledger.sources {
            for (count, all) in [
                (&mut account.records, 12_345_678_901),
                (&mut account.tokens, 12_345_678_901_234),
            ] {
                count.taken = all;
                count.delivered = all - 3 * 12_345;
                count.truncated = 0;
                count.pending = 12_345;
                count.dropped.insert(Reason::NoTrainedToken, 12_345);
                count.dropped.insert(Reason::Overlong, 12_345);
            }
            account.tokens.truncated = 123_456_789;
            account.tokens.delivered -= 123_456_789;
            account.examples = account.records.clone();
            account.examples.taken += examples_more;
            account.examples.delivered += examples_more;
        }
        state.to_text().len()
    };
    let a_source = |examples_more| {
        let one = size(&["gsm8k"], examples_more);
        size(&["gsm8k", "openmath-instruct"], examples_more) - one
    };
    let bytes = a_source(0);
    assert!(bytes <= 1024, "{bytes} bytes a source");
    // With `render: per_turn` the account of examples comes to it.
    let bytes = a_source(10);
    assert!(bytes <= 1024, "{bytes} bytes a source");
}
