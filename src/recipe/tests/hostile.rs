//! Recipes that mean harm, and recipes that were hit by a meteor: faults, never a panic or a hang.

use super::{LEAST, parse, parse_with};
use crate::recipe::Recipe;
use proptest::prelude::*;
use std::path::Path;

fn only(text: &str) -> (Option<usize>, String) {
    let faults = parse(text).unwrap_err().faults;
    assert_eq!(faults.len(), 1, "{faults:#?}");
    (faults[0].line, faults[0].message.clone())
}

#[test]
fn syntax_errors_have_their_line() {
    for (text, line) in [
        ("tokenizer: [a\nsources: b\n", 2),
        ("a: 1\nb: c: d\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("pack:\n\tstrategy: none\n", 2),
        ("a: 1\nb: 'x\n\n", 2),
        ("a: *nobody\n", 1),
        ("a: \"\\q\"\n", 1),
    ] {
        let (found, message) = only(text);
        assert!(message.starts_with("not YAML: "), "{text:?}: {message}");
        assert_eq!(found, Some(line), "{text:?}: {message}");
    }
}

#[test]
fn what_is_no_single_mapping_is_refused() {
    assert_eq!(only("").1, "expected a recipe, found nothing");
    assert_eq!(
        only("# only a comment\n").1,
        "expected a recipe, found nothing"
    );
    assert_eq!(only("---\n").1, "expected a mapping, found null");
    assert_eq!(only("- a\n").1, "expected a mapping, found a list");
    let two = only(&format!("{LEAST}---\n{LEAST}"));
    assert_eq!((two.0, two.1.contains("found a second")), (Some(5), true));
    assert!(only("[a, b]: 1").1.contains("expected a text as key"));
    assert!(only("? {a: 1}\n: 1").1.contains("expected a text as key"));
    assert!(only("b: &x c\n*x : d").1.contains("found an alias"));
    assert!(only("seed: !secret 3").1.contains("without a tag"));
    assert!(only("seed: !!int three").1.contains("without a tag"));
    assert!(only("pack: !!set {a}").1.contains("without a tag"));
}

#[test]
fn core_tags_are_understood() {
    let recipe =
        parse_with("seed: !!int 3\npack: !!map {}\nmask: {roles: !!seq [!!str 3]}").unwrap();
    assert_eq!((recipe.seed, recipe.mask.roles[0].as_str()), (3, "3"));
}

#[test]
fn bytes_that_are_no_text_have_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.yaml");
    std::fs::write(&path, b"seed: 1\nname: \xff\xfe\n").unwrap();
    let faults = Recipe::load(&path).unwrap_err();
    assert_eq!(faults.faults[0].line, Some(2));
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let faults = Recipe::load(&path).unwrap_err();
    assert!(
        faults
            .to_string()
            .contains("expected at most 1048576 bytes"),
        "{faults}"
    );
    assert!(Recipe::load(folder.path()).is_err());
}

#[test]
fn bombs_meet_a_cap() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let names = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{names}]\n"));
    }
    assert!(
        only(&laughs)
            .1
            .contains("expected anchors and aliases of at most")
    );
    // Anchors within anchors, around much.
    let nested: String = (0..40).map(|level| format!("&a{level} [")).collect();
    assert!(
        only(&format!(
            "a: {nested}{}{}",
            "x,".repeat(9_000),
            "]".repeat(40)
        ))
        .1
        .contains("expected anchors and aliases")
    );
    assert!(only("a: &a [*a]").1.contains("something finished"));
    // A chain of aliases that nests deeper than any of its parts.
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(only(&chain).1.contains("levels of nesting"));
}

#[test]
fn depth_meets_a_cap() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(50_000),
        "- ".repeat(200_000),
        "? ".repeat(200_000),
        format!("a: {}", "[".repeat(60)),
        (0..1000)
            .map(|level| format!("{:level$}a:\n", ""))
            .collect(),
    ] {
        assert!(parse(&text).is_err());
    }
    let mut value = serde_json::Value::Null;
    for _ in 0..60 {
        value = serde_json::json!([value]);
    }
    let faults = Recipe::from_value(&value, Path::new("/")).unwrap_err();
    assert!(faults.to_string().contains("levels of nesting"));
}

#[test]
fn a_million_faults_are_listed_in_part_and_soon() {
    let text: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    let begin = std::time::Instant::now();
    let faults = parse(&text).unwrap_err();
    assert_eq!(faults.faults.len(), 1001);
    let last = faults.to_string().lines().last().unwrap().to_owned();
    assert!(last.ends_with("more faults are not listed"), "{last}");
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_gives_a_recipe_or_faults(text in "\\PC*|[\\x00-\\x7f]{0,200}") {
        let _ = parse(&text);
    }

    /// Text made of what means something to YAML.
    #[test]
    fn any_yaml_gives_a_recipe_or_faults(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "\n", "\n  ", "\n    ", " ", "\t", ": ", "- ", "? ", "[", "]", "{", "}", ",", "&a ", "*a", "!t ",
                "!!str ", "|", ">", "'", "\"", "#", "%", "---\n", "...\n", "~", "1", ".5", "tokenizer", "sources",
                "name", "paths", "pack", "mask", "template", "kwargs", "skip", "\u{feff}", "\u{85}", "\\x", "é",
            ]),
            0..60,
        )
    ) {
        let _ = parse(&parts.concat());
    }

    /// A right recipe with a few pieces taken out, doubled or swapped for others.
    #[test]
    fn a_damaged_recipe_gives_a_recipe_or_faults(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[\\PC\n\t]{0,6}"), 1..8)
    ) {
        let mut text: Vec<char> = parse(LEAST).unwrap().to_string().chars().collect();
        for (at, length, new) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, new.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(faults) = parse(&text) {
            let lines = text.lines().count().max(1) + 1;
            prop_assert!(!faults.faults.is_empty());
            prop_assert!(faults.faults.iter().all(|fault| fault.line.is_some_and(|line| line <= lines)));
            prop_assert!(faults.to_string().lines().count() == faults.faults.len());
        }
    }
}
