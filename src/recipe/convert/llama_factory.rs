//! LLaMA-Factory's YAML files for SFT, with the `dataset_info.json` that their data sets are named in.

use super::draft::{Draft, is_file, name_of};
use serde_json::{Map, Value, json};

/// Where LLaMA-Factory looks for data sets.
const FOLDER: &str = "data";

pub(super) fn convert(draft: &mut Draft) {
    if let Some(stage) = draft.text("stage").filter(|stage| stage != "sft") {
        draft.no_equal("stage", format!("`{stage}`: this recipe is for sft"));
    }
    let model = draft.text("model_name_or_path");
    let tokenizer = draft.text("tokenizer_name_or_path").or(model);
    draft.tokenizer(tokenizer, "model_name_or_path");
    template(draft);
    mask(draft);
    let packs = pack(draft);
    order(draft);
    datasets(draft);
    draft.held_out("val_size", "eval_dataset");
    draft.needless(
        &[
            "overwrite_cache",
            "preprocessing_num_workers",
            "preprocessing_batch_size",
            "tokenized_path",
            "streaming",
            "buffer_size",
            "data_shared_file_system",
            "dataloader_num_workers",
        ],
        "nothing is prepared beforehand: rows are made while the trainer works",
    );
    if !packs {
        draft.needless(&["group_by_length"], "rows have one length");
    }
}

fn template(draft: &mut Draft) {
    if let Some(name) = draft.text("template") {
        draft.no_equal(
            "template",
            format!("`{name}` is a template of LLaMA-Factory's own: the tokenizer's chat template is taken, compare what `packmill inspect` shows"),
        );
    }
    if let Some(thinks) = draft.flag("enable_thinking") {
        draft.set("template.kwargs.enable_thinking", thinks);
    }
    if let Some(system) = draft.text("default_system") {
        draft.set("template.system", system);
    }
    if draft.take("tool_format").is_some() {
        draft.no_equal("tool_format", "the chat template writes tools");
    }
    draft.needless(&["efficient_eos"], "the chat template ends turns");
}

fn mask(draft: &mut Draft) {
    let all = draft.flag("train_on_prompt").unwrap_or_default();
    let last = draft.flag("mask_history").unwrap_or_default();
    draft.set(
        "mask.train",
        match (all, last) {
            (true, _) => "all",
            (false, true) => "last_assistant",
            (false, false) => "assistant",
        },
    );
}

/// Whether rows are packed.
fn pack(draft: &mut Draft) -> bool {
    let length = draft.count("cutoff_len").unwrap_or(2048);
    draft.set("pack.sequence_length", length);
    let neat = draft.flag("neat_packing").unwrap_or_default();
    let packs = draft.flag("packing").unwrap_or_default() || neat;
    draft.set("pack.strategy", if packs { "knapsack" } else { "none" });
    if packs && !neat {
        draft.otherwise("packing", "without neat_packing tokens see the examples before them in the row; here they never do");
    }
    if packs {
        draft.set("pack.overlong", "drop");
    } else {
        draft.set("pack.overlong", "truncate");
        draft.otherwise(
            "cutoff_len",
            "LLaMA-Factory shortens prompt and answer in proportion; here the end is cut off",
        );
    }
    packs
}

fn order(draft: &mut Draft) {
    let seed = draft
        .count("data_seed")
        .or(draft.count("seed"))
        .unwrap_or(42);
    draft.set("seed", seed);
    let rows = draft.count("per_device_train_batch_size").unwrap_or(8);
    let accumulation = draft.count("gradient_accumulation_steps").unwrap_or(1);
    draft.rows(rows, accumulation);
    if draft.flag("disable_shuffling") == Some(true) {
        draft.set("shuffle", false);
    }
    draft.epochs_or_steps("num_train_epochs", 3);
}

fn datasets(draft: &mut Draft) {
    let folder = draft
        .text("dataset_dir")
        .unwrap_or_else(|| FOLDER.to_owned());
    let names: Vec<String> = match draft.take("dataset") {
        Some(Value::String(names)) => names
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => return draft.missing("dataset", "give `sources` the files"),
    };
    let limit = draft.count("max_samples");
    let shares = shares(draft, names.len());
    let info = draft.beside.dataset_info.clone();
    let mut sources: Vec<Value> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let mut source = Map::new();
        source.insert("name".to_owned(), json!(name_of(name, &sources)));
        source.insert("paths".to_owned(), json!([]));
        match info
            .as_ref()
            .and_then(|info| info[name.as_str()].as_object())
        {
            Some(entry) => described(draft, name, entry, &folder, &mut source),
            None => draft.missing(
                name,
                format!("no dataset_info.json in {folder} describes it: name its files in paths"),
            ),
        }
        if let Some(limit) = limit {
            source.insert("limit".to_owned(), json!(limit));
        }
        if let Some(share) = shares.as_ref().and_then(|shares| shares.get(number)) {
            source.insert("weight".to_owned(), share.clone());
        }
        sources.push(Value::Object(source));
    }
    draft.set("sources", sources);
}

