//! SentencePiece-style BPE beside the crate, on vocabularies made at random.

use super::{bare, naive};
use crate::tokenize::engine::Engine;
use crate::tokenize::fast::FastEngine;
use crate::tokenize::tiny::{added, unigram};
use crate::tokenize::{Encoding, SpecialTokens, Tokenizer as _};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Pipelines as Llama's and Gemma's classes build them, and as Llama's files wrote them.
fn pipelines() -> Vec<(Value, Value)> {
    let metaspace = |scheme: &str| {
        let step = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
        (Value::Null, step)
    };
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
    let both = json!({"type": "Sequence", "normalizers": [prepend, replace.clone()]});
    vec![
        metaspace("always"),
        metaspace("first"),
        metaspace("never"),
        (replace, split),
        (both, Value::Null),
    ]
}

/// A vocabulary of bytes, some characters, and what `joined` joins of what is there.
fn sentence(joined: &[(usize, usize)], (normalizer, pre_tokenizer): (Value, Value)) -> Value {
    let mut vocab: Map<String, Value> = Map::new();
    for token in ["<unk>", "<s>", "</s>"] {
        vocab.insert(token.to_owned(), vocab.len().into());
    }
    for byte in 0..=255_u8 {
        vocab.insert(format!("<{byte:#04X}>"), vocab.len().into());
    }
    let mut tokens: Vec<String> = ["▁", "a", "b", "c", "é", "\n", "中"]
        .map(str::to_owned)
        .into();
    for token in &tokens {
        vocab.insert(token.clone(), vocab.len().into());
    }
    let mut merges: Vec<Value> = Vec::new();
    for (left, right) in joined {
        let (left, right) = (
            tokens[left % tokens.len()].clone(),
            tokens[right % tokens.len()].clone(),
        );
        let made = format!("{left}{right}");
        merges.push(json!([left, right]));
        if !vocab.contains_key(&made) {
            vocab.insert(made.clone(), vocab.len().into());
            tokens.push(made);
        }
    }
    let mut whole = unigram();
    whole["normalizer"] = normalizer;
    whole["pre_tokenizer"] = pre_tokenizer;
    let pieces = vocab.len();
    let more = [
        added(pieces, "<b>"),
        added(pieces + 1, "bb"),
        added(pieces + 2, "<b"),
    ];
    whole["added_tokens"].as_array_mut().unwrap().extend(more);
    whole["model"] = json!({
        "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": vocab, "merges": merges,
    });
    whole
}

fn fast(tokenizer: &Value) -> Result<Arc<FastEngine>, String> {
    let file = tokenizer.to_string().into_bytes();
    let engine = FastEngine::new(Engine::new(bare(tokenizer), 7).unwrap(), file);
    engine.wait().map_err(str::to_owned)?;
    Ok(engine)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(
        "([abc ]{0,12}|[ abcé中\n▁d😀]{0,20}|<b>|</s>| |bb|<s>|a{5,40}| {2,9}){0,6}",
        1..6,
    )
}

proptest! {
    // Each case loads five tokenizers, self-check and all.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn ids_and_offsets_are_the_crates(
        joined in prop::collection::vec((0..40_usize, 0..40_usize), 0..30),
        texts in texts(),
        add: bool,
    ) {
        let special = if add { SpecialTokens::Add } else { SpecialTokens::Leave };
        for pipeline in pipelines() {
            let tokenizer = sentence(&joined, pipeline);
            let (twin, engine) = (bare(&tokenizer), fast(&tokenizer).unwrap());
            for text in &texts {
                let mut out = Encoding::default();
                engine.encode(text, special, &mut out).unwrap();
                prop_assert_eq!(&out, &naive(&twin, text, special), "{:?}", text);
                // A blank of its own alone is left to the reference.
                let left = engine.counts().by_reference;
                engine.encode(&text.replace('▁', " "), special, &mut out).unwrap();
                prop_assert_eq!(engine.counts().by_reference, left);
            }
        }
    }
}

#[test]
fn pipelines_that_do_more_are_refused() {
    let change = |change: &dyn Fn(&mut Value)| {
        let mut tokenizer = sentence(&[(1, 2)], pipelines().swap_remove(0));
        change(&mut tokenizer);
        fast(&tokenizer).err()
    };
    assert_eq!(change(&|_| {}), None);
    let why = change(&|t| t["pre_tokenizer"]["split"] = json!(true));
    assert!(why.unwrap().contains("blanks"));
    let why = change(&|t| t["added_tokens"][4]["normalized"] = json!(true));
    assert!(why.unwrap().contains("added tokens"));
    let why = change(&|t| {
        t["model"]["vocab"]
            .as_object_mut()
            .unwrap()
            .shift_remove("<0x41>");
    });
    assert!(why.unwrap().contains("byte"));
    let why = change(&|t| t["model"]["byte_fallback"] = json!(false));
    assert!(why.unwrap().contains("SentencePiece"));
}
