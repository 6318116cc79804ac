//! Sources with weights.

use super::*;

/// Three sources with weights, or two of them.
fn mixed(corpus: &Corpus, weights: &[(&str, u32)], more: &str) -> Recipe {
    let chats = chats(300);
    let lines: Vec<&str> = chats.split_inclusive('\n').collect();
    for (name, part) in [
        ("a", &lines[..160]),
        ("b", &lines[160..220]),
        ("c", &lines[220..]),
    ] {
        corpus.write(&format!("{name}.jsonl"), part.concat().as_bytes());
    }
    let sources: String = weights
        .iter()
        .map(|(name, weight)| {
            format!("  - {{name: {name}, paths: [{name}.jsonl], weight: {weight}}}\n")
        })
        .collect();
    let text = format!(
        "version: 1\ntokenizer: tokenizer\nsources:\n{sources}pack: {{sequence_length: 512, lookahead: 6}}\nbatch: {{rows: 1}}\nlanes: 4\nworkers: 2\n{more}\n"
    );
    Recipe::parse(&text, corpus.dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Records delivered of each source by name: none twice an epoch, and as many as the ledger says.
fn once_an_epoch(parts: &[(&Delivered, &Recipe)], end: &Ledger) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<(String, i64, i64), u64> = BTreeMap::new();
    for (delivered, recipe) in parts {
        for (&(source, record, epoch), runs) in *delivered {
            assert_eq!(runs.len(), 1);
            let name = recipe.sources[source as usize].name.clone();
            *all.entry((name, record, epoch)).or_default() += 1;
        }
    }
    assert!(all.values().all(|&times| times == 1), "a record came twice");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (name, _, _) in all.into_keys() {
        *counts.entry(name).or_default() += 1;
    }
    for (name, account) in &end.sources {
        let records = &account.records;
        assert_eq!(
            counts.get(name).copied().unwrap_or(0),
            records.delivered,
            "{name}"
        );
        assert_eq!(
            records.taken,
            records.delivered + records.dropped.values().sum::<u64>() + records.pending as u64
        );
    }
    counts
}

#[test]
fn weights_change_at_a_row_and_every_record_comes_once_an_epoch() {
    let corpus = Corpus::new();
    let before = mixed(&corpus, &[("a", 5), ("b", 2), ("c", 3)], "");
    let (mut first, mut second) = (Delivered::new(), Delivered::new());
    let at = stream(&corpus, &before, None, Some(20), 2, &mut first);
    // In another order, and b nearly alone.
    let after = mixed(
        &corpus,
        &[("c", 1), ("b", 30), ("a", 1)],
        "schedule: [{row: 30, weights: {b: 30, c: 1}}, {row: 90, weights: {a: 1, c: 1}}]",
    );
    let from = forked(&corpus, &at, &after);
    assert!(
        from.lanes
            .iter()
            .all(|lane| lane.streams.iter().all(|stream| stream.drawn == 0))
    );
    let end = stream(&corpus, &after, Some(&from), Some(80), 4, &mut second);
    once_an_epoch(&[(&first, &before), (&second, &after)], &end.ledger);
    // Each source's records came without a gap: what the lanes took is what the ledger counts.
    for (stream, (name, account)) in end.ledger.sources.iter().enumerate() {
        let cursors = end.lanes.iter().map(|lane| lane.streams[stream].position);
        assert_eq!(cursors.sum::<u64>(), account.records.taken, "{name}");
    }
    let taken = |whole: &Whole, name: &str| {
        let account = whole.ledger.sources.iter().find(|(known, _)| known == name);
        account.unwrap().1.records.taken
    };
    let at_90 = stream(
        &corpus,
        &after,
        Some(&from),
        Some(30),
        4,
        &mut Delivered::new(),
    );
    assert_eq!(taken(&at_90, "a"), taken(&at, "a"), "a weighs nothing");
    assert!(taken(&end, "a") > taken(&at, "a"));
    assert!(taken(&at_90, "b") - taken(&at, "b") > 10 * (taken(&at_90, "c") - taken(&at, "c")));
}

/// Pools of several sources, cut anew twice; the account of each follows token by token.
#[test]
fn a_mixture_is_cut_anew_source_by_source() {
    let corpus = Corpus::new();
    let recipe = |pack: &str| {
        let weights = [("a", 5), ("b", 2), ("c", 3)];
        let mut recipe = mixed(&corpus, &weights, "on_exhausted: stop");
        recipe.pack = packed_as(pack);
        recipe
    };
    let mut delivered = Delivered::new();
    let chain = [PACKS[0], PACKS[1], PACKS[6], PACKS[0]].map(recipe);
    let mut from: Option<Whole> = None;
    for (place, recipe) in chain.iter().enumerate() {
        let begun = from.map(|from| forked(&corpus, &from, recipe));
        let steps = (place < 3).then_some(12 * (place as u64 + 1));
        from = Some(stream(
            &corpus,
            recipe,
            begun.as_ref(),
            steps,
            1,
            &mut delivered,
        ));
    }
    let end = from.unwrap().ledger;
    for (source, (name, account)) in (0..).zip(&end.sources) {
        let mut tokens = 0;
        for (record, runs) in delivered.iter().filter(|(record, _)| record.0 == source) {
            let mut runs = runs.clone();
            runs.sort_by_key(|run| run.start);
            let apart = runs.windows(2).all(|pair| pair[0].end <= pair[1].start);
            assert!(apart, "{name}: {record:?} comes twice: {runs:?}");
            tokens += runs.iter().map(|run| run.end - run.start).sum::<i64>();
        }
        assert_eq!(account.tokens.delivered as i64, tokens, "{name}");
        assert_eq!(
            (account.records.pending, account.tokens.pending),
            (0, 0),
            "{name}"
        );
    }
    assert!(end.balanced());
}

#[test]
fn sources_come_and_go_and_stay_in_the_ledger() {
    let corpus = Corpus::new();
    let before = mixed(&corpus, &[("a", 5), ("b", 2)], "");
    let (mut first, mut second) = (Delivered::new(), Delivered::new());
    let at = stream(&corpus, &before, None, Some(20), 2, &mut first);
    let after = mixed(&corpus, &[("c", 3), ("a", 1)], "");
    let forked = carried(&corpus, &at, &after).unwrap();
    let pending = &at.ledger.sources[1].1;
    assert!(pending.records.pending > 0);
    let [removed] = forked.removed.as_slice() else {
        panic!("{:?}", forked.removed)
    };
    assert_eq!(removed.name, "b");
    assert_eq!(
        (removed.records as i64, removed.tokens as i64),
        (pending.records.pending, pending.tokens.pending)
    );
    let from = whole(&forked.state);
    let end = stream(&corpus, &after, Some(&from), Some(40), 2, &mut second);
    let names: Vec<&str> = end
        .ledger
        .sources
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["c", "a", "b"]);
    let b = &end.ledger.sources[2].1;
    assert_eq!(b.records.dropped[&Reason::SourceRemoved], removed.records);
    assert_eq!(b.tokens.dropped[&Reason::SourceRemoved], removed.tokens);
    assert_eq!((b.records.pending, b.tokens.pending), (0, 0));
    once_an_epoch(&[(&first, &before), (&second, &after)], &end.ledger);
    assert!(end.ledger.sources[0].1.records.delivered > 0, "c came");
    // It comes back, from its beginning.
    let back = carried(&corpus, &end, &before).unwrap();
    assert_eq!(back.again, ["b"]);
    assert_eq!(back.state.history.len(), 2);
}
