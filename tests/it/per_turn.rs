//! `render: per_turn`: an example of each trained turn, as the model sees it when it is asked for the turn.

use crate::corpus::{Corpus, IM_END, chats, merged, refused};
use packmill::batch::PROVENANCE_FIELDS;
use packmill::checkpoint::{State, Whole};
use packmill::ledger::{Account, Count, Reason};
use packmill::order::lanes::Rank;
use packmill::pipeline::Samples;
use packmill::{Error, Example, Kind, Recipe};
use std::fmt::Write as _;

/// Prints thoughts of the last turn alone, and ends that one with another token.
const REWRITES: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}\
{% if loop.last and m.reasoning %}{{ '(' + m.reasoning + ')' }}{% endif %}{{ m.content }}{{ '<|endoftext|>' if loop.last else '<|im_end|>' }}\
{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt }}";

const CHAT: &str = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "reasoning": "so", "content": "Yes."}, {"role": "user", "content": "So?"}, {"role": "assistant", "reasoning": "no", "content": "No."}]}"#;

/// An example with what is trained of it in brackets; tokens that are no bytes are written `<`, `^` and `$`.
fn shown(example: &Example) -> String {
    let mut text = String::new();
    for (position, &id) in (0..).zip(&example.ids) {
        for span in &example.trained {
            if span.start == position {
                text.push('[');
            }
            if span.end == position {
                text.push(']');
            }
        }
        text.push(match id {
            256 => '<',
            IM_END => '^',
            258 => '$',
            byte => char::from(u8::try_from(byte).unwrap()),
        });
    }
    if example
        .trained
        .last()
        .is_some_and(|span| span.end as usize == example.ids.len())
    {
        text.push(']');
    }
    text
}

fn samples(template: &str, rows: &str, more: &str) -> Vec<Result<Result<String, Reason>, Error>> {
    let corpus = Corpus::new();
    corpus.write("rows.jsonl", format!("{rows}\n").as_bytes());
    corpus.write("own.jinja", template.as_bytes());
    let recipe = corpus.recipe(
        "rows.jsonl",
        &format!("template: own.jinja\nrender: per_turn\n{more}"),
    );
    let model = crate::corpus::model(&recipe);
    Samples::open(&recipe, &model, &corpus.cache())
        .unwrap()
        .enumerate()
        .map(|(number, sample)| {
            sample.map(|sample| {
                if let Ok(example) = &sample.content {
                    assert_eq!(example.origin.example, sample.example, "sample {number}");
                }
                sample.content.map(|example| shown(&example))
            })
        })
        .collect()
}

fn examples(template: &str, row: &str, more: &str) -> Vec<String> {
    let samples = samples(template, row, more).into_iter();
    samples.map(|sample| sample.unwrap().unwrap()).collect()
}

/// The error of the first sample.
fn error(template: &str, row: &str, more: &str) -> Error {
    samples(template, row, more).remove(0).unwrap_err()
}

