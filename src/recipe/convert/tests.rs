use super::*;
use crate::recipe::{Overlong, Plan, Recipe, Strategy, Train};
use std::path::Path;

fn converted(dialect: Dialect, text: &str, beside: &Beside) -> Converted {
    let config = read(text, "config").unwrap();
    convert(dialect, &config, beside)
}

/// The recipe that is printed, read back.
fn read_back(converted: &Converted) -> Recipe {
    let text = converted.to_string();
    Recipe::parse(&text, Path::new("/r")).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn noted(converted: &Converted, about: About) -> Vec<&str> {
    let notes = converted.notes.iter().filter(|note| note.about == about);
    notes.map(|note| note.keys.as_str()).collect()
}

const AXOLOTL: &str = "
base_model: Qwen/Qwen3-0.6B
sequence_len: 8192
sample_packing: true
excess_length_strategy: truncate
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 3
seed: 7
val_set_size: 0.02
special_tokens: {pad_token: '<|pad|>', mask_token: '<m>'}
chat_template: tokenizer_default
learning_rate: 2e-4
optimizer: adamw_torch_fused
flash_attention: true
noisy_thing: 3
datasets:
  - path: data/chats.jsonl
    type: chat_template
    field_messages: conversations
    message_property_mappings: {role: from, content: value}
    roles: {user: [human, user], assistant: [gpt]}
    roles_to_train: [assistant]
    train_on_eos: none
  - path: tatsu-lab/alpaca
    type: alpaca
";

#[test]
fn axolotl_keys_become_a_recipe_and_the_rest_is_named() {
    let converted = converted(
        Dialect::Axolotl,
        AXOLOTL,
        &Beside {
            world_size: Some(2),
            ..Beside::default()
        },
    );
    let recipe = read_back(&converted);
    assert_eq!(recipe.tokenizer.path, "Qwen/Qwen3-0.6B");
    assert_eq!(recipe.tokenizer.pad.as_deref(), Some("<|pad|>"));
    assert_eq!(recipe.pack.sequence_length, 8192);
    assert_eq!(
        (recipe.pack.strategy, recipe.pack.overlong),
        (Strategy::Knapsack, Overlong::Truncate)
    );
    assert_eq!((recipe.batch.rows, recipe.batch.step_rows), (2, Some(16)));
    assert_eq!(
        (recipe.seed, recipe.epochs, recipe.plan),
        (7, Some(3), Plan::Global)
    );
    let source = &recipe.sources[0];
    assert_eq!(
        (source.fields.messages.as_str(), source.fields.role.as_str()),
        ("conversations", "from")
    );
    assert_eq!(source.roles.get("human").map(String::as_str), Some("user"));
    assert_eq!(
        source.roles.get("gpt").map(String::as_str),
        Some("assistant")
    );
    let mask = source.mask.as_ref().unwrap();
    assert_eq!((mask.train, mask.end_of_turn), (Train::Assistant, false));
    assert_eq!(recipe.sources[1].name, "alpaca");
    assert_eq!(noted(&converted, About::Missing), ["datasets[1].path"]);
    assert_eq!(
        noted(&converted, About::Trainer),
        ["learning_rate, optimizer, flash_attention"]
    );
    assert_eq!(
        noted(&converted, About::NoEqual),
        ["special_tokens.mask_token", "noisy_thing"]
    );
}

/// The mask of a recipe's only source, or the recipe's own.
fn mask_of(text: &str) -> crate::recipe::MaskConfig {
    let text = format!("base_model: m/m\nsequence_len: 64\n{text}");
    let recipe = read_back(&converted(Dialect::Axolotl, &text, &Beside::default()));
    let own = recipe.sources[0].mask.clone();
    own.unwrap_or(recipe.mask)
}

#[test]
fn axolotls_masks_are_told_by_what_is_written_and_what_is_left_empty() {
    let chat = |keys: &str| {
        mask_of(&format!(
            "datasets: [{{path: a.jsonl, type: chat_template{keys}}}]"
        ))
    };
    assert_eq!(chat("").train, Train::Assistant);
    assert_eq!(
        chat(", roles_to_train: , train_on_eos: ").train,
        Train::LastAssistant
    );
    assert_eq!(
        chat(", roles_to_train: , train_on_eos: , message_field_training: train").train,
        Train::Assistant
    );
    assert_eq!(
        chat(", roles_to_train: [gpt, human]").roles,
        ["assistant", "user"]
    );
    assert_eq!(
        chat(", roles_to_train: [bot], roles: {assistant: [bot]}").roles,
        ["assistant"]
    );
    assert!(!chat(", train_on_eot: none").end_of_turn);
    let text = "datasets: [{path: a.jsonl, type: completion}]\ntrain_on_eos: turn";
    assert_eq!(mask_of(text).train, Train::All);
    let alpaca = "datasets: [{path: a.jsonl, type: alpaca}]\neot_tokens: ['<e>']";
    assert_eq!(mask_of(alpaca).train, Train::Assistant);
    let inputs = "datasets: [{path: a.jsonl, type: chat_template, roles_to_train: [assistant]}]\ntrain_on_inputs: true";
    assert_eq!(mask_of(inputs).train, Train::All);
    assert_eq!(mask_of("pretraining_dataset: a.jsonl").train, Train::All);
}

#[test]
fn what_axolotl_does_by_itself_is_written_out() {
    let text = "base_model: m/m\nsequence_len: 64\ndatasets: [{path: a.jsonl, type: chat_template, split: 'train[:9]'}]";
    let converted = converted(Dialect::Axolotl, text, &Beside::default());
    let recipe = read_back(&converted);
    assert_eq!(
        (recipe.pack.strategy, recipe.pack.overlong),
        (Strategy::None, Overlong::Drop)
    );
    assert_eq!(
        (recipe.batch.rows, recipe.seed, recipe.epochs),
        (1, 42, Some(1))
    );
    assert_eq!(noted(&converted, About::NoEqual), ["datasets[0].split"]);
}

#[test]
fn notes_cannot_become_keys_and_large_numbers_no_panic() {
    let text = "base_model: m/m\nsequence_len: 64\nchat_template: \"x\\nseed: 99\"\nmicro_batch_size: 4611686018427387904\n\
                gradient_accumulation_steps: 8\ndatasets: [{path: a.jsonl}]";
    let converted = converted(Dialect::Axolotl, text, &Beside::default());
    let printed = converted.to_string();
    assert_eq!(
        printed
            .lines()
            .filter(|line| line.starts_with("seed"))
            .count(),
        1,
        "{printed}"
    );
    assert!(noted(&converted, About::NoEqual).contains(&"the rows of a step"));
}

const LLAMA_FACTORY: &str = "
stage: sft
model_name_or_path: meta-llama/Llama-3.1-8B
dataset: talks, sums
dataset_dir: sets
template: llama3
cutoff_len: 4096
packing: true
per_device_train_batch_size: 4
gradient_accumulation_steps: 2
num_train_epochs: 2.0
max_samples: 1000
mask_history: true
bf16: true
";

const DATASET_INFO: &str = r#"{
  "talks": {"file_name": "talks.jsonl", "formatting": "sharegpt", "columns": {"messages": "conversations"}},
  "sums": {"file_name": "sums.jsonl", "columns": {"prompt": "question", "response": "answer"}}
}"#;

