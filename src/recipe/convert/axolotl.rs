//! Axolotl's YAML files.

use super::draft::{Draft, is_file, name_of};
use serde_json::{Map, Value, json};

pub(super) fn convert(draft: &mut Draft) {
    let model = draft.text("base_model");
    let tokenizer = draft.text("tokenizer_config").or(model);
    draft.tokenizer(tokenizer, "base_model");
    special_tokens(draft);
    template(draft);
    pack(draft);
    order(draft);
    let trains_all = draft.flag("train_on_inputs").unwrap_or_default();
    if trains_all {
        draft.set("mask.train", "all");
    }
    datasets(draft, trains_all);
    draft.held_out("val_set_size", "test_datasets");
    if draft
        .flag("dataset_exact_deduplication")
        .unwrap_or_default()
    {
        draft.set("duplicates", "drop");
        draft.otherwise(
            "dataset_exact_deduplication",
            "rows are compared by their bytes as they are stored",
        );
    }
    draft.needless(
        &[
            "dataset_prepared_path",
            "dataset_processes",
            "dataset_keep_in_memory",
            "skip_prepare_dataset",
            "streaming",
            "streaming_multipack_buffer_size",
        ],
        "nothing is prepared beforehand: rows are made while the trainer works",
    );
    draft.needless(
        &[
            "sample_packing_group_size",
            "sample_packing_sequentially",
            "multipack_real_batches",
            "eval_sample_packing",
            "batch_flattening",
        ],
        "the packer looks at pack.lookahead examples at a time, the eval side is packed once",
    );
}

fn special_tokens(draft: &mut Draft) {
    let mut tokens = match draft.take("special_tokens") {
        Some(Value::Object(tokens)) => tokens,
        Some(_) => return draft.no_equal("special_tokens", "not a mapping"),
        None => return,
    };
    for (key, path) in [
        ("bos_token", "tokenizer.bos"),
        ("eos_token", "tokenizer.eos"),
        ("pad_token", "tokenizer.pad"),
    ] {
        if let Some(Value::String(token)) = tokens.shift_remove(key) {
            draft.set(path, token);
        }
    }
    for key in tokens.keys() {
        draft.no_equal(
            &format!("special_tokens.{key}"),
            "add it to the tokenizer's own files",
        );
    }
}

fn template(draft: &mut Draft) {
    if let Some(source) = draft.text("chat_template_jinja") {
        match is_file(&source) || source.ends_with(".jinja") {
            true => draft.set("template.path", source),
            false => draft.missing(
                "chat_template_jinja",
                "write its text to a file and name that in template.path",
            ),
        }
        draft.take("chat_template");
        return;
    }
    match draft.text("chat_template").as_deref() {
        None | Some("tokenizer_default" | "jinja") => {}
        Some(name) => match name.strip_prefix("tokenizer_default_fallback_") {
            Some(_) => draft.otherwise("chat_template", "the tokenizer's own template, and an error where it has none"),
            None => draft.no_equal(
                "chat_template",
                format!("`{name}` is a template of Axolotl's own: the tokenizer's is taken; write that one to a file and name it in template.path"),
            ),
        },
    }
}

fn pack(draft: &mut Draft) {
    match draft.count("sequence_len") {
        Some(length) => draft.set("pack.sequence_length", length),
        None => draft.missing("sequence_len", "set pack.sequence_length"),
    }
    let packs = draft.flag("sample_packing").unwrap_or_default();
    draft.set("pack.strategy", if packs { "knapsack" } else { "none" });
    let overlong = match draft.text("excess_length_strategy").as_deref() {
        None | Some("drop") => "drop",
        Some("truncate") => "truncate",
        Some("raise") => "error",
        Some(other) => {
            draft.no_equal(
                "excess_length_strategy",
                format!("`{other}` is not known: examples that are too long are dropped"),
            );
            "drop"
        }
    };
    draft.set("pack.overlong", overlong);
    if let Some(most) = draft.count("sample_packing_bin_size") {
        draft.set("pack.max_segments", most);
        draft.otherwise(
            "sample_packing_bin_size",
            "Axolotl counts the examples of a whole micro-batch; pack.max_segments those of a row",
        );
    }
    if draft.flag("pad_to_sequence_len") == Some(false) {
        draft.no_equal("pad_to_sequence_len", "rows have one length");
    }
    match draft.count("min_sample_len") {
        Some(least) => draft.set("filter.tokens", json!({"min": least})),
        None => draft.otherwise("min_sample_len", "Axolotl leaves out examples of less than 2 tokens; filter.tokens leaves out none unless it says so"),
    }
    draft.needless(
        &["group_by_length"],
        "rows are full, whatever their examples' lengths are",
    );
}

