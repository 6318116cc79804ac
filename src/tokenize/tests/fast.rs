//! The fast engine beside the reference.

use super::{NOWHERE, bare, kinds, naive, texts};
use crate::error::Kind;
use crate::recipe::TokenizerEngine;
use crate::tokenize::engine::Engine;
use crate::tokenize::fast::FastEngine;
use crate::tokenize::tiny::{byte_level, config, loaded, unigram, write};
use crate::tokenize::{Encoding, HubCache, SpecialTokens, Tokenizer as _, load};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;
use tokenizers::Tokenizer;

/// What the example runs by the million, on tokenizers that people use.
#[path = "../../../examples/engines_agree/hostile.rs"]
mod hostile;

fn fast(tokenizer: &Value) -> Result<Arc<FastEngine>, String> {
    let file = tokenizer.to_string().into_bytes();
    let engine = FastEngine::new(Engine::new(bare(tokenizer), 7).unwrap(), file);
    engine.wait().map_err(str::to_owned)?;
    Ok(engine)
}

/// Byte-level vocabularies with the patterns that the crate has scanners for, or that it lacks, and merges enough to be
/// wrong about.
fn patterns() -> Vec<Value> {
    let split = |pattern: &str| {
        let spell = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let cut = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let mut tokenizer = byte_level();
        tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [cut, spell]});
        tokenizer
    };
    let mut folded = split(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    );
    folded["model"]["ignore_merges"] = json!(true);
    folded["normalizer"] = Value::Null;
    // A hole in the ids, as in gpt4o's file.
    folded["model"]["vocab"]["<|far|>"] = json!(290);
    let all = [
        byte_level(),
        folded,
        split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        split(r"\p{L}+|[0-9]{1,2}|\s"),
        split(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
    ];
    all.into_iter()
        .chain(kinds().into_iter().map(|(kind, _, _)| kind))
        .collect()
}

thread_local! {
    static ALL: Vec<(Tokenizer, Tokenizer, Arc<FastEngine>)> = patterns()
        .iter()
        .filter_map(|kind| {
            let mut deaf = bare(kind);
            deaf.set_encode_special_tokens(true);
            Some((bare(kind), deaf, fast(kind).ok()?))
        })
        .collect();
}