#[test]
fn llama_factory_keys_become_a_recipe_with_the_described_data_sets() {
    let beside = Beside {
        dataset_info: Some(serde_json::from_str(DATASET_INFO).unwrap()),
        ..Beside::default()
    };
    let converted = converted(Dialect::LlamaFactory, LLAMA_FACTORY, &beside);
    let recipe = read_back(&converted);
    assert_eq!(recipe.pack.sequence_length, 4096);
    assert_eq!(
        (recipe.pack.strategy, recipe.pack.overlong),
        (Strategy::Knapsack, Overlong::Drop)
    );
    assert_eq!(
        (recipe.batch.rows, recipe.batch.step_rows, recipe.epochs),
        (4, Some(8), Some(2))
    );
    assert_eq!(recipe.mask.train, Train::LastAssistant);
    let paths: Vec<_> = recipe
        .sources
        .iter()
        .map(|source| source.paths[0].clone())
        .collect();
    assert_eq!(paths, ["/r/sets/talks.jsonl", "/r/sets/sums.jsonl"]);
    assert_eq!(
        recipe.sources[0].roles.get("gpt").map(String::as_str),
        Some("assistant")
    );
    assert_eq!(recipe.sources[1].fields.instruction, "question");
    assert_eq!(recipe.sources[1].limit, Some(1000));
    assert!(noted(&converted, About::Otherwise).contains(&"packing"));
    assert_eq!(noted(&converted, About::NoEqual), ["template"]);
    assert_eq!(noted(&converted, About::Trainer), ["bf16"]);
}

