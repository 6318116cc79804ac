//! Special tokens that are recognised everywhere but in given bytes.

use super::{bare, kinds, naive, texts};
use crate::error::Kind;
use crate::tokenize::engine::Engine;
use crate::tokenize::tiny::{added, byte_level, loaded, unigram};
use crate::tokenize::{Encoding, SpecialTokens, Tokenizer as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::ops::Range;
use tokenizers::Tokenizer;

/// Those of the other tests, and pipelines that do something at a text's beginning or to the tokens themselves.
fn all_kinds() -> Vec<Value> {
    let mut all: Vec<Value> = kinds().into_iter().map(|(kind, _, _)| kind).collect();
    for scheme in ["first", "never"] {
        let mut kind = unigram();
        kind["pre_tokenizer"]["prepend_scheme"] = json!(scheme);
        all.push(kind);
    }
    // Llama's older way: the normalizer writes the blanks, and special tokens are matched after it.
    let mut legacy = unigram();
    legacy["normalizer"] = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    legacy["pre_tokenizer"] = Value::Null;
    legacy["added_tokens"][1]["normalized"] = json!(true);
    all.push(legacy);
    let mut words = byte_level();
    words["added_tokens"][1]["rstrip"] = json!(true);
    words["added_tokens"][1]["single_word"] = json!(true);
    words["added_tokens"][2]["special"] = json!(false);
    words["added_tokens"][2]["lstrip"] = json!(true);
    words["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(added(272, "<s>"));
    words["normalizer"] = json!({"type": "Lowercase"});
    all.push(words);
    all
}

thread_local! {
    static KINDS: Vec<(Tokenizer, Tokenizer, Engine)> = all_kinds()
        .iter()
        .map(|kind| {
            let mut deaf = bare(kind);
            deaf.set_encode_special_tokens(true);
            (bare(kind), deaf, Engine::new(bare(kind), 0).unwrap())
        })
        .collect();
}

proptest! {
    /// Packmill's own search finds what the crate's finds, with every flag and at every step of every pipeline.
    #[test]
    fn bytes_that_are_in_no_token_change_nothing(text in texts(), add: bool) {
        let special = if add { SpecialTokens::Add } else { SpecialTokens::Leave };
        KINDS.with(|all| {
            for (crates, _, engine) in all {
                let mut out = Encoding::default();
                let behind = text.len()..text.len();
                let spelled = engine.encode_except(&text, &[behind], special, &mut out).unwrap();
                prop_assert_eq!(&out, &naive(crates, &text, special));
                prop_assert_eq!(spelled, Vec::<Range<usize>>::new());
            }
            Ok(())
        })?;
    }

    /// Where all bytes are given it is the crate's call without special tokens.
    #[test]
    fn all_bytes_are_the_crates_split_special_tokens(text in texts(), add: bool) {
        let special = if add { SpecialTokens::Add } else { SpecialTokens::Leave };
        KINDS.with(|all| {
            for (_, deaf, engine) in all {
                let mut out = Encoding::default();
                let all = 0..text.len();
                match engine.encode_except(&text, &[all], special, &mut out) {
                    Ok(_) => prop_assert_eq!(&out, &naive(deaf, &text, special)),
                    // A Unigram model has them among its pieces.
                    Err(error) => {
                        prop_assert_eq!(error.kind(), Kind::Tokenizer);
                        let all = naive(deaf, &text, special);
                        prop_assert!(all.ids.iter().any(|&id| id < 3));
                    }
                }
            }
            Ok(())
        })?;
    }

    /// The naive twin: the text cut at the tokens that count, each stretch encoded by the crate without special ones.
    #[test]
    fn some_bytes_are_stretches_joined(parts in prop::collection::vec((any::<bool>(), texts()), 0..6)) {
        thread_local! {
            static TWO: Vec<(Tokenizer, Engine)> = [byte_level(), {
                let mut kind = unigram();
                kind["model"]["vocab"].as_array_mut().unwrap()[1] = json!(["\u{e000}", -20.0]);
                kind["model"]["vocab"].as_array_mut().unwrap()[2] = json!(["\u{e001}", -20.0]);
                kind["added_tokens"] = json!([added(0, "<unk>"), added(13, "<s>"), added(14, "</s>")]);
                kind["post_processor"] = Value::Null;
                kind
            }].iter().map(|kind| {
                let mut deaf = bare(kind);
                deaf.set_encode_special_tokens(true);
                (deaf, Engine::new(bare(kind), 0).unwrap())
            }).collect();
        }
        let (mut text, mut plain) = (String::new(), Vec::new());
        for (own, part) in &parts {
            let start = text.len();
            text.push_str(part);
            if *own && !part.is_empty() {
                plain.push(start..text.len());
            }
        }
        TWO.with(|two| {
            for (deaf, engine) in two {
                let mut expected = Encoding::default();
                let mut left = Vec::new();
                let stretch = |from: usize, to: usize, expected: &mut Encoding| {
                    let part = naive(deaf, &text[from..to], SpecialTokens::Leave);
                    expected.ids.extend(part.ids);
                    let shifted = part.offsets.iter().map(|&(start, end)| (start + from as u32, end + from as u32));
                    expected.offsets.extend(shifted);
                };
                let (mut done, mut at) = (0, 0);
                while at < text.len() {
                    let token = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<unk>", "<s>", "</s>"]
                        .into_iter()
                        .find(|token| text[at..].starts_with(token) && engine.inner_added(token).is_some());
                    let Some(token) = token else {
                        at += text[at..].chars().next().map_or(1, char::len_utf8);
                        continue;
                    };
                    let end = at + token.len();
                    if plain.iter().any(|range| range.start < end && at < range.end) {
                        left.push(at..end);
                    } else {
                        stretch(done, at, &mut expected);
                        expected.ids.push(engine.inner_added(token).unwrap());
                        expected.offsets.push((at as u32, end as u32));
                        done = end;
                    }
                    at = end;
                }
                stretch(done, text.len(), &mut expected);
                let mut out = Encoding::default();
                match engine.encode_except(&text, &plain, SpecialTokens::Leave, &mut out) {
                    Ok(_) if plain.is_empty() => {}
                    Ok(spelled) => {
                        prop_assert_eq!(&spelled, &left);
                        prop_assert_eq!(&out, &expected);
                    }
                    // The vocabulary lacks the characters, and writes the unknown token for the unknown token.
                    Err(error) => prop_assert!(error.to_string().contains("<unk>"), "{error}"),
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_token_that_the_model_makes_itself_is_refused() {
    let tokenizer = loaded(&unigram(), &json!({}));
    let mut out = Encoding::default();
    let text = "hello</s>";
    let engine = &tokenizer.engine;
    let error = engine
        .encode_except(
            text,
            std::slice::from_ref(&(5..9)),
            SpecialTokens::Leave,
            &mut out,
        )
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Tokenizer);
    assert!(error.to_string().contains("\"</s>\""), "{error}");
}

#[test]
fn what_a_field_spells_is_found_after_normalization_too() {
    let mut lower = byte_level();
    lower["normalizer"] = json!({"type": "Lowercase"});
    lower["added_tokens"][1]["normalized"] = json!(true);
    let tokenizer = loaded(&lower, &json!({}));
    let found = tokenizer
        .engine
        .spellings("a <|IM_end|> b <|im_start|>")
        .unwrap();
    let tokens: Vec<_> = found.into_iter().filter_map(|s| s.token).collect();
    assert_eq!(tokens, [2..12, 15..27]);
}

#[test]
fn others_than_special_tokens_are_recognised_everywhere() {
    let mut kind = byte_level();
    kind["added_tokens"][1]["special"] = json!(false);
    let tokenizer = loaded(&kind, &json!({}));
    let text = "<|im_start|><|im_end|>";
    let mut out = Encoding::default();
    let all = 0..text.len();
    let spelled = tokenizer
        .engine
        .encode_except(text, &[all], SpecialTokens::Leave, &mut out)
        .unwrap();
    assert!(spelled.iter().eq([&(0..12)]));
    assert_eq!(out.ids.last(), Some(&270));
}