/// The shares that data sets are drawn by, where there are some.
fn shares(draft: &mut Draft, datasets: usize) -> Option<Vec<Value>> {
    let strategy = draft
        .text("mix_strategy")
        .unwrap_or_else(|| "concat".to_owned());
    let shares: Option<Vec<Value>> = match draft.take("interleave_probs") {
        Some(Value::String(shares)) => shares
            .split(',')
            .map(|share| share.trim().parse::<f64>().ok().map(|share| json!(share)))
            .collect(),
        Some(Value::Array(shares)) => Some(shares),
        _ => None,
    };
    if !strategy.starts_with("interleave") {
        return None;
    }
    let Some(shares) = shares.filter(|shares| shares.len() == datasets) else {
        draft.no_equal(
            "mix_strategy",
            "without interleave_probs for every data set, all records come once an epoch",
        );
        return None;
    };
    let stop = if strategy == "interleave_over" {
        "repeat"
    } else {
        "stop"
    };
    draft.set("on_exhausted", stop);
    draft.without_epochs(
        "mix_strategy",
        "sources are drawn by their share of tokens, not of records, and without epochs",
    );
    Some(shares)
}

/// What `dataset_info.json` says of a data set.
fn described(
    draft: &mut Draft,
    name: &str,
    entry: &Map<String, Value>,
    folder: &str,
    source: &mut Map<String, Value>,
) {
    let text = |map: &Map<String, Value>, key: &str| {
        map.get(key).and_then(Value::as_str).map(str::to_owned)
    };
    match text(entry, "file_name") {
        Some(file) => {
            let path = if file.starts_with('/') {
                file
            } else {
                format!("{folder}/{file}")
            };
            if path.ends_with(".json") {
                draft.missing(name, format!("{path} must have one object a line, or be Parquet or Arrow: a JSON list is not read"));
            } else if !is_file(&path) {
                draft.missing(name, format!("{path} is a folder: name its files"));
            }
            source.insert("paths".to_owned(), json!([path]));
        }
        None => draft.missing(
            name,
            "it lies on a hub: fetch its files and name them in paths",
        ),
    }
    let formatting = text(entry, "formatting").unwrap_or_else(|| "alpaca".to_owned());
    let chat = match formatting.as_str() {
        "alpaca" => None,
        "sharegpt" => Some(("conversations", "from", "value")),
        "openai" => Some(("messages", "role", "content")),
        other => {
            draft.no_equal(
                name,
                format!("formatting `{other}` is not known: rows are read as messages"),
            );
            Some(("messages", "role", "content"))
        }
    };
    if entry
        .get("ranking")
        .is_some_and(|ranking| *ranking == json!(true))
    {
        draft.no_equal(name, "ranking: pairs of preferences are not for sft");
    }
    for key in ["num_samples", "subset", "split", "folder"] {
        if entry.contains_key(key) {
            draft.no_equal(
                name,
                format!("{key}: name the files in paths, and sources[].limit"),
            );
        }
    }
    let columns = entry
        .get("columns")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let tags = entry
        .get("tags")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let mut fields = Map::new();
    if let Some((messages, role, content)) = chat {
        source.insert("kind".to_owned(), json!("chat"));
        let named = |map: &Map<String, Value>, key: &str, default: &str| {
            json!(text(map, key).unwrap_or_else(|| default.to_owned()))
        };
        fields.insert("messages".to_owned(), named(&columns, "messages", messages));
        fields.insert("role".to_owned(), named(&tags, "role_tag", role));
        fields.insert("content".to_owned(), named(&tags, "content_tag", content));
        let roles = [
            ("user_tag", "human", "user"),
            ("assistant_tag", "gpt", "assistant"),
            ("observation_tag", "observation", "tool"),
            ("system_tag", "system", "system"),
        ];
        let roles = roles.iter().filter_map(|(tag, default, role)| {
            // Roles of the openai format are the chat templates' own.
            let default = if messages == "messages" {
                role
            } else {
                default
            };
            let own = text(&tags, tag).unwrap_or_else(|| (*default).to_owned());
            (own != *role).then(|| (own, json!(role)))
        });
        source.insert("roles".to_owned(), Value::Object(roles.collect()));
        if tags.contains_key("function_tag") || !tags.contains_key("observation_tag") {
            draft.otherwise(name, "turns of tool calls (function_call) are no role of chat templates: calls belong into tool_calls of the assistant's message");
        }
    } else {
        source.insert("kind".to_owned(), json!("instruction"));
        for (column, field) in [
            ("prompt", "instruction"),
            ("query", "input"),
            ("response", "output"),
        ] {
            if let Some(own) = text(&columns, column) {
                fields.insert(field.to_owned(), json!(own));
            }
        }
        if columns.contains_key("history") {
            draft.no_equal(
                name,
                "the history column: rows of instructions are one turn",
            );
        }
    }
    if let Some(tools) = text(&columns, "tools") {
        fields.insert("tools".to_owned(), json!(tools));
    }
    for column in [
        "images", "videos", "audios", "kto_tag", "chosen", "rejected",
    ] {
        if columns.contains_key(column) {
            draft.no_equal(name, format!("the {column} column"));
        }
    }
    if columns.contains_key("system") {
        draft.no_equal(
            name,
            "the system column: put it into the rows as a system message",
        );
    }
    if !fields.is_empty() {
        source.insert("fields".to_owned(), Value::Object(fields));
    }
}
