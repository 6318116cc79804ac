//! Tokenizers made in memory, for tests: small enough to read, and of the two kinds that matter.

use super::{HubCache, LoadedTokenizer, load};
use crate::recipe::{TokenizerConfig, TokenizerEngine};
use serde_json::{Value, json};
use std::path::Path;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// A byte-level BPE tokenizer.json: all 256 bytes, some merges, chat tokens from id 300 on, NFC, no
/// post-processor.
pub(crate) fn byte_level() -> Value {
    let merges = [
        "h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "Ċ Ċ", "Ã ©",
        ". Ċ", "Ġ Ġ",
    ];
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let tokens = alphabet
        .into_iter()
        .map(String::from)
        .chain(merges.iter().map(|merge| merge.replace(' ', "")));
    let vocab: serde_json::Map<String, Value> = tokens
        .enumerate()
        .map(|(id, token)| (token, json!(id)))
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
            added(vocab.len(), "<|im_start|>"),
            added(vocab.len() + 1, "<|im_end|>"),
            added(vocab.len() + 2, "<|endoftext|>"),
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges,
        },
    })
}

/// A Unigram tokenizer.json with Metaspace, as SentencePiece has it: `<s>` is put before a text and `</s>`
/// after it.
pub(crate) fn unigram() -> Value {
    let piece = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("<s>"), text, piece("</s>")],
            "pair": [piece("<s>"), text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]},
            },
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {
            "type": "Unigram", "unk_id": 0, "byte_fallback": false,
            "vocab": [
                ["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["▁hello", -3.0], ["▁world", -3.5],
                ["hell", -4.0], ["o", -4.5], ["w", -5.0], ["l", -5.0], ["d", -5.0], ["é", -6.0], ["!", -6.0],
            ],
        },
    })
}

/// A special token for a file's `added_tokens`.
pub(crate) fn added(id: usize, content: &str) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    })
}

/// Writes a folder with a tokenizer.json and a tokenizer_config.json.
pub(crate) fn write(folder: &Path, tokenizer: &Value, config: &Value) {
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
}

/// What a recipe says about a tokenizer in `path`.
pub(crate) fn config(path: &str) -> TokenizerConfig {
    TokenizerConfig {
        path: path.to_owned(),
        revision: None,
        bos: None,
        eos: None,
        pad: None,
        engine: TokenizerEngine::Auto,
    }
}

/// Loads a tokenizer from a folder that is gone afterwards.
pub(crate) fn loaded(tokenizer: &Value, settings: &Value) -> LoadedTokenizer {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), tokenizer, settings);
    let loaded = load(&config("."), folder.path(), &HubCache::at("/nonexistent")).unwrap();
    // By the fast engine where there is one, from the first text on.
    let _ = loaded.engine.wait();
    loaded
}
