//! The demo's tokenizer: a byte-level BPE learned from the demo's own corpus, in the form of `tokenizer.json`.

use super::bpe;
use crate::cli::show::byte_level;
use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
};

/// Tokens of the model, without the added ones.
pub(crate) const VOCABULARY: usize = 2_048;

/// Added tokens after the model's own, in this order: content, and whether it is special.
const ADDED: [(&str, bool); 5] = [
    ("<|endoftext|>", true),
    ("<|im_start|>", true),
    ("<|im_end|>", true),
    ("<tool_call>", false),
    ("</tool_call>", false),
];

/// How text is cut into words before the merges: the pattern of the GPT-4 and Qwen families.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.json`, learned from `texts`.
pub(crate) fn tokenizer_json<'t>(texts: impl Iterator<Item = &'t str>) -> anyhow::Result<String> {
    let split = json!({
        "type": "Split",
        "pattern": { "Regex": WORDS },
        "behavior": "Isolated",
        "invert": false,
    });
    let merges = bpe::train(&count_words(&split, texts)?, VOCABULARY);
    let names: Vec<String> = bpe::tokens(&merges)
        .iter()
        .map(|bytes| bytes.iter().copied().map(byte_level::char_of).collect())
        .collect();

    let vocabulary: Map<String, Value> = (0u32..)
        .zip(&names)
        .map(|(id, name)| (name.clone(), id.into()))
        .collect();
    let merges: Vec<Value> = merges
        .iter()
        .map(|&(left, right)| json!([names[left as usize], names[right as usize]]))
        .collect();
    let added: Vec<Value> = added_tokens(names.len())
        .map(|(id, content, special)| {
            let mut token = added_token(content, special);
            token.insert("id".to_owned(), id.into());
            Value::Object(token)
        })
        .collect();
    let byte_level = json!({
        "type": "ByteLevel",
        "add_prefix_space": false,
        "trim_offsets": false,
        "use_regex": false,
    });
    pretty(&json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [split, byte_level] },
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    }))
}

/// `tokenizer_config.json`: which tokens end a turn and pad a row. The template is a file beside it.
pub(crate) fn tokenizer_config(vocabulary: usize) -> anyhow::Result<String> {
    let decoder: Map<String, Value> = added_tokens(vocabulary)
        .map(|(id, content, special)| {
            (id.to_string(), Value::Object(added_token(content, special)))
        })
        .collect();
    pretty(&json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": decoder,
        "bos_token": null,
        "clean_up_tokenization_spaces": false,
        "eos_token": "<|im_end|>",
        "model_max_length": 131_072,
        "pad_token": "<|endoftext|>",
        "unk_token": null,
    }))
}

fn added_tokens(vocabulary: usize) -> impl Iterator<Item = (usize, &'static str, bool)> {
    ADDED
        .iter()
        .enumerate()
        .map(move |(n, &(content, special))| (vocabulary + n, content, special))
}

fn added_token(content: &str, special: bool) -> Map<String, Value> {
    let mut token = Map::new();
    token.insert("content".to_owned(), content.into());
    for flag in ["single_word", "lstrip", "rstrip", "normalized"] {
        token.insert(flag.to_owned(), false.into());
    }
    token.insert("special".to_owned(), special.into());
    token
}

/// How often each word stands in the texts, cut exactly as the finished tokenizer will cut them.
fn count_words<'t>(
    split: &Value,
    texts: impl Iterator<Item = &'t str>,
) -> anyhow::Result<BTreeMap<Vec<u8>, u64>> {
    let split: PreTokenizerWrapper =
        serde_json::from_value(split.clone()).context("the demo's own word pattern")?;
    let mut words: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for text in texts {
        let mut cut = PreTokenizedString::from(text);
        split
            .pre_tokenize(&mut cut)
            .map_err(|error| anyhow!(error))?;
        for (word, _, _) in cut.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            if let Some(count) = words.get_mut(word.as_bytes()) {
                *count += 1;
            } else {
                words.insert(word.as_bytes().to_vec(), 1);
            }
        }
    }
    Ok(words)
}

fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}
