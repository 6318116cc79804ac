//! The readable part of a fingerprint: keys of the recipe that change rows, resolved, each under its own path.
//!
//! Every struct is taken apart field by field, so that a new key does not compile before somebody has said
//! whether it changes rows.

use super::print::{SourcePrint, TokenizerPrint, hash_of_texts};
use crate::recipe::{
    Bounds, FieldLoss, Fields, FilterConfig, LimitsConfig, LossWeights, MaskConfig, OnExhausted,
    PackConfig, Render, ScheduleEntry, SourceConfig, SpecialTokensInText, SplitConfig, Strategy,
    TemplateConfig, Train,
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

    /// Which records are read and understood. Named where they are not the defaults: checkpoints of earlier versions have
    /// none of them, and hardly a corpus comes near.
    pub(super) fn limits(&mut self, limits: &LimitsConfig) {
        let LimitsConfig {
            line_bytes,
            record_bytes,
            nesting,
            window_log,
            ratio,
            template_fuel,
            template_output_bytes,
            run_bytes,
            examples_per_record,
        } = *limits;
        let own = LimitsConfig::DEFAULT;
        for (name, value, default) in [
            ("line_bytes", line_bytes, own.line_bytes),
            ("record_bytes", record_bytes, own.record_bytes),
            ("nesting", nesting.into(), own.nesting.into()),
            ("window_log", window_log.into(), own.window_log.into()),
            ("ratio", ratio, own.ratio),
            ("template_fuel", template_fuel, own.template_fuel),
            (
                "template_output_bytes",
                template_output_bytes,
                own.template_output_bytes,
            ),
            ("run_bytes", run_bytes, own.run_bytes),
            (
                "examples_per_record",
                examples_per_record as u64,
                own.examples_per_record as u64,
            ),
        ] {
            if value != default {
                self.add(&format!("limits.{name}"), value);
            }
        }
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
            special_tokens_in_text: _,
            filter: _,
            split: _,
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
        if let Some(function) = &print.function {
            self.add("function", function);
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
            weights,
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
        if *weights == LossWeights::Use {
            self.add("mask.weights", word(weights));
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

    /// Named where it changes something: checkpoints of earlier versions have none.
    pub(super) fn special_tokens_in_text(&mut self, policy: SpecialTokensInText) {
        if policy != SpecialTokensInText::Parse {
            self.add("special_tokens_in_text", word(&policy));
        }
    }

    /// Named where it leaves something out: checkpoints of earlier versions have none.
    pub(super) fn filter(&mut self, filter: &FilterConfig) {
        let FilterConfig {
            tokens,
            turns,
            r#where,
        } = filter;
        for (of, bounds) in [("tokens", tokens), ("turns", turns)] {
            let Bounds { min, max } = bounds.unwrap_or_default();
            for (end, bound) in [("min", min.filter(|min| *min > 0)), ("max", max)] {
                if let Some(bound) = bound {
                    self.add(&format!("filter.{of}.{end}"), bound);
                }
            }
        }
        if let Some(condition) = r#where {
            self.add("filter.where", condition);
        }
    }

    /// Named where it holds something out. How much of that is evaluated on changes no training row.
    pub(super) fn split(&mut self, split: &SplitConfig, recipe_seed: u64) {
        let SplitConfig {
            fraction,
            by,
            seed,
            max_records: _,
        } = split;
        if *fraction > 0.0 {
            self.add("split.fraction", fraction);
            self.add("split.by", word(by));
            self.add("split.seed", seed.unwrap_or(recipe_seed));
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