fn order(draft: &mut Draft) {
    let seed = draft.count("seed").unwrap_or(42);
    draft.set("seed", seed);
    let rows = draft.count("micro_batch_size").unwrap_or(1);
    let accumulation = draft.count("gradient_accumulation_steps").unwrap_or(1);
    draft.rows(rows, accumulation);
    // Merged in order or not, its sampler draws at random.
    let in_order = draft.flag("curriculum_sampling").unwrap_or_default();
    draft.set("shuffle", !in_order);
    for key in ["shuffle_merged_datasets", "shuffle_before_merging_datasets"] {
        if draft.take(key).is_some() {
            draft.otherwise(
                key,
                "`shuffle` is over all sources together, and alone decides",
            );
        }
    }
    draft.epochs_or_steps("num_epochs", 1);
}

/// What says which turns are trained, for all data sets together or for one by itself.
const TURNS: [&str; 6] = [
    "roles_to_train",
    "train_on_eos",
    "train_on_eot",
    "message_field_training",
    "message_field_training_detail",
    "eot_tokens",
];

fn datasets(draft: &mut Draft, trains_all: bool) {
    let found = match (draft.take("datasets"), draft.take("pretraining_dataset")) {
        (Some(Value::Array(found)), None) => found,
        (None, Some(found)) => {
            draft.otherwise(
                "pretraining_dataset",
                "texts that are too long go as pack.overlong says",
            );
            match found {
                Value::Array(found) => found,
                Value::String(path) => vec![json!({"path": path, "type": "completion"})],
                found => vec![found],
            }
        }
        _ => return draft.missing("datasets", "give `sources` the files"),
    };
    let common: Vec<(&str, Value)> = TURNS
        .iter()
        .filter_map(|key| Some((*key, draft.take(key)?)))
        .collect();
    let mut sources = Vec::new();
    for (number, dataset) in found.into_iter().enumerate() {
        let Value::Object(mut dataset) = dataset else {
            draft.no_equal(&format!("datasets[{number}]"), "not a mapping");
            continue;
        };
        for (key, value) in &common {
            dataset.entry(*key).or_insert_with(|| value.clone());
        }
        let source = source(draft, number, dataset, trains_all, &sources);
        sources.push(source);
    }
    draft.set("sources", sources);
}

fn source(
    draft: &mut Draft,
    number: usize,
    mut dataset: Map<String, Value>,
    trains_all: bool,
    others: &[Value],
) -> Value {
    let at = |key: &str| format!("datasets[{number}].{key}");
    let mut text = |key: &str| match dataset.shift_remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let path = text("path").unwrap_or_default();
    let split = text("split");
    if dataset.get("type").is_some_and(|kind| !kind.is_string()) {
        draft.no_equal(
            &at("type"),
            "a prompt format of its own: write it as a chat template, or the rows as messages",
        );
        dataset.shift_remove("type");
    }
    let mut text = |key: &str| match dataset.shift_remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let kind = text("type");
    let mut fields = Map::new();
    for (key, field) in [
        ("field_messages", "messages"),
        ("field_tools", "tools"),
        ("field", "text"),
        ("message_field_role", "role"),
        ("message_field_content", "content"),
        ("field_instruction", "instruction"),
        ("field_input", "input"),
        ("field_output", "output"),
    ] {
        if let Some(name) = text(key) {
            fields.insert(field.to_owned(), json!(name));
        }
    }
    if let Some(split) = split.filter(|split| split != "train") {
        draft.no_equal(
            &at("split"),
            format!("name the files of `{split}` in paths"),
        );
    }
    let mut source = Map::new();
    let files = paths(dataset.shift_remove("data_files"), &path);
    if files.iter().any(|file| !is_file(file)) {
        draft.missing(
            &at("path"),
            format!(
                "`{path}` is not a file here: fetch the data set's files and name them in paths"
            ),
        );
    }
    source.insert("name".to_owned(), json!(name_of(&path, others)));
    source.insert("paths".to_owned(), json!(files));
    match kind.as_deref() {
        Some("chat_template" | "chat_template.default") => {}
        Some("completion" | "pretrain") => {
            source.insert("kind".to_owned(), json!("text"));
            draft.otherwise(&at("type"), "Axolotl splits texts that are too long; here they go as pack.overlong says (`split` does the same)");
        }
        Some("alpaca") => {
            source.insert("kind".to_owned(), json!("instruction"));
            draft.otherwise(
                &at("type"),
                "rows are rendered by the chat template, not by Alpaca's prompt",
            );
        }
        Some("sharegpt") => {
            source.insert("kind".to_owned(), json!("chat"));
            fields.entry("messages").or_insert(json!("conversations"));
            fields.entry("role").or_insert(json!("from"));
            fields.entry("content").or_insert(json!("value"));
        }
        Some(other) => draft.no_equal(
            &at("type"),
            format!("`{other}` is not known: rows are told apart by their fields"),
        ),
        None => {}
    }
    if let Some(Value::Object(properties)) = dataset.shift_remove("message_property_mappings") {
        for (property, name) in properties {
            match property.as_str() {
                "role" | "content" => drop(fields.insert(property, name)),
                _ => draft.no_equal(&at(&format!("message_property_mappings.{property}")), ""),
            }
        }
    }
    if !fields.is_empty() {
        source.insert("fields".to_owned(), Value::Object(fields));
    }
    let is_text = matches!(kind.as_deref(), Some("completion" | "pretrain"));
    if is_text || kind.as_deref() == Some("alpaca") {
        // What is said of turns is said of chats.
        dataset.retain(|key, _| !TURNS.contains(&key.as_str()));
        if is_text && !trains_all {
            source.insert("mask".to_owned(), json!({"train": "all"}));
        }
    } else {
        let renamed = match dataset.shift_remove("roles") {
            Some(Value::Object(roles)) => turned(&roles),
            // Its own, where none are given.
            _ => json!({"human": "user", "gpt": "assistant"}),
        };
        let mask = mask(draft, number, &mut dataset, Some(&renamed));
        source.insert("roles".to_owned(), renamed);
        if !trains_all {
            source.insert("mask".to_owned(), mask);
        }
    }
    for key in dataset.keys().filter(|key| *key != "ds_type") {
        draft.no_equal(&at(key), "");
    }
    Value::Object(source)
}

