//! The table, the structs, the schema and the page agree.

use super::*;
use crate::recipe::keys::{RECIPE, join};
use crate::recipe::shape::{Key, Need, Section, Shape};
use serde_json::{Value, json};

/// Every key with its path and default.
fn walk(section: &Section, path: &str, visit: &mut dyn FnMut(&str, &Key, Option<&Value>)) {
    let defaults = (section.defaults)();
    for key in section.keys {
        let path = join(path, key.name);
        visit(&path, key, defaults.get(key.name));
        let list = if matches!(key.shape.inner(), Shape::List { .. }) {
            "[]"
        } else {
            ""
        };
        // A source's own template, filter, split and mask have the keys of the recipe's.
        if let Some(below) = key.shape.section()
            && !matches!(
                path.as_str(),
                "sources[].template" | "sources[].filter" | "sources[].split" | "sources[].mask"
            )
        {
            walk(below, &format!("{path}{list}"), visit);
        }
    }
}

/// A struct with a field that has no line in the table, or a line that has no field, fails here.
#[test]
fn structs_and_table_have_the_same_keys_in_the_same_order() {
    let markers = Markers {
        response: "r".to_owned(),
        instruction: None,
    };
    let filter = Some(FilterConfig {
        tokens: Some(Bounds::default()),
        turns: Some(Bounds::default()),
        r#where: None,
    });
    let split = Some(SplitConfig::default());
    let recipe = Recipe {
        filter: filter.clone(),
        split: split.clone(),
        sources: vec![SourceConfig {
            filter,
            split,
            template: Some(TemplateConfig::default()),
            mask: Some(MaskConfig {
                markers: Some(markers.clone()),
                ..MaskConfig::default()
            }),
            ..SourceConfig::default()
        }],
        mask: MaskConfig {
            markers: Some(markers),
            ..MaskConfig::default()
        },
        schedule: vec![ScheduleEntry {
            row: 1,
            weights: Default::default(),
        }],
        ..Recipe::default()
    };
    fn compare(value: &Value, section: &Section, path: &str) {
        let fields: Vec<&str> = value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let keys: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        assert_eq!(fields, keys, "{path}");
        for key in section.keys {
            let value = value.get(key.name).unwrap_or(&Value::Null);
            let value = value.get(0).unwrap_or(value);
            if let Some(below) = key.shape.section() {
                compare(value, below, &format!("{path}.{}", key.name));
            }
        }
    }
    compare(&serde_json::to_value(recipe).unwrap(), &RECIPE, "recipe");
}

/// Every variant of the table is one that its enum has, and the other way round.
#[test]
fn every_choice_is_one_that_the_structs_take() {
    let mut count = 0;
    walk(&RECIPE, "", &mut |path, key, _| {
        let Shape::Choice(choices) = key.shape.inner() else {
            return;
        };
        for choice in choices.iter().filter(|choice| choice.body.is_none()) {
            // What every recipe has to have already.
            if path.starts_with("tokenizer.") {
                let named = format!("tokenizer: {{path: a/b, engine: {}}}\n", choice.name);
                let sources = LEAST.split_once("sources:").unwrap().1;
                assert!(
                    parse(&format!("{named}sources:{sources}")).is_ok(),
                    "{named}"
                );
                count += 1;
                continue;
            }
            let line = match path.split_once("[].").or_else(|| path.split_once('.')) {
                Some(("sources", name)) => format!("    {name}: {}\n", choice.name),
                Some(("mask", name)) => format!(
                    "mask: {{{name}: {}, markers: {{response: r}}}}\n",
                    choice.name
                ),
                Some(("split", name)) => {
                    format!("split: {{fraction: 0.1, {name}: {}}}\n", choice.name)
                }
                Some((section, name)) => format!("{section}: {{{name}: {}}}\n", choice.name),
                None if path == "on_exhausted" => {
                    format!("    weight: 1\n{path}: {}\n", choice.name)
                }
                None => format!("{path}: {}\n", choice.name),
            };
            assert!(parse_with(&line).is_ok(), "{line}");
            count += 1;
        }
    });
    // As many as there are variants.
    assert_eq!(count, 56);
}

#[test]
fn the_schema_says_what_reading_does() {
    let schema = schema();
    let pointer = |pointer: &str| {
        schema
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer}"))
    };
    assert_eq!(
        pointer("/$schema"),
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(pointer("/required"), &json!(["tokenizer", "sources"]));
    assert_eq!(pointer("/additionalProperties"), false);
    assert_eq!(pointer("/properties/hold/default"), "2GiB");
    let weight = "/properties/sources/items/properties/weight/anyOf/0";
    assert_eq!(
        pointer(weight),
        &json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000})
    );
    let entry = "/properties/schedule/anyOf/0/items";
    assert_eq!(
        pointer(&format!("{entry}/required")),
        &json!(["row", "weights"])
    );
    assert_eq!(
        pointer(&format!("{entry}/properties/weights/additionalProperties")),
        &json!({"type": "number", "minimum": 0, "maximum": 1_000_000})
    );
    assert_eq!(pointer("/properties/on_exhausted/default"), "repeat");
    assert_eq!(
        pointer("/properties/pack/properties/lookahead/default"),
        128
    );
    assert_eq!(
        pointer("/properties/sources/items/required"),
        &json!(["name", "paths"])
    );
    let (mut keys, mut found) = (0, 0);
    walk(&RECIPE, "", &mut |path, key, _| {
        keys += 1;
        assert!(key.doc.ends_with('.'), "{path}");
        let pointer = path.replace("[].", "/items.").replace('.', "/properties/");
        // Shorthands and nulls lie in an anyOf of their own.
        if let Some(property) = schema.pointer(&format!("/properties/{pointer}")) {
            assert_eq!(property["description"], key.doc, "{path}");
            let none = key.need == Need::Required;
            assert_eq!(property.get("default").is_none(), none, "{path}");
            found += 1;
        }
    });
    assert!(keys > 50 && found > 40, "{keys} keys, {found} found");
}

/// `docs/recipe.md` has a row for each key, with the type and default of the table.
#[test]
fn the_page_lists_every_key_with_its_type_and_default() {
    let page = include_str!("../../../docs/recipe.md");
    let mut missing = Vec::new();
    walk(&RECIPE, "", &mut |path, key, default| {
        let default = match (key.need, &key.shape, default) {
            (Need::Required, ..) => "required".to_owned(),
            (_, Shape::Section(_), _) => "below".to_owned(),
            (_, Shape::Nullable(Shape::Located(_)), Some(Value::Object(_))) => "below".to_owned(),
            (_, Shape::Size { .. }, Some(bytes)) => {
                format!("`{}`", size::format(bytes.as_u64().unwrap()))
            }
            (_, _, Some(Value::String(text))) => format!("`{text}`"),
            (_, _, value) => format!("`{}`", value.unwrap_or(&Value::Null)),
        };
        let row = format!(
            "| `{path}` | {} | {default} | {}",
            key.shape.expected(),
            key.doc
        );
        if !page.contains(&row) {
            missing.push(row);
        }
    });
    assert!(
        missing.is_empty(),
        "docs/recipe.md lacks:\n{}",
        missing.join("\n")
    );
}
