//! Every warning: brought about by a recipe, documented, absent where there is no cause, the same for any number of
//! workers.

use crate::corpus::{Corpus, TEMPLATE, chats, merged, report};
use packmill::Recipe;
use packmill::order::lanes::Rank;
use packmill::pipeline::{Estimate, Loader, Model, Warning};
use std::collections::BTreeSet;

const SOUND: &str =
    "pack: {sequence_length: 1024, lookahead: 32}\nlanes: 1\nepochs: 1\nbatch: {rows: 2}";

/// A corpus of sound chats and what brings each warning about.
fn causes(corpus: &Corpus) -> Vec<(&'static str, Recipe)> {
    let own = |name: &str, template: &str| {
        corpus.write(name, template.as_bytes());
        format!("template: {{path: {name}, now: \"2026-11-24T00:00:00\"}}\n")
    };
    let question = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    let untrained = format!("{}{}", chats(300), format!("{question}\n").repeat(34));
    corpus.write("untrained.jsonl", untrained.as_bytes());
    corpus.write("sound.jsonl", chats(300).as_bytes());
    let chats = |more: &str| corpus.recipe("sound.jsonl", more);
    let bos = "tokenizer: {path: tokenizer, bos: \"<|endoftext|>\"}";
    let with_bos = |more: &str| {
        let text = format!(
            "version: 1\n{bos}\nsources:\n  - {{name: chats, paths: [sound.jsonl]}}\n{more}\n"
        );
        Recipe::parse(&text, corpus.dir.path()).unwrap()
    };
    let pad_is_eos = || {
        let text = format!(
            "version: 1\ntokenizer: {{path: tokenizer, pad: \"<|im_end|>\"}}\nsources:\n  - {{name: chats, paths: [sound.jsonl]}}\n{SOUND}\n"
        );
        Recipe::parse(&text, corpus.dir.path()).unwrap()
    };
    let dated = own(
        "dated.jinja",
        &format!("{{{{ strftime_now('%d %b %Y') }}}}{TEMPLATE}"),
    );
    let split = own(
        "split.jinja",
        &TEMPLATE.replace("<|im_start|>", "<|start|>"),
    );
    let twice = own(
        "twice.jinja",
        &format!("{{{{ bos_token + bos_token }}}}{TEMPLATE}"),
    );
    vec![
        (
            "pools_hold_much",
            chats("pack: {sequence_length: 512}\nepochs: 1\nbatch: {rows: 2}"),
        ),
        (
            "stop_token_untrained",
            chats(&format!("mask: {{end_of_turn: false}}\n{SOUND}")),
        ),
        ("pad_equals_eos", pad_is_eos()),
        ("template_prints_date", chats(&format!("{dated}{SOUND}"))),
        ("special_token_split", chats(&format!("{split}{SOUND}"))),
        ("double_bos", with_bos(&format!("{twice}{SOUND}"))),
        (
            "most_rows_truncated",
            chats(&SOUND.replace("sequence_length: 1024", "sequence_length: 128")),
        ),
        (
            "many_records_untrained",
            corpus.recipe("untrained.jsonl", SOUND),
        ),
        (
            "density_low",
            chats(&SOUND.replace(
                "{sequence_length: 1024,",
                "{strategy: none, sequence_length: 4096,",
            )),
        ),
    ]
}

fn streamed(corpus: &Corpus, recipe: &Recipe, workers: usize) -> Vec<Warning> {
    let mut recipe = recipe.clone();
    recipe.workers = Some(workers);
    let mut loader = Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap();
    for batch in loader.by_ref() {
        batch.unwrap();
    }
    loader.warnings().to_vec()
}

fn names(warnings: &[Warning]) -> Vec<&'static str> {
    warnings.iter().map(Warning::name).collect()
}

