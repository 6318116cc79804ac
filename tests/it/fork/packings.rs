//! Other rows, masks and templates.

use super::*;

#[test]
fn any_packing_into_any_other() {
    let corpus = Corpus::with_chats(RECORDS);
    let lengths = lengths(&corpus, "");
    for (before, first) in PACKS.iter().enumerate() {
        for (after, second) in PACKS.iter().enumerate() {
            for rows in [9, 14] {
                let what = format!("{first} to {second} at row {rows}");
                let mut delivered = Delivered::new();
                let recipe = packed(&corpus, first, "");
                let at = stream(&corpus, &recipe, None, Some(rows), 1, &mut delivered);
                let recipe = packed(&corpus, second, "");
                let from = forked(&corpus, &at, &recipe);
                assert_eq!((from.rows, from.digest), (at.rows, at.digest));
                assert_eq!(from.history.len(), 1);
                if before == after {
                    assert_eq!((&from.lanes, &from.ledger), (&at.lanes, &at.ledger));
                }
                // A checkpoint soon after holds what was carried over too.
                let next = stream(
                    &corpus,
                    &recipe,
                    Some(&from),
                    Some(rows + 5),
                    1,
                    &mut delivered,
                );
                assert_eq!(next.history, from.history);
                let end = stream(&corpus, &recipe, Some(&next), None, 1, &mut delivered);
                nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, &what);
            }
        }
    }
}

/// Chats in which questions are so long that whole pieces of a split one have nothing to learn from, and are dropped
/// between others.
fn with_long_questions() -> Corpus {
    let plain = chats(RECORDS);
    let longer = plain.lines().map(|line| {
        let mut chat: Value = serde_json::from_str(line).unwrap();
        for message in chat["messages"].as_array_mut().unwrap() {
            if message["role"] == "user" {
                message["content"] = "Why is that? ".repeat(18).into();
            }
        }
        format!("{chat}\n")
    });
    let corpus = Corpus::new();
    corpus.write("chats.jsonl", longer.collect::<String>().as_bytes());
    corpus
}

/// Pools hold some examples of a record, and others of it are delivered: they go on as they are, and to nothing that
/// would make others of them.
#[test]
fn examples_of_a_turn_each_go_on_and_are_not_fitted_anew() {
    let corpus = Corpus::with_chats(RECORDS);
    let per_turn = "render: per_turn";
    let lengths = lengths(&corpus, per_turn);
    let mut delivered = Delivered::new();
    let recipe = packed(&corpus, PACKS[0], per_turn);
    let at = stream(&corpus, &recipe, None, Some(14), 1, &mut delivered);
    let held = |lane: &packmill::checkpoint::LaneState| {
        lane.pool
            .iter()
            .chain(&lane.waiting)
            .any(|piece| piece.example > 0)
    };
    assert!(at.lanes.iter().any(held));
    let other = packed(
        &corpus,
        "{sequence_length: 512, lookahead: 40, max_segments: 9}",
        per_turn,
    );
    let from = forked(&corpus, &at, &other);
    let next = stream(&corpus, &other, Some(&from), Some(19), 1, &mut delivered);
    let end = stream(&corpus, &other, Some(&next), None, 1, &mut delivered);
    nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, "per turn");
    for (pack, more, named) in [
        (PACKS[1], per_turn, "keep pack.sequence_length"),
        (
            PACKS[0],
            "render: per_turn\nmask: {end_of_turn: false}",
            "and mask",
        ),
        (
            PACKS[0],
            "render: whole",
            "render: per_turn in the checkpoint",
        ),
    ] {
        let recipe = packed(&corpus, pack, more);
        let error = carried(&corpus, &at, &recipe).unwrap_err().to_string();
        assert!(error.contains(named), "{more}: {error}");
    }
}

