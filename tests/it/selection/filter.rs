//! `filter`: by tokens, turns and fields.

use super::*;

/// A condition, and the plain loop's.
type Condition = (&'static str, fn(&Value) -> bool);

const CONDITIONS: [Condition; 4] = [
    ("quality is defined and quality > 0.5", |row| {
        row["quality"].as_f64().is_some_and(|quality| quality > 0.5)
    }),
    (
        "meta.lang in ['en', 'ja'] or quality | default(0) >= 0.3",
        |row| row["meta"]["lang"] != "de" || row["quality"].as_f64().unwrap_or(0.0) >= 0.3,
    ),
    (
        "messages | length > 5 and messages[-1].content | length < 60",
        |row| {
            let messages = row["messages"].as_array().unwrap();
            let last = messages.last().unwrap()["content"].as_str().unwrap();
            messages.len() > 5 && last.len() < 60
        },
    ),
    ("'quality' in row", |row| row.get("quality").is_some()),
];

#[derive(Debug, Clone)]
struct Case {
    tokens: Option<(u64, u64)>,
    turns: Option<(u64, u64)>,
    condition: Option<usize>,
}

fn case() -> impl Strategy<Value = Case> {
    let bounds =
        |most: u64| prop::option::of((0..most, 0..most).prop_map(|(a, b)| (a.min(b), a.max(b))));
    (
        bounds(500),
        bounds(11),
        prop::option::of(0..CONDITIONS.len()),
    )
        .prop_map(|(tokens, turns, condition)| Case {
            tokens,
            turns,
            condition,
        })
}

impl Case {
    fn yaml(&self) -> String {
        let bounds = |of: Option<(u64, u64)>| {
            of.map_or("null".to_owned(), |(min, max)| {
                format!("{{min: {min}, max: {max}}}")
            })
        };
        let condition = self.condition.map_or("null".to_owned(), |index| {
            format!("\"{}\"", CONDITIONS[index].0)
        });
        format!(
            "{{tokens: {}, turns: {}, where: {condition}}}",
            bounds(self.tokens),
            bounds(self.turns)
        )
    }

    fn left_out(&self, seen: &Seen<'_>) -> Option<(Reason, u64)> {
        if self
            .condition
            .is_some_and(|index| !CONDITIONS[index].1(seen.row))
        {
            return Some((Reason::FilteredWhere, 0));
        }
        let turns = seen.turns() as u64;
        if self
            .turns
            .is_some_and(|(min, max)| turns < min || max < turns)
        {
            return Some((Reason::FilteredTurns, 0));
        }
        let tokens = seen.sample.content.as_ref().ok()?.len() as u64;
        let (min, max) = self.tokens?;
        (tokens < min || max < tokens).then_some((Reason::FilteredTokens, tokens))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Source `b` has a filter of its own, in place of the recipe's.
    #[test]
    fn keeps_what_a_plain_loop_keeps(way in way(), all in case(), of_b in prop::option::of(case())) {
        let (corpus, rows) = corpus();
        let plain = samples(&corpus, &way.recipe(&corpus, "", ""));
        let more = format!("filter: {}", all.yaml());
        let own = of_b.as_ref().map_or(String::new(), |case| format!(", filter: {}", case.yaml()));
        let recipe = way.recipe(&corpus, &more, &own);
        let (expected, dropped) = kept(&rows, &plain, |seen| match (seen.sample.source, &of_b) {
            (1, Some(own)) => own.left_out(seen),
            _ => all.left_out(seen),
        });
        // `samples` says it record by record.
        let said = samples(&corpus, &recipe);
        for (sample, row) in said.iter().zip(&rows) {
            let is_kept = sample.content.as_ref().map(|e| (e.origin.shard, e.origin.block, e.origin.record)).ok();
            let expected = expected.iter().any(|s| {
                s[0] == i64::from(sample.source)
                    && is_kept == Some((s[1] as u32, s[2] as u64, s[3] as u64))
            });
            prop_assert_eq!(is_kept.is_some(), expected, "{}", row);
        }
        if expected.is_empty() {
            let builder = Loader::builder(recipe).cache(corpus.cache()).build();
            prop_assert!(builder.and_then(|mut loader| loader.try_for_each(|batch| batch.map(drop))).is_err());
            return Ok(());
        }
        let (delivered, ledger) = streamed(&corpus, &recipe, way.world);
        prop_assert_eq!(delivered, expected);
        assert_accounted(&ledger, &dropped, [30, 120]);
    }
}

const ONE: Way = Way {
    global: false,
    world: 1,
    workers: 2,
    streamed: false,
    shuffle: true,
};

#[test]
fn samples_says_why() {
    let (corpus, _) = corpus();
    corpus.write(
        "r.yaml",
        b"tokenizer: tokenizer\nsources:\n  - {name: a, paths: [\"a-*\"]}\nfilter: {where: \"meta.lang != 'ja'\", turns: {max: 4}, tokens: {min: 150, max: 250}}\n",
    );
    let output = corpus.packmill(&["samples", "r.yaml"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for reason in ["filtered_where", "filtered_turns", "filtered_tokens"] {
        assert!(
            text.contains(&format!("\"dropped\":\"{reason}\"")),
            "{reason}"
        );
    }
    let report = crate::corpus::report(&corpus.stream("r.yaml"));
    let account = &report["ledger"]["a"];
    assert_eq!(account["records"]["in"], 30);
    assert_eq!(account["tokens"]["dropped"].get("filtered_where"), None);
    let lost = account["tokens"]["dropped"]["filtered_tokens"].as_u64();
    assert!(lost.is_some_and(|lost| lost > 0), "{account}");
}

/// With several examples a record, turns and fields are judged of the record and tokens of each example.
#[test]
fn examples_of_a_record_are_judged_by_their_own_tokens() {
    let (corpus, rows) = corpus();
    for global in [false, true] {
        let way = Way { global, ..ONE };
        let per_turn = "render: per_turn\n";
        let plain = samples(&corpus, &way.recipe(&corpus, per_turn, ""));
        let recipe = way.recipe(
            &corpus,
            &format!("{per_turn}filter: {{tokens: {{max: 200}}, turns: {{min: 4}}}}"),
            "",
        );
        let mut expected = Vec::new();
        let mut tokens = 0;
        for sample in &plain {
            let row = match (sample.source, sample.shard) {
                (0, 0) => &rows[sample.record as usize],
                (0, _) => &rows[12 + sample.record as usize],
                _ => &rows[30 + sample.record as usize],
            };
            let Ok(example) = &sample.content else {
                continue;
            };
            if (Seen { row, sample }).turns() < 4 {
                continue;
            }
            if example.len() > 200 {
                tokens += example.len() as u64;
                continue;
            }
            let o = &example.origin;
            expected.push([
                i64::from(o.source),
                i64::from(o.shard),
                o.block as i64,
                0,
                i64::from(o.example),
                0,
                example.len() as i64 - 1,
            ]);
        }
        expected.sort_unstable();
        let (delivered, ledger) = streamed(&corpus, &recipe, 1);
        assert_eq!(delivered, expected);
        assert!(ledger.balanced(), "{ledger:?}");
        let dropped = ledger
            .sources
            .iter()
            .map(|(_, a)| a.tokens.dropped[&Reason::FilteredTokens]);
        assert_eq!(dropped.sum::<u64>(), tokens);
    }
}

#[test]
fn what_cannot_be_judged_is_a_bad_record() {
    let (corpus, rows) = corpus();
    for global in [false, true] {
        let way = Way { global, ..ONE };
        let text = "filter: {where: \"quality > 0.5\"}\n";
        let built = Loader::builder(way.recipe(&corpus, text, ""))
            .cache(corpus.cache())
            .build();
        let error = built
            .and_then(|mut loader| loader.try_for_each(|batch| batch.map(drop)))
            .unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), Kind::Row, "{said}");
        for part in [
            "filter.where `quality > 0.5`",
            "the row has no `quality`",
            "default(0)",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let skip = format!("{text}on_bad_record: {{skip: {{max_fraction: 1}}}}");
        let (_, ledger) = streamed(&corpus, &way.recipe(&corpus, &skip, ""), 1);
        let without = |rows: &[Value]| {
            rows.iter()
                .filter(|row| row.get("quality").is_none())
                .count() as u64
        };
        let bad = ledger
            .sources
            .iter()
            .map(|(_, a)| a.records.dropped[&Reason::BadRecord]);
        assert_eq!(
            bad.collect::<Vec<_>>(),
            [without(&rows[..30]), without(&rows[30..])]
        );
    }
}

#[test]
fn what_can_be_refused_beforehand_is() {
    let (corpus, _) = corpus();
    corpus.write("text.jsonl", b"{\"text\": \"a\"}\n");
    let refusal = |source: &str, filter: &str| {
        let text = format!(
            "tokenizer: tokenizer\nsources:\n  - {source}\nmask: {{train: all}}\nfilter: {filter}\n"
        );
        corpus.write("r.yaml", text.as_bytes());
        refused(&corpus.packmill(&["stream", "r.yaml"]).output().unwrap())
    };
    let chats = "{name: a, paths: [a-0.jsonl]}";
    let said = refusal("{name: t, paths: [text.jsonl]}", "{turns: {min: 1}}");
    assert!(
        said.contains("source t") && said.contains("filter.turns"),
        "{said}"
    );
    let said = refusal(chats, "{where: \"a ==\"}");
    assert!(
        said.contains("r.yaml:5: filter.where") && said.contains("syntax error"),
        "{said}"
    );
    let said = refusal(chats, "{tokens: {min: 5, max: 4}}");
    assert!(
        said.contains("filter.tokens.max: expected at least min (5)"),
        "{said}"
    );
    let said = refusal(
        "{name: a, paths: [a-0.jsonl], filter: {where: \"(\"}}",
        "null",
    );
    assert!(said.contains("sources[0].filter.where"), "{said}");
}

#[test]
fn another_filter_is_another_stream() {
    let (corpus, _) = corpus();
    let with = |filter: &str| ONE.recipe(&corpus, &format!("filter: {filter}"), "");
    let state = |recipe: &Recipe| {
        let mut loader = corpus.loader(recipe, Rank::ALONE, None, Some(2)).unwrap();
        loader.by_ref().for_each(|batch| drop(batch.unwrap()));
        loader.state().unwrap()
    };
    let plain = state(&with("null"));
    for nothing in ["{}", "{tokens: {min: 0}}", "{tokens: {}, turns: null}"] {
        assert_eq!(state(&with(nothing)), plain, "{nothing}");
    }
    let filtered = state(&with("{tokens: {max: 300}, where: \"messages\"}"));
    for (filter, name) in [
        (
            "{tokens: {max: 301}, where: \"messages\"}",
            "filter.tokens.max: 300 in the checkpoint, 301 in the recipe",
        ),
        ("{tokens: {max: 300}, where: \"meta\"}", "filter.where"),
        (
            "{tokens: {max: 300}, where: \"messages\", turns: {min: 1}}",
            "filter.turns.min",
        ),
        ("null", "filter.tokens.max: 300 in the checkpoint, not set"),
    ] {
        let from = merged([&filtered]);
        let refused = corpus
            .loader(&with(filter), Rank::ALONE, Some(&from), None)
            .unwrap_err();
        assert_eq!(refused.kind(), Kind::Checkpoint);
        assert!(refused.to_string().contains(name), "{refused}");
    }
    let from = merged([&filtered]);
    let same = with("{tokens: {max: 300}, where: \"messages\"}");
    assert!(corpus.loader(&same, Rank::ALONE, Some(&from), None).is_ok());
}

/// Rows of every kind have fields and lengths; turns only those that have messages.
#[test]
fn every_kind_of_row_is_filtered() {
    let corpus = Corpus::new();
    let row = |kind: &str, n: usize| match kind {
        "text" => json!({"text": "x".repeat(n), "n": n}),
        "tokens" => json!({"input_ids": vec![7; n + 1], "n": n}),
        "prompt_completion" => json!({"prompt": "p", "completion": "x".repeat(n), "n": n}),
        _ => json!({"instruction": "i", "output": "x".repeat(n), "n": n}),
    };
    for (kind, mask) in [
        ("text", "all"),
        ("tokens", "all"),
        ("prompt_completion", "completion"),
        ("instruction", "assistant"),
    ] {
        let lines: String = (1..20).map(|n| format!("{}\n", row(kind, n))).collect();
        corpus.write("rows.jsonl", lines.as_bytes());
        let reasons = |filter: &str| -> Vec<Option<Reason>> {
            let more = format!(
                "    kind: {kind}\nmask: {{train: {mask}}}\nlanes: 2\nfilter: {filter}\non_bad_record: {{skip: {{max_fraction: 1}}}}"
            );
            let samples = samples(&corpus, &corpus.recipe("rows.jsonl", &more));
            samples
                .into_iter()
                .map(|sample| sample.content.err())
                .collect()
        };
        let odd = reasons("{where: \"n is odd\"}");
        let expected = (1..20).map(|n| (n % 2 == 0).then_some(Reason::FilteredWhere));
        assert!(odd.into_iter().eq(expected), "{kind}");
        let lengths = reasons("{tokens: {max: 10}}");
        let short = lengths.iter().take_while(|reason| reason.is_none()).count();
        let long = &lengths[short..];
        assert!(
            long.iter()
                .all(|reason| *reason == Some(Reason::FilteredTokens)),
            "{kind}: {lengths:?}"
        );
        assert_eq!(short == 0, kind == "instruction", "{kind}: {lengths:?}");
        // Texts have no turns: refused beforehand, or row by row where a row might have had some.
        match kind {
            "instruction" => assert!(
                reasons("{turns: {min: 2, max: 2}}")
                    .iter()
                    .all(Option::is_none)
            ),
            "prompt_completion" => {
                let bad = reasons("{turns: {min: 1}}");
                assert!(bad.iter().all(|reason| *reason == Some(Reason::BadRecord)));
            }
            _ => {}
        }
    }
}
