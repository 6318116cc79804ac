//! TRL's `SFTConfig` (1.16): keys of the trainer's own arguments and of TRL's.

use super::draft::Draft;
use serde_json::json;

pub(super) fn convert(draft: &mut Draft) {
    let model = draft.text("model_name_or_path");
    let tokenizer = draft.text("tokenizer").or(model);
    draft.tokenizer(tokenizer, "the model's name");
    for (key, path) in [
        ("eos_token", "tokenizer.eos"),
        ("pad_token", "tokenizer.pad"),
    ] {
        if let Some(token) = draft.text(key) {
            draft.set(path, token);
        }
    }
    if let Some(path) = draft.text("chat_template_path") {
        match path.ends_with(".jinja") || path.ends_with(".jinja2") {
            true => draft.set("template.path", path),
            false => draft.no_equal(
                "chat_template_path",
                "name the template's file: template.path takes no tokenizer",
            ),
        }
    }
    mask(draft);
    length(draft);
    order(draft);
    sources(draft);
    if draft
        .text("loss_type")
        .is_some_and(|kind| kind != "nll" && kind != "chunked_nll")
    {
        draft.no_equal("loss_type", "the loss is the trainer's");
    }
    for key in ["pad_to_multiple_of", "padding_free"] {
        draft.needless(
            &[key],
            "rows have one shape, and segments are told apart by position_ids",
        );
    }
    draft.needless(&["dataset_num_proc"], "packmill's own threads: `workers`");
    if draft.flag("eval_packing") == Some(false) {
        draft.no_equal("eval_packing", "the eval side is packed too");
    }
}

fn mask(draft: &mut Draft) {
    let assistant = draft.flag("assistant_only_loss").unwrap_or_default();
    let completion = draft.flag("completion_only_loss");
    match (assistant, completion) {
        (true, Some(true)) => {
            draft.set("mask.train", "completion");
            draft.no_equal(
                "assistant_only_loss with completion_only_loss",
                "the mask is that of the completion",
            );
        }
        (true, _) => draft.set("mask.train", "assistant"),
        (false, Some(true)) => draft.set("mask.train", "completion"),
        (false, Some(false)) => draft.set("mask.train", "all"),
        (false, None) => {
            draft.set("mask.train", "all");
            draft.otherwise(
                "completion_only_loss",
                "TRL decides by the rows: where they have a prompt and a completion, set mask.train: completion",
            );
        }
    }
}

fn length(draft: &mut Draft) {
    let packing = draft.flag("packing").unwrap_or_default();
    let strategy = draft
        .text("packing_strategy")
        .unwrap_or_else(|| "bfd".to_owned());
    let keeps_end = draft
        .text("truncation_mode")
        .is_some_and(|mode| mode == "keep_end");
    match draft.count("max_length") {
        Some(length) => draft.set("pack.sequence_length", length),
        None => draft.missing(
            "max_length",
            "rows have one length here: set pack.sequence_length to the longest example",
        ),
    }
    let (strategy, overlong) = match (packing, strategy.as_str()) {
        (false, _) => ("none", None),
        (true, "wrapped") => ("concat", None),
        (true, "bfd_split" | "bfd-requeue") => ("knapsack", Some("split")),
        (true, _) => ("knapsack", None),
    };
    draft.set("pack.strategy", strategy);
    if strategy != "concat" {
        let truncate = if keeps_end {
            "truncate_left"
        } else {
            "truncate"
        };
        draft.set("pack.overlong", overlong.unwrap_or(truncate));
    }
}

fn order(draft: &mut Draft) {
    let seed = draft.count("seed");
    if let Some(seed) = draft.count("data_seed").or(seed) {
        draft.set("seed", seed);
    }
    let rows = draft.count("per_device_train_batch_size").unwrap_or(8);
    let accumulation = draft.count("gradient_accumulation_steps").unwrap_or(1);
    draft.rows(rows, accumulation);
    let sequential = draft
        .text("train_sampling_strategy")
        .is_some_and(|strategy| strategy == "sequential");
    draft.set("shuffle", !sequential);
    draft.epochs_or_steps("num_train_epochs", 3);
}

/// The data sets, which are no part of an `SFTConfig` and come beside it.
fn sources(draft: &mut Draft) {
    let text_field = draft
        .text("dataset_text_field")
        .filter(|field| field != "text");
    match draft.take("sources") {
        Some(serde_json::Value::Array(mut sources)) => {
            if let Some(field) = text_field {
                for source in &mut sources {
                    if let Some(source) = source.as_object_mut() {
                        source
                            .entry("fields")
                            .or_insert_with(|| json!({"text": field}));
                    }
                }
            }
            draft.set("sources", sources);
        }
        _ => draft.missing("the data set", "give `sources` its files"),
    }
}
