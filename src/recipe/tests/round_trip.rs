//! A recipe reads back from its own print.

use super::{parse, parse_with};
use crate::recipe::Strategy as Packer;
use crate::recipe::{
    BatchConfig, Bounds, Duplicates, FieldLoss, Fields, FilterConfig, Format, LimitsConfig,
    LossWeights, Markers, MaskConfig, OnBadRecord, OnExhausted, PackConfig, Recipe, Render,
    RowKind, ScheduleEntry, SourceConfig, SpecialTokensInText, SplitBy, SplitConfig,
    TemplateConfig, TokenizerConfig, Train,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[test]
fn prints_every_key_in_order() {
    let text = parse_with("hold: 1536MiB\non_bad_record: {skip: {max_fraction: 0.5}}\n")
        .unwrap()
        .to_string();
    assert_eq!(
        text,
        r#"version: 1
seed: 17
tokenizer:
  path: org/model
  revision: null
  bos: null
  eos: null
  pad: null
  engine: auto
tokenizer_check: null
template:
  path: null
  name: null
  now: null
  kwargs: {}
  system: null
render: whole
special_tokens_in_text: parse
filter: null
split: null
duplicates: keep
sources:
  - name: a
    paths: [/nowhere/a.jsonl]
    weight: null
    limit: null
    format: auto
    kind: auto
    fields:
      messages: messages
      role: role
      content: content
      tools: tools
      prompt: prompt
      completion: completion
      instruction: instruction
      input: input
      output: output
      text: text
      input_ids: input_ids
      labels: labels
      loss_mask: loss_mask
    roles: {}
    template: null
    render: null
    special_tokens_in_text: null
    filter: null
    split: null
    mask: null
mask:
  train: assistant
  markers: null
  roles: [assistant]
  end_of_turn: true
  reasoning: train
  tool_calls: train
  weights: refuse
pack:
  strategy: knapsack
  sequence_length: 4096
  overlong: truncate
  lookahead: 128
  segment_multiple: 1
  max_segments: null
batch:
  rows: 8
  step_rows: null
  labels: aligned
plan: lanes
lanes: 64
shuffle: true
hold: 1536MiB
epochs: null
on_exhausted: repeat
schedule: null
on_bad_record: {skip: {max_fraction: 0.5}}
limits:
  line_bytes: 16MiB
  record_bytes: 16MiB
  nesting: 128
  window_log: 27
  ratio: 1000
  template_fuel: 4000000
  template_output_bytes: 16MiB
  run_bytes: 256KiB
  examples_per_record: 64
workers: null
prefetch: 4
io: auto
"#
    );
}

fn filled() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,12}",
        "\\PC{1,20}",
        // Every character that quoting could get wrong, and words that mean something else unquoted.
        vec(any::<char>(), 1..12).prop_map(|chars| chars.into_iter().collect()),
        select(vec![
            "null", "~", "yes", "true", "1", "1.5", "- a", "a: b", "#", "{", "*x", " a ",
            "a\n b\n", "0x1"
        ])
        .prop_map(str::to_owned),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL)
            .prop_map(Value::from),
        filled().prop_map(Value::from),
        Just(Value::from("")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((filled(), inner), 0..4).prop_map(|entries| Value::Object(Map::from_iter(entries))),
        ]
    })
}

prop_compose! {
    fn template()(
        path in option::of("/[a-z]{1,8}/[^/\\x00]{1,8}\\.jinja"),
        name in option::of(filled()),
        now in option::of(Just("2026-11-24T01:02:03".to_owned())),
        kwargs in vec((filled(), json()), 0..4),
        system in option::of(prop_oneof![filled(), Just(String::new())]),
    ) -> TemplateConfig {
        let path = path.map(PathBuf::from);
        TemplateConfig { path, name, now, kwargs: Map::from_iter(kwargs), system }
    }
}

prop_compose! {
    fn mask()(
        train in select(vec![Train::Assistant, Train::LastAssistant, Train::Completion, Train::All]),
        markers in option::of((filled(), option::of(filled()))),
        by_markers: bool,
        roles in vec(filled(), 1..3),
        end_of_turn: bool,
        reasoning in select(vec![FieldLoss::Train, FieldLoss::Skip]),
        tool_calls in select(vec![FieldLoss::Train, FieldLoss::Skip]),
        weights in select(vec![LossWeights::Refuse, LossWeights::Use]),
    ) -> MaskConfig {
        let markers = markers.map(|(response, instruction)| Markers { response, instruction });
        let train = if by_markers && markers.is_some() { Train::Markers } else { train };
        MaskConfig { train, markers, roles, end_of_turn, reasoning, tool_calls, weights }
    }
}

