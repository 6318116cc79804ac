//! Weights, their schedule, and the end of a source.

use super::*;
use crate::order::weights::Weights;
use serde_json::json;

/// A recipe of two sources, each with these keys more, and lines after them.
fn two(a: &str, b: &str, more: &str) -> String {
    let source = |name: &str, keys: &str| format!("  - {{name: {name}, paths: [a]{keys}}}\n");
    let (a, b) = (source("a", a), source("b.x", b));
    format!("tokenizer: org/model\nsources:\n{a}{b}{more}")
}

/// Two sources with weights, and lines from line 5 on.
fn weighted(more: &str) -> String {
    two(", weight: 1", ", weight: 0.5", more)
}

#[test]
fn weights_are_millionths_and_print_as_numbers() {
    let recipe = parse(&two(", weight: 2", ", weight: 0.5", "")).unwrap();
    let weights: Vec<_> = recipe.sources.iter().map(|source| source.weight).collect();
    assert_eq!(weights, [Some(2_000_000), Some(500_000)]);
    let text = recipe.to_string();
    assert!(
        text.contains("    weight: 2\n") && text.contains("    weight: 0.5\n"),
        "{text}"
    );
    for (written, weight) in [
        ("1e-9", 1),
        ("0.0000016", 2),
        ("0.333333333", 333_333),
        ("2.0", 2_000_000),
        ("1000000", 1_000_000_000_000),
    ] {
        let recipe = parse(&two(&format!(", weight: {written}"), ", weight: 1", "")).unwrap();
        assert_eq!(recipe.sources[0].weight, Some(weight), "{written}");
    }
}

#[test]
fn a_recipe_without_weights_has_none() {
    let recipe = parse(&two(
        "",
        ", weight: null",
        "on_exhausted: null\nschedule: null",
    ))
    .unwrap();
    assert_eq!(recipe.weights(), None);
    assert_eq!(
        (recipe.on_exhausted, recipe.schedule.len()),
        (OnExhausted::Repeat, 0)
    );
    assert_eq!(Recipe::default().weights(), None);
}

#[test]
fn weights_stand_in_the_order_of_the_sources_and_0_where_none_is_named() {
    let recipe = parse(&weighted(
        "on_exhausted: stop
schedule:
  - {row: 10, weights: {b.x: 3}}
  - row: 100000
    weights:
      b.x: 0
      a: 0.25
",
    ))
    .unwrap();
    assert_eq!(recipe.on_exhausted, OnExhausted::Stop);
    let weights = Weights::new(vec![1_000_000, 500_000])
        .then(10, vec![0, 3_000_000])
        .then(100_000, vec![250_000, 0]);
    assert_eq!(recipe.weights(), Some(weights));
    let text = recipe.to_string();
    let schedule = "schedule:
  - row: 10
    weights: {b.x: 3}
  - row: 100000
    weights: {a: 0.25, b.x: 0}
";
    assert!(text.contains(schedule), "{text}");
    assert_eq!(parse(&text).unwrap(), recipe);
}

#[test]
fn keys_that_do_not_go_together_are_refused_at_their_lines() {
    for (text, fault) in [
        (
            two(", weight: 1", "", ""),
            "recipe:4: sources[1].weight: missing, expected a number above 0 beside the weight of sources[0]: \
             all sources have weights or none has",
        ),
        (
            two(", weight: null", ", weight: 1", ""),
            "recipe:3: sources[0].weight: missing, expected a number above 0 beside the weight of sources[1]: \
             all sources have weights or none has",
        ),
        (
            weighted("epochs: 3"),
            "recipe:5: epochs: expected null beside weights, found 3: weighted sources end at different times; \
             end the stream with on_exhausted: stop or --steps",
        ),
        (
            two("", "", "on_exhausted: stop"),
            "recipe:5: on_exhausted: expected null or repeat without weights, found \"stop\": epochs ends a \
             stream of sources without weights, or give each source a weight",
        ),
        (
            two("", "", "seed: 1\nschedule: [{row: 1, weights: {a: 1}}]"),
            "recipe:6: schedule: expected null without weights, found a list: give each source a weight, which \
             holds until the first row of the schedule",
        ),
    ] {
        assert_eq!(faults(&text), [fault], "{text}");
    }
}