#[test]
fn forks_of_forks() {
    let streamed = Corpus::new();
    streamed.write("chats.jsonl", &zstd_frames(&chats(RECORDS), 7));
    let corpora = [
        (Corpus::with_chats(RECORDS), ""),
        (with_long_questions(), ""),
        (streamed, "hold: 0"),
    ];
    let mut random = Random(7);
    for round in 0..45 {
        let (corpus, more) = &corpora[round % 3];
        let lengths = lengths(corpus, more);
        // Nearly all long chats would be dropped, and lanes end.
        let long = round % 3 == 1;
        let packs: Vec<&str> = PACKS
            .into_iter()
            .filter(|pack| !long || !pack.contains("drop"))
            .collect();
        let chain: Vec<&str> = (0..4).map(|_| packs[random.below(packs.len())]).collect();
        let mut delivered = Delivered::new();
        let mut from: Option<Whole> = None;
        for (place, pack) in chain.iter().enumerate() {
            let recipe = packed(corpus, pack, more);
            let begun = from.map(|from| forked(corpus, &from, &recipe));
            let steps = begun.as_ref().map_or(0, |whole| whole.step) + 2 + random.below(5) as u64;
            let steps = (place < 3).then_some(steps);
            from = Some(stream(
                corpus,
                &recipe,
                begun.as_ref(),
                steps,
                1,
                &mut delivered,
            ));
        }
        let end = from.unwrap();
        assert_eq!(end.history.len(), 3);
        nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, &format!("{chain:?}"));
    }
}

#[test]
fn another_mask_leaves_what_was_cut_where_it_was() {
    let corpus = Corpus::with_chats(RECORDS);
    let lengths = lengths(&corpus, "mask: {train: all}");
    let mut refused = 0;
    for pack in PACKS {
        for rows in [9, 14] {
            let mut delivered = Delivered::new();
            let recipe = packed(&corpus, pack, "mask: {train: all}");
            let at = stream(&corpus, &recipe, None, Some(rows), 1, &mut delivered);
            let recipe = packed(&corpus, PACKS[1], "mask: {train: last_assistant}");
            let from = match carried(&corpus, &at, &recipe) {
                Ok(forked) => whole(&forked.state),
                Err(error) => {
                    assert!(error.to_string().contains("another mask"), "{error}");
                    refused += 1;
                    continue;
                }
            };
            let end = stream(&corpus, &recipe, Some(&from), None, 1, &mut delivered);
            nothing_twice_nothing_lost(&delivered, &lengths, &end.ledger, pack);
        }
    }
    assert!(refused < 7, "{refused} of 14 refused");
}

#[test]
fn another_template_takes_whole_examples_anew_and_refuses_cut_ones() {
    let corpus = Corpus::with_chats(RECORDS);
    let short = "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    corpus.write("short.jinja", short.as_bytes());
    let mut delivered = Delivered::new();
    let recipe = packed(&corpus, PACKS[0], "");
    let at = stream(&corpus, &recipe, None, Some(9), 1, &mut delivered);
    let recipe = packed(&corpus, PACKS[0], "template: short.jinja");
    let from = forked(&corpus, &at, &recipe);
    let end = stream(&corpus, &recipe, Some(&from), None, 1, &mut delivered);
    assert_eq!(delivered.len(), RECORDS, "every record came");
    assert!(
        delivered.values().all(|runs| runs.len() == 1),
        "and none twice"
    );
    let account = &end.ledger.sources[0].1;
    assert_eq!(
        (account.records.delivered, account.tokens.pending),
        (RECORDS as u64, 0)
    );
    assert!(end.ledger.balanced());
    // Which tokens of a split example were delivered cannot be told in other tokens.
    let recipe = packed(&corpus, PACKS[1], "");
    let at = stream(&corpus, &recipe, None, Some(9), 1, &mut Delivered::new());
    let recipe = packed(&corpus, PACKS[1], "template: short.jinja");
    let error = carried(&corpus, &at, &recipe).unwrap_err().to_string();
    assert!(
        error.contains("delivered in part") && error.contains("keep tokenizer"),
        "{error}"
    );
}