/// A data set's files: those that it names, or the path itself.
fn paths(files: Option<Value>, path: &str) -> Vec<String> {
    match files {
        Some(Value::String(file)) => vec![file],
        Some(Value::Array(files)) => {
            let texts = files.iter().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        }
        _ => vec![path.to_owned()],
    }
}

/// Axolotl names for each role what rows call it; a recipe names for each of those the role.
fn turned(roles: &Map<String, Value>) -> Value {
    let mut turned = Map::new();
    for (role, names) in roles {
        let names = names
            .as_array()
            .map_or(std::slice::from_ref(names), Vec::as_slice);
        for name in names.iter().filter_map(Value::as_str) {
            if name != role {
                turned.insert(name.to_owned(), json!(role));
            }
        }
    }
    Value::Object(turned)
}

/// What its roles are after `roles`: those that a recipe's mask names.
fn trained_roles(roles: &[Value], renamed: Option<&Value>) -> Vec<Value> {
    let own = |role: &str| match (renamed.and_then(|renamed| renamed.get(role)), role) {
        (Some(name), _) => name.clone(),
        (None, "human") => json!("user"),
        (None, "gpt") => json!("assistant"),
        (None, role) => json!(role),
    };
    let mut trained = Vec::new();
    for role in roles.iter().filter_map(Value::as_str).map(own) {
        if !trained.contains(&role) {
            trained.push(role);
        }
    }
    trained
}

/// What is trained of a data set of chats.
fn mask(
    draft: &mut Draft,
    number: usize,
    dataset: &mut Map<String, Value>,
    renamed: Option<&Value>,
) -> Value {
    let at = |key: &str| format!("datasets[{number}].{key}");
    // Written and left empty, both ask for what Axolotl did before it had them.
    let is_empty = |key: &str| dataset.get(key).is_some_and(Value::is_null);
    let is_legacy = is_empty("roles_to_train") && is_empty("train_on_eos");
    let mut take = |key: &str| dataset.shift_remove(key).filter(|value| !value.is_null());
    let roles = take("roles_to_train");
    let ends = take("train_on_eos");
    let turn_ends = take("train_on_eot");
    let flag = take("message_field_training");
    let detail = take("message_field_training_detail");
    if take("eot_tokens").is_some() {
        draft.otherwise(
            &at("eot_tokens"),
            "the end of a turn is found in what the template writes",
        );
    }
    let is_last = is_legacy && flag.is_none() && detail.is_none();
    let mut mask = Map::new();
    mask.insert(
        "train".to_owned(),
        json!(if is_last {
            "last_assistant"
        } else {
            "assistant"
        }),
    );
    if let Some(Value::Array(roles)) = roles {
        mask.insert(
            "roles".to_owned(),
            Value::Array(trained_roles(&roles, renamed)),
        );
    }
    match turn_ends.or(ends).as_ref().and_then(Value::as_str) {
        None | Some("turn") => {}
        Some("none") => drop(mask.insert("end_of_turn".to_owned(), json!(false))),
        Some(other) => draft.no_equal(
            &at("train_on_eos"),
            format!("`{other}`: the end of every trained turn is trained"),
        ),
    }
    for (key, found, own) in [
        ("message_field_training", flag, "train"),
        ("message_field_training_detail", detail, "train_detail"),
    ] {
        if let Some(name) = found.filter(|name| name != own) {
            draft.no_equal(&at(key), format!("rows must call it `{own}`, not {name}"));
        }
    }
    Value::Object(mask)
}