/// The one warning of a sound stream that goes on with steps of another size.
fn resumed_with_other_steps(corpus: &Corpus) -> &'static str {
    let sound = corpus.recipe("sound.jsonl", SOUND);
    let mut begun = corpus.loader(&sound, Rank::ALONE, None, Some(1)).unwrap();
    begun.by_ref().for_each(|batch| drop(batch.unwrap()));
    let from = merged([&begun.state().unwrap()]);
    let mut other = sound.clone();
    for (step_rows, expected) in [(None, 0), (Some(2 * sound.batch.rows), 1)] {
        other.batch.step_rows = step_rows;
        let resumed = corpus.loader(&other, Rank::ALONE, Some(&from), None);
        let warnings = resumed.unwrap().warnings().to_vec();
        assert_eq!(warnings.len(), expected, "{warnings:?}");
        if let [warning] = &warnings[..] {
            return warning.name();
        }
    }
    panic!("no warning");
}

#[test]
fn each_is_brought_about_by_its_cause_and_nothing_else_is() {
    let corpus = Corpus::new();
    let mut all = BTreeSet::new();
    for (name, recipe) in causes(&corpus) {
        let warnings = streamed(&corpus, &recipe, 2);
        assert_eq!(names(&warnings), [name], "{warnings:?}");
        all.insert(name);
        assert_eq!(streamed(&corpus, &recipe, 1), warnings, "{name}");
        assert_eq!(streamed(&corpus, &recipe, 7), warnings, "{name}");
        // What a sample can show, `check` says too.
        let model = Model::load(&recipe).unwrap();
        let estimate = Estimate::of(&recipe, &model).unwrap();
        let checked = estimate.warnings(&recipe);
        let expected: &[&str] = if name == "density_low" { &[] } else { &[name] };
        assert_eq!(names(&checked), expected, "{checked:?}");
    }
    all.insert(resumed_with_other_steps(&corpus));
    assert_eq!(all, BTreeSet::from(Warning::NAMES));
    let sound = corpus.recipe("sound.jsonl", SOUND);
    assert_eq!(streamed(&corpus, &sound, 2), []);
}

#[test]
fn each_has_its_place_in_the_documentation() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/warnings.md"));
    let page = page.unwrap();
    let headings: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    assert_eq!(headings, Warning::NAMES);
    for name in Warning::NAMES {
        assert!(page.contains(&format!("| [`{name}`](#{name}) |")), "{name}");
    }
}

#[test]
fn a_source_is_judged_before_the_stream_ends() {
    let corpus = Corpus::with_chats(1_200);
    let more = SOUND.replace("sequence_length: 1024", "sequence_length: 128");
    let recipe = corpus.recipe("chats.jsonl", &more);
    let mut loader = Loader::builder(recipe)
        .cache(corpus.cache())
        .build()
        .unwrap();
    let mut warned_at = None;
    while let Some(batch) = loader.next() {
        batch.unwrap();
        if warned_at.is_none() && !loader.warnings().is_empty() {
            let progress = loader.progress();
            let taken = progress.ledger.sources[0].1.records.taken;
            assert!(taken >= 1_000, "{taken}");
            warned_at = Some(progress.rows);
        }
    }
    let all = loader.progress().rows;
    let at = warned_at.unwrap();
    assert!(at < all, "warned at row {at} of {all}");
    assert_eq!(names(loader.warnings()), ["most_rows_truncated"]);
}

#[test]
fn programs_get_the_name() {
    let corpus = Corpus::with_chats(300);
    let recipe = format!(
        "version: 1\ntokenizer: tokenizer\nsources:\n  - {{name: chats, paths: [chats.jsonl]}}\nmask: {{end_of_turn: false}}\n{SOUND}\n"
    );
    corpus.write("recipe.yaml", recipe.as_bytes());
    let checked = corpus
        .packmill(&["check", "recipe.yaml", "--json"])
        .output();
    for output in [corpus.stream("recipe.yaml"), checked.unwrap()] {
        let warnings = report(&output)["warnings"].clone();
        assert_eq!(warnings.as_array().unwrap().len(), 1, "{warnings}");
        assert_eq!(warnings[0]["name"], "stop_token_untrained");
        assert_eq!(warnings[0]["source"], "chats");
        assert!(warnings[0]["try"].as_str().unwrap().contains("end_of_turn"));
    }
    let said = corpus
        .packmill(&["stream", "recipe.yaml"])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(
        said.contains("warning: source `chats`: no stop token"),
        "{said}"
    );
    assert!(said.contains("(stop_token_untrained)"), "{said}");
}
