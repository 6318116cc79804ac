//! What is refused, with its line and what was probably meant.

use super::*;

#[test]
fn ten_faults_are_ten_lines() {
    let text = r#"# A recipe with ten faults.
version: 1
tokenizer: org/model
sources:
  - name: a
    paths: ["a.jsonl", "s3://bucket/a.jsonl"]
    kind: chats
  - name: a
    paths: [b.jsonl]
    weight: -2
pack:
  sequence_lenght: 2048
  segment_multiple: 48
batch:
  rows: 8
  step_rows: 12
lanes: many
shuffle: yes
lanes: 64
"#;
    assert_eq!(
        faults(text),
        [
            "recipe:6: sources[0].paths[1]: expected a path or glob, found \"s3://bucket/a.jsonl\"; \
             object stores are not built yet: copy or mount the shards and name that folder",
            "recipe:7: sources[0].kind: expected one of auto, chat, prompt_completion, instruction, text, \
             tokens, found \"chats\"; did you mean chat?",
            "recipe:8: sources[1].name: \"a\" is also the name of sources[0]",
            "recipe:10: sources[1].weight: expected a number above 0 and at most 1000000, found -2",
            "recipe:12: pack.sequence_lenght: unknown key; did you mean sequence_length?",
            "recipe:13: pack.segment_multiple: expected a divisor of sequence_length (4096), found 48",
            "recipe:16: batch.step_rows: expected a multiple of rows (8), found 12",
            "recipe:17: lanes: expected an integer from 1 to 65536, found \"many\"",
            "recipe:18: shuffle: expected true or false, found \"yes\"; did you mean true?",
            "recipe:19: lanes: given twice, first in line 17",
        ]
    );
}

/// The one fault of `more` after the least recipe, without file and path.
fn fault(more: &str) -> Fault {
    let faults = parse_with(more).unwrap_err().faults;
    assert_eq!(faults.len(), 1, "{more}: {faults:#?}");
    faults.into_iter().next().unwrap()
}

#[test]
fn every_impossible_value_is_refused_at_its_key() {
    for (more, path) in [
        ("version: 0", "version"),
        ("seed: -1", "seed"),
        ("seed: 18446744073709551616", "seed"),
        ("seed: 1.0", "seed"),
        ("seed: null", "seed"),
        ("template: {now: 2026-11-24}", "template.now"),
        ("template: {now: 2026-02-30T00:00:00}", "template.now"),
        ("template: {now: 2026-11-24 00:00:00}", "template.now"),
        ("template: {now: +2026-1-24T00:00:00}", "template.now"),
        ("template: {now: 2026-11-24T23:59:60}", "template.now"),
        ("template: ''", "template.path"),
        ("template: https://host/t.jinja", "template.path"),
        ("template: ~/t.jinja", "template.path"),
        ("template: {kwargs: [1]}", "template.kwargs"),
        ("template: {kwargs: {a: {b: .nan}}}", "template.kwargs.a.b"),
        ("template: {kwargs: {'': 1}}", "template.kwargs."),
        ("mask: null", "mask"),
        ("mask: assistant", "mask"),
        ("mask: {train: markers}", "mask.markers"),
        ("mask: {markers: {}}", "mask.markers.response"),
        ("mask: {markers: {response: ''}}", "mask.markers.response"),
        ("mask: {roles: []}", "mask.roles"),
        ("mask: {roles: [1]}", "mask.roles[0]"),
        ("mask: {end_of_turn: 1}", "mask.end_of_turn"),
        ("pack: {strategy: best_fit}", "pack.strategy"),
        ("pack: {strategy: null}", "pack.strategy"),
        ("pack: {sequence_length: 1}", "pack.sequence_length"),
        ("pack: {sequence_length: 4096.0}", "pack.sequence_length"),
        ("pack: {lookahead: 0}", "pack.lookahead"),
        ("pack: {segment_multiple: 0}", "pack.segment_multiple"),
        ("pack: {segment_multiple: 8192}", "pack.segment_multiple"),
        ("pack: {max_segments: 0}", "pack.max_segments"),
        ("batch: {rows: 0}", "batch.rows"),
        ("batch: {rows: 1000000}", "batch.rows"),
        ("batch: {step_rows: 4}", "batch.step_rows"),
        ("batch: {labels: align}", "batch.labels"),
        ("plan: globe", "plan"),
        ("lanes: 0", "lanes"),
        ("shuffle: on", "shuffle"),
        ("hold: 2 gb", "hold"),
        ("hold: -1", "hold"),
        ("hold: 99999999TiB", "hold"),
        ("epochs: 0", "epochs"),
        ("on_exhausted: stop", "on_exhausted"),
        ("on_exhausted: end", "on_exhausted"),
        ("schedule: [{row: 1, weights: {a: 1}}]", "schedule"),
        ("schedule: []", "schedule"),
        ("schedule: {row: 1}", "schedule"),
        ("on_bad_record: skip", "on_bad_record"),
        (
            "on_bad_record: {skip: {}}",
            "on_bad_record.skip.max_fraction",
        ),
        (
            "on_bad_record: {skip: {max_fraction: 1.5}}",
            "on_bad_record.skip.max_fraction",
        ),
        (
            "on_bad_record: {skip: {max_fraction: .nan}}",
            "on_bad_record.skip.max_fraction",
        ),
        ("on_bad_record: {stop: {}}", "on_bad_record"),
        ("workers: 0", "workers"),
        ("prefetch: 0", "prefetch"),
        ("io: direct", "io"),
        ("tokeniser: x", "tokeniser"),
    ] {
        let fault = fault(more);
        assert_eq!(
            (fault.path.as_str(), fault.line),
            (path, Some(5)),
            "{more}: {fault}"
        );
    }
}