#[test]
fn llama_factory_shares_become_weights_without_epochs() {
    let text = "model_name_or_path: m/m\ndataset: a,b\nmix_strategy: interleave_over\ninterleave_probs: 0.7,0.3\nnum_train_epochs: 3";
    let beside = Beside {
        dataset_info: Some(
            serde_json::json!({"a": {"file_name": "a.jsonl"}, "b": {"file_name": "b.jsonl"}}),
        ),
        ..Beside::default()
    };
    let recipe = read_back(&converted(Dialect::LlamaFactory, text, &beside));
    assert_eq!(recipe.epochs, None);
    assert!(recipe.weights().is_some());
}

#[test]
fn trl_keys_become_a_recipe() {
    let text = r#"{"tokenizer": "m/m", "sources": [{"name": "a", "paths": ["a.jsonl"]}], "max_length": 2048, "packing": true,
        "packing_strategy": "bfd_split", "assistant_only_loss": true, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1, "num_train_epochs": 3.0, "max_steps": -1, "seed": 42, "data_seed": 5,
        "dataset_text_field": "text", "truncation_mode": "keep_start", "padding_free": true, "pad_token": null, "bf16": true}"#;
    let converted = converted(Dialect::Trl, text, &Beside::default());
    let recipe = read_back(&converted);
    assert_eq!(
        (recipe.pack.strategy, recipe.pack.overlong),
        (Strategy::Knapsack, Overlong::Split)
    );
    assert_eq!(
        (recipe.mask.train, recipe.seed, recipe.epochs),
        (Train::Assistant, 5, Some(3))
    );
    assert_eq!((recipe.batch.rows, recipe.batch.step_rows), (4, None));
    assert_eq!(noted(&converted, About::Otherwise), ["padding_free"]);
    assert_eq!(noted(&converted, About::Trainer), ["bf16"]);
    let few =
        "{\"tokenizer\": \"m/m\", \"max_steps\": 100, \"num_train_epochs\": 3, \"max_length\": 64}";
    let few = super::tests::converted(Dialect::Trl, few, &Beside::default());
    assert_eq!(few.recipe.get("epochs"), None);
    assert_eq!(few.recipe["mask"]["train"], "all");
    assert_eq!(noted(&few, About::Missing), ["the data set"]);
}

#[test]
fn values_of_another_type_are_named_and_not_guessed() {
    let text = "base_model: m/m\nsequence_len: long\nmicro_batch_size: [1]\nnum_epochs: 0.5\ndatasets: [3, {path: [], type: 7}]";
    let converted = converted(Dialect::Axolotl, text, &Beside::default());
    let named = noted(&converted, About::NoEqual);
    for key in [
        "sequence_len",
        "micro_batch_size",
        "num_epochs",
        "datasets[0]",
    ] {
        assert!(named.contains(&key), "{key} of {named:?}");
    }
}

#[test]
fn dialects_are_told_by_keys_of_their_own() {
    let of = |text: &str| Dialect::of(&read(text, "config").unwrap());
    assert_eq!(of(AXOLOTL), Some(Dialect::Axolotl));
    assert_eq!(of(LLAMA_FACTORY), Some(Dialect::LlamaFactory));
    assert_eq!(of("assistant_only_loss: true"), Some(Dialect::Trl));
    assert_eq!(of("seed: 1"), None);
    assert!(read("- a", "config").is_err());
}
