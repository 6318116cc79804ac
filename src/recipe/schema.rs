//! The table as a JSON schema, for editors.

use super::keys::RECIPE;
use super::shape::{Choice, Key, Need, Section, Shape, Text};
use super::{size, weight};
use serde_json::{Map, Value, json};

/// The recipe's JSON schema (draft 2020-12), with descriptions and defaults: what editors complete and
/// check by, and what `packmill check --schema` prints. It knows each key alone; what keys ask of each
/// other only reading finds.
pub fn schema() -> Value {
    let mut schema = section(&RECIPE);
    if let Value::Object(map) = &mut schema {
        map.insert("title".into(), "packmill recipe".into());
        map.insert(
            "$schema".into(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
    }
    schema
}

fn section(section: &Section) -> Value {
    let defaults = (section.defaults)();
    let mut properties = Map::new();
    for key in section.keys {
        properties.insert(key.name.into(), property(key, defaults.get(key.name)));
    }
    let required: Vec<&str> = section
        .keys
        .iter()
        .filter(|key| key.need == Need::Required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key, default: Option<&Value>) -> Value {
    let mut property = shape(&key.shape);
    if let Value::Object(map) = &mut property {
        map.insert("description".into(), key.doc.into());
        if key.need != Need::Required {
            let default = match (&key.shape, default.and_then(Value::as_u64)) {
                (Shape::Size { .. }, Some(bytes)) => size::format(bytes).into(),
                _ => default.cloned().unwrap_or_default(),
            };
            map.insert("default".into(), default);
        }
    }
    property
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Integer { least, most } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Shape::Fraction => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Shape::Weight { least: 0 } => {
            json!({"type": "number", "minimum": 0, "maximum": weight::MOST})
        }
        Shape::Weight { .. } => {
            json!({"type": "number", "exclusiveMinimum": 0, "maximum": weight::MOST})
        }
        Shape::Size { least, most } => json!({"anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            {"type": "string", "pattern": size::PATTERN},
        ]}),
        Shape::Text(Text::Any) => json!({"type": "string"}),
        Shape::Text(Text::Moment) => {
            json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$"})
        }
        Shape::Text(_) => json!({"type": "string", "minLength": 1}),
        Shape::Choice(choices) => {
            json!({"oneOf": choices.iter().map(choice).collect::<Vec<Value>>()})
        }
        Shape::List { of, .. } => json!({"type": "array", "items": shape(of), "minItems": 1}),
        Shape::Named { of, .. } => json!({"type": "object", "additionalProperties": shape(of)}),
        Shape::Values => json!({"type": "object"}),
        Shape::Section(below) => section(below),
        Shape::Located(below) => {
            json!({"anyOf": [{"type": "string", "minLength": 1}, section(below)]})
        }
        Shape::Nullable(inner) => json!({"anyOf": [shape(inner), {"type": "null"}]}),
    }
}

fn choice(choice: &Choice) -> Value {
    match choice.body {
        None => json!({"const": choice.name, "description": choice.doc}),
        Some(body) => {
            let mut properties = Map::new();
            properties.insert(choice.name.into(), section(body));
            json!({
                "type": "object",
                "description": choice.doc,
                "properties": properties,
                "required": [choice.name],
                "additionalProperties": false,
            })
        }
    }
}
