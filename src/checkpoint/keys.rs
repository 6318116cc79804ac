//! The readable part of a fingerprint: keys of the recipe that change rows, resolved, each under its own path.
//!
//! Every struct is taken apart field by field, so that a new key does not compile before somebody has said
//! whether it changes rows.

use super::print::{SourcePrint, TokenizerPrint, hash_of_texts};
use crate::recipe::{
    FieldLoss, Fields, MaskConfig, OnExhausted, PackConfig, Render, ScheduleEntry, SourceConfig,
    Strategy, TemplateConfig, Train,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Characters of a value that is written out; a longer one is cut and hashed.
const LONGEST_VALUE: usize = 64;

/// The version of what makes examples of records; 1 where there is none.
pub(super) const EXAMPLES: &str = "examples version";

/// What is collected: readable values by the recipe's own paths.
#[derive(Default)]
pub(super) struct Keys(pub(super) BTreeMap<String, String>);

impl Keys {
    pub(super) fn add(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.to_owned(), short(value.to_string()));
    }

    /// Named from 2 on: checkpoints of earlier versions have none, and are of version 1.
    pub(super) fn examples_version(&mut self, version: u32) {
        if version > 1 {
            self.add(EXAMPLES, version);
        }
    }

    pub(super) fn tokenizer(&mut self, tokenizer: &TokenizerPrint) {
        let TokenizerPrint {
            version,
            files,
            special_tokens,
            bos,
            eos,
            pad,
        } = tokenizer;
        self.add("tokenizer version", version);
        self.add("tokenizer files", format!("{files:032x}"));
        let texts = special_tokens
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_str()));
        let texts = hash_of_texts(texts);
        self.add("tokenizer's special tokens", format!("{texts:016x}"));
        let id = |id: &Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
        self.add("tokenizer.bos", id(bos));
        self.add("tokenizer.eos", id(eos));
        self.add("tokenizer.pad", pad);
    }

    pub(super) fn pack(&mut self, pack: &PackConfig) {
        let PackConfig {
            strategy,
            sequence_length,
            overlong,
            lookahead,
            segment_multiple,
            max_segments,
        } = pack;
        self.add("pack.strategy", word(strategy));
        self.add("pack.sequence_length", sequence_length);
        self.add("pack.segment_multiple", segment_multiple);
        match strategy {
            Strategy::Knapsack => {
                self.add("pack.overlong", word(overlong));
                self.add("pack.lookahead", lookahead);
            }
            // It cuts wherever a row ends, and holds one row's worth.
            Strategy::Concat => {}
            // A row holds one segment, whatever the most.
            Strategy::None => return self.add("pack.overlong", word(overlong)),
        }
        let most = max_segments.map_or("none".to_owned(), |most| most.to_string());
        self.add("pack.max_segments", most);
    }

    /// Of sources with weights, which are in the sources' own keys.
    pub(super) fn mixture(&mut self, on_exhausted: OnExhausted, schedule: &[ScheduleEntry]) {
        self.add("on_exhausted", word(&on_exhausted));
        if schedule.is_empty() {
            return;
        }
        let entries = schedule.iter().map(|ScheduleEntry { row, weights }| {
            // A source that is not named has 0 too.
            let mut weights = weights.clone();
            weights.retain(|_, weight| *weight > 0);
            (row, weights)
        });
        self.add(
            "schedule in millionths",
            object(&BTreeMap::from_iter(entries)),
        );
    }

    pub(super) fn source(&mut self, config: &SourceConfig, print: &SourcePrint) {
        let SourceConfig {
            name: _,
            paths: _,
            weight,
            limit,
            format,
            kind,
            fields,
            roles,
            template: _,
            render: _,
            mask: _,
        } = config;
        self.add("form", print.form);
        self.add("blocks", print.blocks);
        self.add("kind", word(kind));
        self.add("format", word(format));
        if let Some(weight) = weight {
            self.add("weight in millionths", weight);
        }
        if let Some(limit) = limit {
            self.add("limit", limit);
        }
        self.fields(fields);
        if !roles.is_empty() {
            self.add("roles", object(roles));
        }
    }

    /// Only names that are not the ecosystem's own: those can never come to mean something else.
    fn fields(&mut self, fields: &Fields) {
        let (Ok(Value::Object(own)), Ok(Value::Object(named))) = (
            serde_json::to_value(Fields::default()),
            serde_json::to_value(fields),
        ) else {
            return;
        };
        for (field, name) in &named {
            if let (Some(name), false) = (name.as_str(), own.get(field) == Some(name)) {
                self.add(&format!("fields.{field}"), name);
            }
        }
    }

    pub(super) fn mask(&mut self, mask: &MaskConfig) {
        let MaskConfig {
            train,
            markers,
            roles,
            end_of_turn,
            reasoning,
            tool_calls,
        } = mask;
        self.add("mask.train", word(train));
        self.add("mask.roles", roles.join(", "));
        self.add("mask.end_of_turn", end_of_turn);
        // Named where they change something: checkpoints of earlier versions have neither.
        for (name, loss) in [
            ("mask.reasoning", reasoning),
            ("mask.tool_calls", tool_calls),
        ] {
            if *loss == FieldLoss::Skip {
                self.add(name, word(loss));
            }
        }
        if *train == Train::Markers {
            self.add("mask.markers", object(markers));
        }
    }

    /// Named where it changes something: checkpoints of earlier versions have none.
    pub(super) fn render(&mut self, render: Render) {
        if render != Render::Whole {
            self.add("render", word(&render));
        }
    }

    pub(super) fn template(&mut self, template: &TemplateConfig, text: u64) {
        let TemplateConfig {
            path: _,
            name,
            now,
            kwargs,
            system,
        } = template;
        self.add("template", format!("{text:016x}"));
        let texts = [("name", name), ("now", now), ("system", system)];
        for (key, value) in texts {
            if let Some(value) = value {
                self.add(&format!("template.{key}"), object(value));
            }
        }
        if !kwargs.is_empty() {
            // A template sees variables, which have no order; what is inside them has one.
            let sorted: BTreeMap<_, _> = kwargs.iter().collect();
            self.add("template.kwargs", object(&sorted));
        }
    }
}

/// How the recipe writes one of a choice.
pub(super) fn word(of: &impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(Value::String(word)) => word,
        other => other.unwrap_or_default().to_string(),
    }
}

/// Texts and numbers as JSON: they have no way to fail.
fn object(of: &impl Serialize) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

/// A long value by its beginning and its hash.
fn short(value: String) -> String {
    if value.chars().count() <= LONGEST_VALUE {
        return value;
    }
    let beginning: String = value.chars().take(LONGEST_VALUE / 2).collect();
    format!("{beginning}… {:016x}", xxh3_64(value.as_bytes()))
}