#[test]
fn what_is_taken_and_what_is_not() {
    let why = |tokenizer: &Value| fast(tokenizer).err();
    let taken = patterns().iter().filter(|kind| why(kind).is_none()).count();
    assert_eq!(taken, 13, "of {}", patterns().len());
    assert!(why(&unigram()).unwrap().contains("not BPE"));
    // One far id, which must not make a table of two billion places.
    let mut far = byte_level();
    far["model"]["vocab"]["<|far|>"] = json!(2_000_000_000);
    assert!(Engine::new(bare(&far), 7).unwrap().bytes().is_none());
    assert!(why(&far).unwrap().contains("ids are not in use"));
    let mut lower = byte_level();
    lower["normalizer"] = json!({"type": "Lowercase"});
    assert!(why(&lower).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn ids_and_offsets_are_the_crates(texts in prop::collection::vec(texts(), 1..8), add: bool) {
        let special = if add { SpecialTokens::Add } else { SpecialTokens::Leave };
        ALL.with(|all| {
            for (twin, _, engine) in all {
                for text in &texts {
                    let mut out = Encoding::default();
                    engine.encode(text, special, &mut out).unwrap();
                    prop_assert_eq!(&out, &naive(twin, text, special));
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn special_tokens_are_left_where_the_reference_leaves_them(before in texts(), own in texts(), behind in texts()) {
        let text = [before.as_str(), own.as_str(), behind.as_str()].concat();
        let own = before.len()..before.len() + own.len();
        ALL.with(|all| {
            for (_, _, engine) in all {
                let reference = engine.reference().unwrap();
                let (mut out, mut expected) = (Encoding::default(), Encoding::default());
                let left = engine.encode_except(&text, std::slice::from_ref(&own), SpecialTokens::Leave, &mut out);
                let wanted = reference.encode_except(&text, std::slice::from_ref(&own), SpecialTokens::Leave, &mut expected);
                prop_assert_eq!(left.unwrap(), wanted.unwrap());
                prop_assert_eq!(&out, &expected);
            }
            Ok(())
        })?;
    }
}

#[test]
fn rows_of_hostile_unicode_are_encoded_alike() {
    let special = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"].map(str::to_owned);
    ALL.with(|all| {
        for (index, (twin, _, engine)) in all.iter().enumerate() {
            let mut numbers = hostile::Numbers::new(index as u64);
            let mut out = Encoding::default();
            for _ in 0..200 {
                let text = hostile::row(&mut numbers, &special);
                engine
                    .encode(&text, SpecialTokens::Leave, &mut out)
                    .unwrap();
                assert_eq!(out, naive(twin, &text, SpecialTokens::Leave), "{text:?}");
            }
        }
    });
}

#[test]
fn texts_that_prove_nothing_are_the_references_and_counted() {
    let engine = fast(&byte_level()).unwrap();
    let mut out = Encoding::default();
    let mut count = |text: &str, plain: &[Range<usize>]| {
        let before = engine.counts().by_reference;
        engine
            .encode_except(text, plain, SpecialTokens::Leave, &mut out)
            .unwrap();
        engine.counts().by_reference - before
    };
    assert_eq!(count("hello \u{e9}<|im_end|>", &[]), 0);
    // Composed on the way.
    assert_eq!(count("e\u{301}", &[]), 1);
    // What the crate is known to cut otherwise.
    assert_eq!(count("s'\u{17f}'SM", &[]), 1);
    let own = 0..5;
    assert_eq!(count("hello<|im_end|>", std::slice::from_ref(&own)), 0);
    let own = 0..6;
    assert_eq!(count("hello<|im_end|>", std::slice::from_ref(&own)), 1);
}

#[test]
fn the_engine_is_the_recipes_choice_and_changes_no_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let open = |tokenizer: &Value, engine: TokenizerEngine| {
        write(folder.path(), tokenizer, &json!({}));
        let mut wanted = config(".");
        wanted.engine = engine;
        load(&wanted, folder.path(), &HubCache::at(NOWHERE))
    };
    let named = |engine| {
        let engine = open(&byte_level(), engine).unwrap().engine;
        engine.wait().unwrap();
        engine.name().to_owned()
    };
    assert_eq!(named(TokenizerEngine::Auto), "fastokens 0.3.5");
    assert_eq!(named(TokenizerEngine::Fast), "fastokens 0.3.5");
    assert_eq!(named(TokenizerEngine::Reference), "tokenizers 0.23.2");
    let print = |engine| open(&byte_level(), engine).unwrap().engine.fingerprint();
    assert_eq!(
        print(TokenizerEngine::Fast),
        print(TokenizerEngine::Reference)
    );

    let plain = open(&unigram(), TokenizerEngine::Auto).unwrap();
    assert_eq!(plain.engine.name(), "tokenizers 0.23.2");
    let why = plain.engine.wait().unwrap_err();
    assert!(why.contains("its model is not BPE"), "{why}");
    assert!(plain.engine.reference().is_none());
    let error = open(&unigram(), TokenizerEngine::Fast).unwrap_err();
    assert_eq!(error.kind(), Kind::Recipe);
    assert!(error.to_string().contains("tokenizer.engine"), "{error}");
    let reference = open(&unigram(), TokenizerEngine::Reference).unwrap();
    reference.engine.wait().unwrap();
}

#[test]
fn tokens_that_are_split_and_added_are_known_to_both() {
    let split = loaded(&byte_level(), &json!({"split_special_tokens": true}));
    split.engine.wait().unwrap();
    assert_eq!(split.engine.name(), "fastokens 0.3.5");
    let mut out = Encoding::default();
    split
        .engine
        .encode("<|im_end|>", SpecialTokens::Leave, &mut out)
        .unwrap();
    assert!(out.ids.len() > 1);
    let more = loaded(&byte_level(), &json!({"image_token": "<img>"}));
    more.engine.wait().unwrap();
    more.engine
        .encode("a<img>", SpecialTokens::Leave, &mut out)
        .unwrap();
    assert_eq!((more.engine.name(), out.ids[1]), ("fastokens 0.3.5", 272));
}

#[test]
fn the_reference_serves_until_the_fast_engine_is_ready() {
    let file = byte_level().to_string().into_bytes();
    let engine = FastEngine::new(Engine::new(bare(&byte_level()), 7).unwrap(), file);
    let (mut first, mut later) = (Encoding::default(), Encoding::default());
    let text = "hello world<|im_end|> 12";
    let encode = |text: &str, out: &mut Encoding| {
        engine.encode(text, SpecialTokens::Leave, out).unwrap();
        (engine.counts().before_ready, engine.counts().by_reference)
    };
    assert_eq!(encode(text, &mut first), (1, 0));
    assert!(engine.reference().is_none() && !engine.has_begun());
    assert_eq!(engine.name(), "tokenizers 0.23.2");
    // Some megabytes later it is begun by itself.
    let long = "hello world ".repeat(1 << 15);
    for _ in 0..11 {
        encode(&long, &mut later);
    }
    assert!(engine.has_begun());
    engine.wait().unwrap();
    let before = engine.counts().before_ready;
    assert_eq!(encode(text, &mut later), (before, 0));
    assert!(engine.reference().is_some());
    assert_eq!(first, later);
}

#[test]
fn a_difference_is_named_with_its_place() {
    let engine = fast(&byte_level()).unwrap();
    let mut out = Encoding::default();
    engine
        .encode("hello world", SpecialTokens::Leave, &mut out)
        .unwrap();
    engine
        .check("hello world", &[], SpecialTokens::Leave, &out)
        .unwrap();
    assert_eq!(engine.counts().checked, 1);
    out.ids[1] += 1;
    let error = engine
        .check("hello world", &[], SpecialTokens::Leave, &out)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    let text = error.to_string();
    assert!(
        text.contains("token 1 is") && text.contains("at bytes 5 to 11"),
        "{text}"
    );
}
