//! What a right recipe means.

use super::*;
use serde_json::json;

/// The listing of the design, every key with the value shown there.
const WHOLE: &str = r#"
version: 1
seed: 17
tokenizer: tokenizers/qwen3        # a folder
template:
  path: chat.jinja
  now: 2026-11-24T00:00:00         # what strftime_now sees
  kwargs: {enable_thinking: false}
  system: null
sources:
  - name: sgd
    paths: ["corpora/sgd-*.jsonl.zst"]
    weight: null
    limit: null
    format: auto                         # auto | jsonl
    kind: auto
    fields: {messages: messages, role: role, content: content, tools: tools}
    roles: {human: user, gpt: assistant}
mask:
  train: assistant
  markers: {response: "<|im_start|>assistant\n", instruction: "<|im_start|>user\n"}
  roles: [assistant]
  end_of_turn: true
pack:
  strategy: knapsack
  sequence_length: 4096
  overlong: truncate
  lookahead: 128
  segment_multiple: 1
  max_segments: null
batch: {rows: 8, step_rows: null, labels: aligned}
plan: lanes
lanes: 64
shuffle: true
hold: 2GiB
epochs: null
on_exhausted: repeat
schedule: null
on_bad_record: stop
workers: null
prefetch: 4
io: auto
"#;

#[test]
fn reads_every_key_and_defaults_to_the_same() {
    let recipe = parse(WHOLE).unwrap();
    assert_eq!(recipe.tokenizer.path, "tokenizers/qwen3");
    assert_eq!(
        recipe.template.path.as_deref(),
        Some(Path::new("/nowhere/chat.jinja"))
    );
    assert_eq!(recipe.template.now.as_deref(), Some("2026-11-24T00:00:00"));
    assert_eq!(recipe.template.kwargs["enable_thinking"], json!(false));
    let source = &recipe.sources[0];
    assert_eq!(source.paths, ["/nowhere/corpora/sgd-*.jsonl.zst"]);
    assert_eq!(source.roles["gpt"], "assistant");
    let markers = recipe.mask.markers.as_ref().unwrap();
    assert_eq!(markers.response, "<|im_start|>assistant\n");
    assert_eq!(recipe.hold, 2 << 30);

    // What was written out and what is left out mean the same.
    let mut least = parse(LEAST).unwrap();
    assert_eq!(least.sources[0].kind, RowKind::Auto);
    least.tokenizer = recipe.tokenizer.clone();
    least.template = recipe.template.clone();
    least.sources = recipe.sources.clone();
    least.mask.markers = recipe.mask.markers.clone();
    assert_eq!(least, recipe);
}

