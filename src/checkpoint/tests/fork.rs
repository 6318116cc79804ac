//! What a fork carries over, and what it refuses.

use super::*;
use crate::checkpoint::fork::{Carried, Encoding, Fit, carry};
use crate::checkpoint::whole::{Whole, merge};
use crate::recipe::{Duplicates, FilterConfig, Overlong, SplitConfig, Strategy, Train};

fn weighted(names: &[&str]) -> Recipe {
    let mut recipe = recipe(names, 4);
    for (weight, source) in (1..).zip(&mut recipe.sources) {
        source.weight = Some(weight * 1_000_000);
    }
    recipe
}

fn print(recipe: &Recipe) -> Fingerprint {
    let names = recipe.sources.iter().map(|config| config.name.as_str());
    let sources: Vec<SourcePrint> = names.map(|name| source(name, 3)).collect();
    Fingerprint::of(recipe, &sources, &tokenizer())
}

/// At row 40, source after source `n` blocks on, with one example of each in every pool.
fn whole(recipe: &Recipe) -> Whole {
    let names: Vec<&str> = recipe.sources.iter().map(|s| s.name.as_str()).collect();
    let mut state = state(&names, 4, 0, 1, 40);
    state.fingerprint = print(recipe);
    for lane in &mut state.lanes {
        lane.weights = 1;
        lane.streams = (1..=names.len() as u64)
            .map(|n| StreamState {
                position: 10 * n,
                drawn: 100 * n,
                ..StreamState::default()
            })
            .collect();
        lane.pool = (0..names.len() as u32)
            .map(|stream| Pooled {
                stream,
                position: u64::from(stream),
                ..Pooled::default()
            })
            .collect();
        lane.bad = (0..names.len() as u64).map(|n| (10 + n, n)).collect();
    }
    for (_, account) in &mut state.ledger.sources {
        (account.records.taken, account.records.pending) = (4, 4);
        (account.tokens.taken, account.tokens.pending) = (400, 400);
    }
    merge(vec![state]).unwrap()
}

fn carried(from: &Whole, recipe: &Recipe) -> Carried {
    carry(from, &print(recipe)).unwrap()
}

#[test]
fn an_unchanged_recipe_changes_nothing_but_the_history() {
    let recipe = weighted(&["a", "b"]);
    let from = whole(&recipe);
    let mut same = carried(&from, &recipe);
    assert_eq!(same.encodings, [Encoding::Same, Encoding::Same]);
    assert_eq!(same.fit, same.fit_before);
    let fork = same.whole.history.pop().unwrap();
    assert_eq!(
        (fork.step, fork.rows, &fork.fingerprint),
        (20, 40, &from.fingerprint)
    );
    assert_eq!(same.whole, from);
}

#[test]
fn sources_are_found_by_name() {
    let from = whole(&weighted(&["a", "b"]));
    let mut to = weighted(&["new", "b"]);
    to.sources.reverse();
    to.sources.push(to.sources[0].clone());
    to.sources[2].name = "a".to_owned();
    // b, new, a.
    let all = carried(&from, &to);
    let lane = &all.whole.lanes[3];
    let positions: Vec<u64> = lane.streams.iter().map(|stream| stream.position).collect();
    assert_eq!(positions, [20, 0, 10]);
    assert!(lane.weights == 0 && lane.streams.iter().all(|stream| stream.drawn == 0));
    let pooled: Vec<u32> = lane.pool.iter().map(|pooled| pooled.stream).collect();
    assert_eq!(
        (pooled, &lane.bad[..]),
        (vec![2, 0], &[(11, 1), (0, 0), (10, 0)][..])
    );
    assert!(all.removed.is_empty() && all.again.is_empty());
    // Without a.
    to.sources.pop();
    let without = carried(&all.whole, &to);
    assert_eq!(without.removed.len(), 1);
    let (name, account) = &without.whole.ledger.sources[2];
    assert_eq!((name.as_str(), account.records.pending), ("a", 0));
    assert_eq!(account.tokens.dropped[&Reason::SourceRemoved], 400);
    assert!(
        without.whole.lanes[0]
            .pool
            .iter()
            .all(|pooled| pooled.stream == 0)
    );
    assert_eq!(carried(&without.whole, &weighted(&["a"])).again, ["a"]);
}

#[test]
fn what_a_key_decides() {
    let recipe = weighted(&["a", "b"]);
    let from = whole(&recipe);
    let mut to = recipe.clone();
    to.mask.train = Train::All;
    to.sources[1].template = Some(crate::recipe::TemplateConfig {
        system: Some("Be brief.".to_owned()),
        ..to.template.clone()
    });
    to.pack.strategy = Strategy::None;
    to.pack.overlong = Overlong::Split;
    to.pack.sequence_length = 64;
    let all = carried(&from, &to);
    assert_eq!(all.encodings, [Encoding::Mask, Encoding::Tokens]);
    let (length, overlong) = (64, Overlong::Split);
    assert_eq!(all.fit, Fit::Rows { length, overlong });
    // The draw's account goes on, as its weights do.
    assert_eq!(all.whole.lanes, from.lanes);
    to.pack.strategy = Strategy::Concat;
    assert_eq!(carried(&from, &to).fit, Fit::Concat);
}

#[test]
fn what_may_not_change_is_named_all_at_once() {
    let recipe = weighted(&["a", "b"]);
    let from = whole(&recipe);
    let mut to = recipe.clone();
    (to.seed, to.lanes) = (18, 8);
    to.sources[0].limit = Some(9);
    let error = carry(&from, &print(&to)).unwrap_err().to_string();
    for named in [
        "seed: 17 in the checkpoint, 18",
        "lanes: 4",
        "source a: limit",
    ] {
        assert!(error.contains(named), "{named}: {error}");
    }
    let mut plain = recipe.clone();
    plain
        .sources
        .iter_mut()
        .for_each(|source| source.weight = None);
    let error = carry(&from, &print(&plain)).unwrap_err().to_string();
    assert!(error.contains("would be one list"), "{error}");
    let mut ended = from.clone();
    ended.lanes[2].ended = true;
    let error = carry(&ended, &print(&recipe)).unwrap_err().to_string();
    assert!(error.contains("earlier checkpoint"), "{error}");
}

/// What pools hold was taken in under the old rules, and would be read again under the new ones.
#[test]
fn what_is_left_out_may_not_change() {
    let mut before = weighted(&["a", "b"]);
    before.duplicates = Duplicates::Drop;
    let from = whole(&before);
    carried(&from, &before);
    let refused = |change: fn(&mut Recipe)| {
        let mut to = before.clone();
        change(&mut to);
        carry(&from, &print(&to)).unwrap_err().to_string()
    };
    let copies = "which of several copies stays depends on all sources";
    assert!(refused(|to| to.sources.truncate(1)).contains(copies));
    assert!(refused(|to| to.sources.reverse()).contains(copies));
    let keep = refused(|to| to.duplicates = Duplicates::Keep);
    assert!(
        keep.contains("duplicates: drop in the checkpoint"),
        "{keep}"
    );
    let split = refused(|to| {
        to.split = Some(SplitConfig {
            fraction: 0.1,
            ..SplitConfig::default()
        });
    });
    assert!(split.contains("split.fraction: not set"), "{split}");
    let filter = refused(|to| {
        to.filter = Some(FilterConfig {
            r#where: Some("a".to_owned()),
            ..FilterConfig::default()
        });
    });
    assert!(filter.contains("filter.where: not set"), "{filter}");
}