#[test]
fn sources_and_tokenizer_are_looked_into() {
    let base = |tokenizer: &str, source: &str| {
        format!("tokenizer: {tokenizer}\nsources:\n  - {{name: a, paths: [a]}}\n  - {source}\n")
    };
    for (tokenizer, source, line, path) in [
        ("{bos: x}", "{name: b, paths: [b]}", 1, "tokenizer.path"),
        ("null", "{name: b, paths: [b]}", 1, "tokenizer"),
        (
            "https://hub/org/m",
            "{name: b, paths: [b]}",
            1,
            "tokenizer.path",
        ),
        (
            "{path: /m, revision: x}",
            "{name: b, paths: [b]}",
            1,
            "tokenizer.revision",
        ),
        ("m", "b", 4, "sources[1]"),
        ("m", "{paths: [b]}", 4, "sources[1].name"),
        ("m", "{name: '', paths: [b]}", 4, "sources[1].name"),
        ("m", "{name: b}", 4, "sources[1].paths"),
        ("m", "{name: b, paths: []}", 4, "sources[1].paths"),
        ("m", "{name: b, paths: b}", 4, "sources[1].paths"),
        ("m", "{name: b, paths: ['b[']}", 4, "sources[1].paths[0]"),
        (
            "m",
            "{name: b, paths: ['file:///b']}",
            4,
            "sources[1].paths[0]",
        ),
        (
            "m",
            "{name: b, paths: [b], limit: 0}",
            4,
            "sources[1].limit",
        ),
        (
            "m",
            "{name: b, paths: [b], format: csv}",
            4,
            "sources[1].format",
        ),
        (
            "m",
            "{name: b, paths: [b], fields: {text: 1}}",
            4,
            "sources[1].fields.text",
        ),
        (
            "m",
            "{name: b, paths: [b], roles: {human: [user]}}",
            4,
            "sources[1].roles.human",
        ),
        (
            "m",
            "{name: b, paths: [b], roles: {a: x, a: y}}",
            4,
            "sources[1].roles.a",
        ),
        (
            "m",
            "{name: b, paths: [b], mask: {train: markers}}",
            4,
            "sources[1].mask.markers",
        ),
        (
            "m",
            "{name: b, paths: [b], template: {nam: x}}",
            4,
            "sources[1].template.nam",
        ),
    ] {
        let text = base(tokenizer, source);
        let faults = parse(&text).unwrap_err().faults;
        let places: Vec<_> = faults
            .iter()
            .map(|fault| (fault.line, fault.path.as_str()))
            .collect();
        assert_eq!(places, [(Some(line), path)], "{text}: {faults:#?}");
    }
}

#[test]
fn missing_keys_are_named_together() {
    assert_eq!(
        faults("# nothing yet\nseed: 1"),
        [
            "recipe:2: tokenizer: missing, expected a path or a mapping",
            "recipe:2: sources: missing, expected a list of sources, at least one",
        ]
    );
}

#[test]
fn what_was_probably_meant_is_named() {
    for (more, nearest) in [
        ("Lanes: 8", "lanes"),
        ("work-ers: 8", "workers"),
        ("sequence_length: 512", "pack.sequence_length"),
        ("batch_size: 8", "batch.rows"),
        ("max_seq_length: 512", "pack.sequence_length"),
        ("num_train_epochs: 3", "epochs"),
        ("datasets: []", "sources"),
        ("limit: 3", "sources[].limit"),
        ("pack: {seq_len: 512}", "sequence_length"),
        ("pack: {sequence_length: '4_096'}", "4096"),
        ("pack: {strategy: knapsak}", "knapsack"),
        ("pack: {strategy: ~}", "none"),
        ("shuffle: 'true'", "true"),
        ("hold: 2g", "2GiB"),
        ("hold: 512mib", "512MiB"),
        ("template: {name: 3}", "\"3\""),
        ("mask: {roles: assistant}", "[\"assistant\"]"),
    ] {
        assert_eq!(fault(more).nearest.as_deref(), Some(nearest), "{more}");
    }
    let stranger = fault("completely: different");
    assert_eq!(stranger.nearest, None);
    assert!(
        stranger
            .message
            .starts_with("unknown key, expected one of version, seed, tokenizer")
    );
}

#[test]
fn nothing_is_concluded_from_what_is_wrong() {
    // One fault each, although the stand-in for the wrong value would break a rule between keys.
    assert_eq!(
        fault("pack: {sequence_length: x, segment_multiple: 3}").path,
        "pack.sequence_length"
    );
    assert_eq!(fault("pack: 3").path, "pack");
    assert_eq!(
        fault("mask: {train: markers, markers: 3}").path,
        "mask.markers"
    );
    assert_eq!(fault("batch: {rows: 0, step_rows: 3}").path, "batch.rows");
}

#[test]
fn a_fault_in_what_an_alias_repeats_has_the_line_of_what_it_names() {
    let text = "tokenizer: org/m
mask: &m
  train: al
sources:
  - {name: a, paths: [a], mask: *m}
";
    let lines: Vec<_> = parse(text)
        .unwrap_err()
        .faults
        .iter()
        .map(|fault| (fault.line, fault.path.clone()))
        .collect();
    let at = |path: &str| (Some(3), path.to_owned());
    assert_eq!(lines, [at("sources[0].mask.train"), at("mask.train")]);
}