fn bounds() -> impl Strategy<Value = Option<Bounds>> {
    let bound = || option::of(any::<u64>());
    let ordered = |(a, b): (Option<u64>, Option<u64>)| match (a, b) {
        (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
        others => others,
    };
    option::of(
        (bound(), bound())
            .prop_map(ordered)
            .prop_map(|(min, max)| Bounds { min, max }),
    )
}

prop_compose! {
    fn filter()(
        tokens in bounds(),
        turns in bounds(),
        r#where in option::of(select(vec!["a", "a > 1 and 'x: #' not in b", "\"\\n\" in c"])),
    ) -> FilterConfig {
        FilterConfig { tokens, turns, r#where: r#where.map(str::to_owned) }
    }
}

fn duplicates() -> impl Strategy<Value = Duplicates> {
    select(vec![
        Duplicates::Keep,
        Duplicates::DropInBlock,
        Duplicates::Drop,
    ])
}

prop_compose! {
    fn split()(fraction in 0.0f64..=1.0, seed in option::of(any::<u64>()), max_records in 1u64..) -> SplitConfig {
        SplitConfig { fraction, by: SplitBy::Hash, seed, max_records }
    }
}

prop_compose! {
    fn source()(
        paths in vec("/[a-z]{1,8}/[a-z \"'#:{}?*é]{1,8}".prop_filter("a glob", |path| !path.contains("**")), 1..3),
        weight in 1u64..=1_000_000_000_000,
        limit in option::of(1u64..),
        format in select(vec![Format::Auto, Format::Jsonl, Format::Parquet, Format::Arrow]),
        kind in select(vec![RowKind::Auto, RowKind::Chat, RowKind::PromptCompletion, RowKind::Tokens]),
        messages in filled(),
        roles in btree_map(filled(), filled(), 0..3),
        template in option::of(template()),
        mask in option::of(mask()),
        render in option::of(select(vec![Render::Whole, Render::PerTurn])),
        spelled in option::of(select(vec![SpecialTokensInText::Parse, SpecialTokensInText::Plain, SpecialTokensInText::Refuse])),
        filter in option::of(filter()),
        split in option::of(split()),
    ) -> SourceConfig {
        let fields = Fields { messages, ..Fields::default() };
        let weight = Some(weight);
        let mask = match render {
            // Only assistants' turns are examples of their own.
            Some(Render::PerTurn) => Some(MaskConfig::default()),
            _ => mask,
        };
        let special_tokens_in_text = spelled;
        SourceConfig { name: String::new(), paths, weight, limit, format, kind, fields, roles, template, render, special_tokens_in_text, filter, split, mask }
    }
}

prop_compose! {
    fn recipe()(
        seed: u64,
        tokenizer in (select(vec!["/abs/tok", "org/model", "gpt2"]), option::of(filled()), option::of(filled())),
        (template, filter, split) in (template(), option::of(filter()), option::of(split())),
        sources in vec(source(), 1..3),
        mask in mask(),
        pack in (1usize..100, 1usize..50, 1usize..999, option::of(1usize..9)),
        strategy in select(vec![Packer::Knapsack, Packer::Concat, Packer::None]),
        batch in (1usize..50, option::of(1usize..50)),
        hold in prop_oneof![any::<u64>(), (0u64..1024).prop_map(|mebibytes| mebibytes << 20)],
        fraction in option::of(0.0f64..=1.0),
        mixture in option::of((select(vec![OnExhausted::Repeat, OnExhausted::Stop]), vec((1u64..1 << 40, 0u64..9_999_999), 0..3))),
        limits in (1u64 << 10..=1 << 30, 4u32..=512, 10u32..=31, 1u64.., 1usize..=1 << 16),
        rest in (1u32..9999, any::<bool>(), option::of(1u64..), option::of(1usize..99), 1usize..99, duplicates()),
    ) -> Recipe {
        let (multiple, multiples, lookahead, max_segments) = pack;
        let (path, revision, bos) = tokenizer;
        let (rows, steps) = batch;
        let (lanes, shuffle, epochs, workers, prefetch, duplicates) = rest;
        let weighted = mixture.is_some();
        let (on_exhausted, schedule) = mixture.unwrap_or_default();
        let name = |(index, source): (usize, SourceConfig)| SourceConfig {
            name: format!("{index}: source"),
            weight: source.weight.filter(|_| weighted),
            ..source
        };
        let mut row = 0;
        let entry = |(rows, weight): (u64, u64)| {
            row += rows;
            ScheduleEntry { row, weights: BTreeMap::from([("0: source".to_owned(), weight + 1)]) }
        };
        Recipe {
            seed,
            tokenizer: TokenizerConfig {
                path: path.to_owned(),
                revision: revision.filter(|_| !path.starts_with('/')),
                bos,
                ..TokenizerConfig::default()
            },
            template,
            filter,
            split,
            duplicates,
            sources: sources.into_iter().enumerate().map(name).collect(),
            mask,
            pack: PackConfig {
                strategy,
                sequence_length: multiple * (multiples + 1),
                lookahead,
                segment_multiple: multiple,
                max_segments,
                ..PackConfig::default()
            },
            batch: BatchConfig { rows, step_rows: steps.map(|steps| steps * rows), ..BatchConfig::default() },
            lanes,
            shuffle,
            hold,
            epochs: epochs.filter(|_| !weighted),
            on_exhausted,
            schedule: schedule.into_iter().map(entry).collect(),
            on_bad_record: fraction.map_or(OnBadRecord::Stop, |max_fraction| OnBadRecord::Skip { max_fraction }),
            limits: LimitsConfig {
                line_bytes: limits.0,
                record_bytes: limits.0 / 2 + 512,
                nesting: limits.1,
                window_log: limits.2,
                ratio: limits.3,
                template_fuel: limits.3 / 2 + 1,
                template_output_bytes: limits.0,
                run_bytes: limits.0 / 2 + 1024,
                examples_per_record: limits.4,
            },
            workers,
            prefetch,
            folder: PathBuf::from("/nowhere"),
            ..Recipe::default()
        }
    }
}

proptest! {
    #[test]
    fn reads_back_to_the_same(recipe in recipe()) {
        let text = recipe.to_string();
        let again = parse(&text).map_err(|faults| TestCaseError::fail(format!("{faults}\n{text}")))?;
        prop_assert_eq!(&again, &recipe, "{}", text);
        prop_assert_eq!(again.to_string(), text);
        prop_assert_eq!(recipe.checked().unwrap(), recipe);
    }
}