#[test]
fn reads_values_other_than_the_defaults() {
    let recipe = parse(
        r#"
seed: 18446744073709551615
tokenizer: {path: ./tok, bos: <s>, eos: </s>, pad: "<pad>"}
template: t.jinja
sources:
  - name: a
    paths: [/abs/*.jsonl, ./b.jsonl]
    limit: 10
    format: jsonl
    kind: prompt_completion
    fields: {prompt: question}
    template: {name: tool_use}
    mask: {train: completion}
  - {name: b, paths: [b], kind: tokens}
mask: {train: markers, markers: {response: "A:"}, roles: [tool, assistant], end_of_turn: False}
pack: {strategy: none, sequence_length: 0x400, overlong: error, lookahead: 1, segment_multiple: 16, max_segments: 3}
batch: {rows: 2, step_rows: 16, labels: shifted}
lanes: 8
shuffle: false
hold: 0
epochs: 3
on_bad_record: {skip: {max_fraction: 0.001}}
workers: 1
prefetch: 1
io: pread
"#,
    )
    .unwrap();
    assert_eq!(recipe.seed, u64::MAX);
    assert_eq!(recipe.tokenizer.path, "/nowhere/tok");
    assert_eq!(recipe.tokenizer.pad.as_deref(), Some("<pad>"));
    assert_eq!(
        recipe.template.path.as_deref(),
        Some(Path::new("/nowhere/t.jinja"))
    );
    let [a, b] = recipe.sources.as_slice() else {
        panic!("two sources");
    };
    assert_eq!(a.paths, ["/abs/*.jsonl", "/nowhere/b.jsonl"]);
    assert_eq!(
        (a.limit, a.format, a.kind),
        (Some(10), Format::Jsonl, RowKind::PromptCompletion)
    );
    assert_eq!(a.fields.prompt, "question");
    assert_eq!(a.fields.completion, "completion");
    assert_eq!(
        a.template.as_ref().unwrap().name.as_deref(),
        Some("tool_use")
    );
    let own = a.mask.as_ref().unwrap();
    // A source's own mask stands alone: nothing of the recipe's comes through.
    assert_eq!(
        (own.train, own.end_of_turn, own.markers.is_none()),
        (Train::Completion, true, true)
    );
    assert_eq!(
        (b.kind, b.template.is_none(), b.mask.is_none()),
        (RowKind::Tokens, true, true)
    );
    assert_eq!(recipe.mask.markers.as_ref().unwrap().instruction, None);
    assert!(!recipe.mask.end_of_turn);
    assert_eq!(
        recipe.pack,
        PackConfig {
            strategy: Strategy::None,
            sequence_length: 1024,
            overlong: Overlong::Error,
            lookahead: 1,
            segment_multiple: 16,
            max_segments: Some(3),
        }
    );
    assert_eq!(
        recipe.batch,
        BatchConfig {
            rows: 2,
            step_rows: Some(16),
            labels: Labels::Shifted
        }
    );
    assert_eq!((recipe.lanes, recipe.shuffle, recipe.hold), (8, false, 0));
    assert_eq!(
        (recipe.epochs, recipe.workers, recipe.prefetch),
        (Some(3), Some(1), 1)
    );
    assert_eq!(
        recipe.on_bad_record,
        OnBadRecord::Skip {
            max_fraction: 0.001
        }
    );
    assert_eq!(recipe.io, Io::Pread);
}

#[test]
fn kwargs_are_any_json_in_the_order_written() {
    let recipe = parse_with(
        "template:\n  kwargs: {z: 1, a: [1.5, -2, null, {y: 'no', x: true}], m: 18446744073709551615}\n",
    )
    .unwrap();
    assert_eq!(
        serde_json::to_string(&recipe.template.kwargs).unwrap(),
        r#"{"z":1,"a":[1.5,-2,null,{"y":"no","x":true}],"m":18446744073709551615}"#
    );
}

#[test]
fn aliases_repeat_what_they_name() {
    let recipe = parse(
        "tokenizer: org/m
mask: &m {train: all}
sources:
  - {name: a, paths: [a], mask: *m}
",
    )
    .unwrap();
    assert_eq!(recipe.sources[0].mask.as_ref(), Some(&recipe.mask));
}

#[test]
fn json_goes_through_the_same_checks() {
    let value =
        json!({"tokenizer": "org/m", "sources": [{"name": "a", "paths": ["a"]}], "hold": "1MiB"});
    let recipe = Recipe::from_value(&value, Path::new("/nowhere")).unwrap();
    assert_eq!(recipe.hold, 1 << 20);
    let wrong = json!({"tokenizer": "org/m", "sources": [{"name": "a"}], "lane": 3});
    assert_eq!(
        Recipe::from_value(&wrong, Path::new("/nowhere"))
            .unwrap_err()
            .to_string(),
        "recipe: lane: unknown key; did you mean lanes?\n\
         recipe: sources[0].paths: missing, expected a list of paths or globs, at least one"
    );
}

#[test]
fn a_recipe_built_in_rust_is_checked_too() {
    let mut recipe = parse(LEAST).unwrap();
    assert_eq!(recipe.checked().unwrap(), recipe);
    recipe.lanes = 0;
    let faults = recipe.checked().unwrap_err();
    assert_eq!(faults.faults.len(), 1);
    assert_eq!(faults.faults[0].path, "lanes");
    assert_eq!(Recipe::default().checked().unwrap_err().faults.len(), 2);
}

#[test]
fn a_tokenizer_is_a_path_where_it_looks_like_one_or_is_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("tok/local")).unwrap();
    let read = |tokenizer: &str| {
        let text = LEAST.replace("org/model", tokenizer);
        Recipe::parse(&text, folder.path()).unwrap().tokenizer.path
    };
    let inside = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
    assert_eq!(read("tok/local"), inside("tok/local"));
    assert_eq!(read("tok"), inside("tok"));
    assert_eq!(read("gone/tokenizer.json"), inside("gone/tokenizer.json"));
    assert_eq!(read("../gone"), inside("../gone"));
    assert_eq!(read("a/b/c"), inside("a/b/c"));
    assert_eq!(read("/abs"), "/abs");
    assert_eq!(read("Qwen/Qwen3-0.6B"), "Qwen/Qwen3-0.6B");
    assert_eq!(read("{path: tok/local, revision: main}"), "tok/local");
}

#[test]
fn a_folder_is_a_name_and_no_pattern() {
    let recipe = Recipe::parse(LEAST, Path::new("/data [1]*")).unwrap();
    let pattern = glob::Pattern::new(&recipe.sources[0].paths[0]).unwrap();
    assert!(pattern.matches("/data [1]*/a.jsonl"));
    assert!(!pattern.matches("/data 1x/a.jsonl"));
}

#[test]
fn load_joins_to_the_folder_of_the_file_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.yaml");
    std::fs::write(&path, format!("\u{feff}{LEAST}")).unwrap();
    let recipe = Recipe::load(&path).unwrap();
    assert_eq!(
        Path::new(&recipe.sources[0].paths[0]),
        folder.path().join("a.jsonl")
    );
    assert_eq!(recipe.folder, folder.path());

    std::fs::write(&path, format!("{LEAST}lane: 3\n")).unwrap();
    let faults = Recipe::load(&path).unwrap_err();
    let shown = format!(
        "{}:5: lane: unknown key; did you mean lanes?",
        path.display()
    );
    assert_eq!(faults.to_string(), shown);
    let error = crate::Error::from(faults);
    assert_eq!(error.kind(), crate::Kind::Recipe);
    assert_eq!(error.to_string(), format!("recipe: {shown}"));

    let gone = Recipe::load(folder.path().join("gone.yaml")).unwrap_err();
    assert_eq!(gone.faults[0].line, None);
    assert!(
        gone.to_string().contains("gone.yaml: cannot be read: "),
        "{gone}"
    );
}

#[test]
fn a_relative_folder_becomes_absolute() {
    let recipe = Recipe::parse(LEAST, Path::new("")).unwrap();
    assert!(recipe.folder.is_absolute());
    assert!(Path::new(&recipe.sources[0].paths[0]).is_absolute());
}