#[test]
fn each_turn_is_the_last_of_its_example() {
    let first = "<user\nHi^\n<assistant\n[(so)Yes.$]\n";
    let second = "<user\nHi^\n<assistant\nYes.^\n<user\nSo?^\n<assistant\n[(no)No.$]\n";
    assert_eq!(examples(REWRITES, CHAT, ""), [first, second]);
    assert_eq!(
        examples(REWRITES, CHAT, "mask: {train: last_assistant}"),
        [second]
    );
    let skip = "mask: {reasoning: skip, end_of_turn: false}";
    assert_eq!(
        examples(REWRITES, CHAT, skip)[1],
        second.replace("[(no)No.$]", "(no[)No.]$")
    );
    let flagged = CHAT.replacen(r#""Yes.""#, r#""Yes.", "train": false"#, 1);
    assert_eq!(examples(REWRITES, &flagged, ""), [second]);
}

/// Without tags the turn is shown by proofs, and what is behind its end-of-turn token belongs to it as in a whole render.
#[test]
fn needs_no_generation_tags() {
    let untagged = REWRITES
        .replace("{% generation %}", "")
        .replace("{% endgeneration %}", "");
    let first = "<user\nHi^\n<assistant\n[(so)Yes.$\n]";
    let second = "<user\nHi^\n<assistant\nYes.^\n<user\nSo?^\n<assistant\n[(no)No.$\n]";
    assert_eq!(examples(&untagged, CHAT, ""), [first, second]);
}

/// What stands in the generation prompt is given to the model, inside the template's tags or not.
#[test]
fn what_the_prompt_holds_is_context() {
    let eager = REWRITES
        .replace("{% generation %}", "{% generation %}{{ '>' }}")
        .replace("assistant\\n' if add", "assistant\\n>' if add");
    assert_eq!(
        examples(&eager, CHAT, "")[0],
        "<user\nHi^\n<assistant\n>[(so)Yes.$]\n"
    );
}

#[test]
fn a_prompt_that_does_not_begin_the_turn_is_refused() {
    let opens = REWRITES.replace("assistant\\n' if add", "assistant\\n<think>' if add");
    let refused = error(&opens, CHAT, "");
    assert_eq!(refused.kind(), Kind::Mask);
    assert!(
        refused.to_string().contains("to ask for message 1"),
        "{refused}"
    );
}

#[test]
fn a_turn_of_another_role_is_refused() {
    let flagged = CHAT.replacen(r#""Hi""#, r#""Hi", "train": true"#, 1);
    let refused = error(REWRITES, &flagged, "");
    assert!(
        refused.to_string().contains("message 0, of role \"user\""),
        "{refused}"
    );
}

#[test]
fn nothing_to_train_is_one_dropped_example() {
    let row = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    let dropped = samples(REWRITES, row, "").remove(0).unwrap();
    assert_eq!(dropped, Err(Reason::NoTrainedToken));
}

#[test]
fn the_square_of_the_turns_is_bounded() {
    let mut row = String::from(r#"{"messages": ["#);
    for turn in 0..1_000 {
        let _ = write!(
            row,
            r#"{{"role": "user", "content": "q{turn}"}}, {{"role": "assistant", "content": "a{turn}"}}, "#
        );
    }
    let row = format!("{}]}}", row.trim_end_matches(", "));
    let refused = error(REWRITES, &row, "");
    assert_eq!(refused.kind(), Kind::Limit);
    assert!(
        refused.to_string().contains("1000 trained turns"),
        "{refused}"
    );
    // Few turns, each long.
    let long = "x".repeat(1 << 20);
    let turns = format!(
        r#"{{"role": "user", "content": "{long}"}}, {{"role": "assistant", "content": "a"}}"#
    );
    let row = format!(r#"{{"messages": [{}]}}"#, vec![turns; 8].join(", "));
    let refused = error(REWRITES, &row, "");
    assert!(refused.to_string().contains("together longer"), "{refused}");
}

#[test]
fn policies_that_know_no_turns_are_refused_with_their_line() {
    let corpus = Corpus::with_chats(2);
    for (mask, key) in [
        ("{train: all}", "mask.train"),
        ("{roles: [user]}", "mask.roles"),
    ] {
        let text = format!(
            "version: 1\ntokenizer: tokenizer\nsources:\n  - {{name: a, paths: [chats.jsonl], render: per_turn}}\nmask: {mask}\n"
        );
        let faults = Recipe::parse(&text, corpus.dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            faults.contains(key) && faults.contains("render: per_turn"),
            "{faults}"
        );
        assert!(faults.contains('5'), "{faults}");
    }
    corpus.write("r.yaml", b"version: 1\ntokenizer: tokenizer\nrender: per_turns\nsources:\n  - {name: a, paths: [chats.jsonl]}\n");
    let said = refused(&corpus.packmill(&["check", "r.yaml"]).output().unwrap());
    assert!(said.contains("per_turn"), "{said}");
}

/// What a stream delivers from `from` on: each segment's record and example, in order; its account; where it stands.
#[derive(Default)]
struct Streamed {
    segments: Vec<(i64, i64)>,
    account: Account,
    state: Option<State>,
}

fn streamed(
    corpus: &Corpus,
    recipe: &Recipe,
    from: Option<&Whole>,
    steps: Option<u64>,
) -> Streamed {
    let mut streamed = Streamed::default();
    let mut loader = corpus.loader(recipe, Rank::ALONE, from, steps).unwrap();
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        let segments = batch.provenance().chunks(PROVENANCE_FIELDS.len());
        streamed.segments.extend(segments.map(|of| (of[2], of[4])));
        streamed.state = loader.state();
    }
    streamed.account = loader.progress().ledger.sources[0].1.clone();
    streamed
}

/// Rows that hold every conversation, so that no turn is cut off behind its history.
const ROOMY: &str = "pack: {sequence_length: 1024, lookahead: 16}\nbatch: {rows: 4}\nlanes: 4\nepochs: 1\nworkers: 2";

/// Turns of all chats, by record.
fn turns(text: &str) -> Vec<(i64, i64)> {
    let records = (0..).zip(text.lines());
    let each = records.flat_map(|(record, line)| {
        let turns = i64::try_from(line.matches(r#""assistant""#).count()).unwrap();
        (0..turns).map(move |turn| (record, turn))
    });
    each.collect()
}

#[test]
fn every_turn_is_delivered_once_and_both_are_counted() {
    let corpus = Corpus::with_chats(60);
    let expected = turns(&chats(60));
    for plan in ["", "plan: global\n"] {
        let recipe = corpus.recipe("chats.jsonl", &format!("{plan}render: per_turn\n{ROOMY}"));
        let Streamed {
            mut segments,
            account,
            ..
        } = streamed(&corpus, &recipe, None, None);
        segments.sort_unstable();
        assert_eq!(segments, expected, "{plan}");
        let of = |count: &Count| (count.taken, count.delivered, count.pending);
        assert_eq!(of(&account.records), (60, 60, 0), "{plan}");
        let examples = expected.len() as u64;
        assert_eq!(of(&account.examples), (examples, examples, 0), "{plan}");
    }
}

/// Stopped after any step, the stream goes on with the rest of each record.
#[test]
fn goes_on_between_the_examples_of_a_record() {
    let corpus = Corpus::with_chats(60);
    for plan in ["", "plan: global\n"] {
        let recipe = corpus.recipe("chats.jsonl", &format!("{plan}render: per_turn\n{ROOMY}"));
        let whole = streamed(&corpus, &recipe, None, None);
        for steps in [1, 3, 5] {
            let begun = streamed(&corpus, &recipe, None, Some(steps));
            let from = merged([&begun.state.unwrap()]);
            let rest = streamed(&corpus, &recipe, Some(&from), None);
            let segments = [begun.segments, rest.segments].concat();
            assert_eq!(segments, whole.segments, "{plan} after {steps}");
            assert_eq!(rest.account, whole.account, "{plan} after {steps}");
        }
    }
}

/// A record of many turns is many examples: read-ahead is asked for in examples, whatever records they are.
#[test]
fn as_many_examples_are_made_ahead_as_pools_need() {
    let corpus = Corpus::new();
    let chat = |record: usize| {
        let turns = (0..20).map(|turn| {
            format!(r#"{{"role": "user", "content": "{record}?"}}, {{"role": "assistant", "content": "{turn}."}}"#)
        });
        format!(
            "{{\"messages\": [{}]}}\n",
            turns.collect::<Vec<_>>().join(", ")
        )
    };
    corpus.write(
        "chats.jsonl",
        (0..2_000).map(chat).collect::<String>().as_bytes(),
    );
    let recipe = corpus.recipe(
        "chats.jsonl",
        "render: per_turn\npack: {sequence_length: 2048, lookahead: 128}\nbatch: {rows: 1}\nlanes: 4\nprefetch: 1\nworkers: 2",
    );
    let mut loader = corpus.loader(&recipe, Rank::ALONE, None, None).unwrap();
    loader.next().unwrap().unwrap();
    let rendered = || {
        let stats = loader.stats();
        let render = stats.iter().find(|of| of.stage == packmill::Stage::Render);
        render.unwrap().items
    };
    // Until nobody makes any more: there is one batch in the channel, one that waits for a place, and what is ahead.
    let mut before = 0;
    while before < rendered() {
        before = rendered();
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    // 128 examples are 7 records, 512 of the reserve 26 at most; a task is up to 32.
    let (pool, ahead, rows) = (7, 7 + 26 + 31, 3 * 20);
    assert!(before <= 4 * (pool + ahead) + rows, "{before} records");
}