#[test]
fn a_wrong_schedule_is_refused_at_its_line() {
    for (lines, fault) in [
        (
            "  - {row: 7, weights: {a: 1}}\n  - {row: 7, weights: {a: 2}}\n",
            "7: schedule[1].row: expected a row after that of the entry before (7), found 7",
        ),
        (
            "  - {row: 0, weights: {a: 1}}\n",
            "6: schedule[0].row: expected an integer of at least 1, found 0",
        ),
        (
            "  - {weights: {a: 1}}\n",
            "6: schedule[0].row: missing, expected an integer of at least 1",
        ),
        (
            "  - row: 1\n",
            "6: schedule[0].weights: missing, expected a mapping of weights",
        ),
        (
            "  - row: 1\n    weights:\n      a: 1\n      b.y: 1\n",
            "9: schedule[0].weights.b.y: expected the name of a source, one of a, b.x; did you mean b.x?",
        ),
        (
            "  - row: 1\n    weights: {}\n",
            "7: schedule[0].weights: expected a weight above 0 for at least one source, found none",
        ),
        (
            "  - {row: 1, weights: {a: 1}}\n  - {row: 2, weights: {a: 0, b.x: 0.0}}\n",
            "7: schedule[1].weights: expected a weight above 0 for at least one source, found none",
        ),
        (
            "  - {row: 1, weights: {a: -1}}\n",
            "6: schedule[0].weights.a: expected a number from 0 to 1000000, found -1",
        ),
        (
            "  - {row: 1, weights: {a: 1, a: 1}}\n",
            "6: schedule[0].weights.a: given twice, first in line 6",
        ),
        (
            "  - {row: 1, weights: [1, 2]}\n",
            "6: schedule[0].weights: expected a mapping of weights, found a list",
        ),
    ] {
        let text = weighted(&format!("schedule:\n{lines}"));
        assert_eq!(faults(&text), [format!("recipe:{fault}")], "{text}");
    }
}

#[test]
fn a_weight_is_a_number_above_0_and_at_most_a_million() {
    let message = "expected a number above 0 and at most 1000000, found";
    for (weight, found) in [
        ("0", "0"),
        ("-0.0", "-0.0"),
        ("-1", "-1"),
        ("1000001", "1000001"),
        ("1000000.1", "1000000.1"),
        (".inf", "inf"),
        (".nan", "NaN"),
        ("half", "\"half\""),
        ("[1]", "a list"),
        ("'2'", "\"2\"; did you mean 2?"),
    ] {
        let text = two(&format!(", weight: {weight}"), ", weight: 1", "");
        let fault = format!("recipe:3: sources[0].weight: {message} {found}");
        assert_eq!(faults(&text), [fault]);
    }
    // Nothing is concluded from a wrong one: not that the other source lacks its own, nor that a schedule may
    // not be.
    let text = two(", weight: 0", "", "schedule: [{row: 1, weights: {a: x}}]");
    let faults = parse(&text).unwrap_err().faults;
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["sources[0].weight", "schedule[0].weights.a"]);
}

#[test]
fn a_mixture_from_json_or_rust_is_checked_too() {
    let source = |name: &str, weight: f64| json!({"name": name, "paths": [name], "weight": weight});
    let value = json!({
        "tokenizer": "org/m",
        "sources": [source("a", 0.1), source("b", 3.0)],
        "schedule": [{"row": 5, "weights": {"b": 1}}],
    });
    let mut recipe = Recipe::from_value(&value, Path::new("/nowhere")).unwrap();
    assert_eq!(recipe.sources[0].weight, Some(100_000));
    assert_eq!(recipe.checked().unwrap(), recipe);
    recipe.sources[1].weight = Some(1_000_000_000_001);
    recipe.schedule[0].weights.insert("c".to_owned(), 1);
    recipe.epochs = Some(1);
    let faults = recipe.checked().unwrap_err().faults;
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    let wrong = ["sources[1].weight", "epochs", "schedule[0].weights.c"];
    assert_eq!(paths, wrong);
    let unnamed = json!({"tokenizer": "m", "schedule": [{"row": 1, "weights": {"a": 1}}]});
    let faults = Recipe::from_value(&unnamed, Path::new("/nowhere")).unwrap_err();
    assert_eq!(faults.faults.len(), 1, "{faults}");
    let negative = json!({"row": 1, "weights": {"a": -1.0}});
    assert!(serde_json::from_value::<ScheduleEntry>(negative).is_err());
}
