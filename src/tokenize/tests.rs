//! Tests of the stage as a whole, with tokenizers made in memory.

use super::engine::Engine;
use super::tiny::{added, byte_level, config, loaded, unigram, write};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

mod except;

mod fast;

mod sentence;

const NOWHERE: &str = "/nonexistent";

fn bare(tokenizer: &Value) -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_bytes(tokenizer.to_string()).unwrap()
}

fn ids(loaded: &LoadedTokenizer, text: &str) -> Vec<TokenId> {
    let mut out = Encoding::default();
    loaded
        .engine
        .encode(text, SpecialTokens::Leave, &mut out)
        .unwrap();
    out.ids
}

fn tokens(loaded: &LoadedTokenizer, text: &str) -> Vec<String> {
    ids(loaded, text)
        .into_iter()
        .map(|id| loaded.engine.token(id).unwrap())
        .collect()
}

/// The naive twin: the crate's own call, with inserted tokens placed where the text before them ends.
fn naive(tokenizer: &tokenizers::Tokenizer, text: &str, special: SpecialTokens) -> Encoding {
    let encoding = tokenizer
        .encode(text, special == SpecialTokens::Add)
        .unwrap();
    let mut out = Encoding::default();
    let mut at = 0;
    for i in 0..encoding.len() {
        out.ids.push(encoding.get_ids()[i]);
        let (start, end) = encoding.get_offsets()[i];
        if encoding.get_special_tokens_mask()[i] == 0 {
            at = end as u32;
            out.offsets.push((start as u32, at));
        } else {
            out.offsets.push((at, at));
        }
    }
    out
}

fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("hello world".to_owned()),
        Just("<|im_end|>".to_owned()),
        Just("<s>".to_owned()),
        Just("  \n\n".to_owned()),
        Just(".\n".to_owned()),
        Just("e\u{301}é".to_owned()),
        Just("👩‍👩‍👧🇩🇪中".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Pipelines of every kind that is served in a way of its own, and whether they are served by lengths and
/// by pieces.
fn kinds() -> Vec<(Value, bool, bool)> {
    let spell = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let split = |pattern: &str, behavior: &str, invert: bool| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "pretokenizers": steps});
    let with = |part: &str, value: Value| {
        let mut tokenizer = byte_level();
        tokenizer[part] = value;
        tokenizer
    };
    let mut swallowing = byte_level();
    swallowing["added_tokens"][1]["lstrip"] = json!(true);
    swallowing["added_tokens"][2]["normalized"] = json!(true);
    swallowing["added_tokens"][0]["single_word"] = json!(true);
    let mut framed = byte_level();
    framed["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [269], "tokens": ["<|im_start|>"]},
            "<|im_end|>": {"id": "<|im_end|>", "ids": [270], "tokens": ["<|im_end|>"]},
        },
    });
    let cuts = vec![
        split(r"\p{N}{1,3}", "Isolated", false),
        split(r"\s+(?!\S)|\s+| ?\p{L}+", "Isolated", true),
        spell.clone(),
    ];
    let removed = vec![split(r"[^\s]+|\s+", "Removed", true), spell.clone()];
    vec![
        (byte_level(), true, true),
        (with("normalizer", Value::Null), true, true),
        (with("pre_tokenizer", spell.clone()), true, true),
        (with("pre_tokenizer", sequence(cuts)), true, true),
        (swallowing, true, true),
        (framed, true, true),
        (with("pre_tokenizer", sequence(removed)), true, false),
        (
            with(
                "pre_tokenizer",
                sequence(vec![
                    json!({"type": "Digits", "individual_digits": true}),
                    spell,
                ]),
            ),
            true,
            false,
        ),
        (unigram(), false, false),
    ]
}

#[test]
fn every_kind_is_served_as_it_can_be() {
    for (tokenizer, lengths, pieces) in kinds() {
        let engine = Engine::new(bare(&tokenizer), 0).unwrap();
        let kind = tokenizer["pre_tokenizer"].to_string();
        assert_eq!(
            (engine.has_lengths(), engine.has_pieces()),
            (lengths, pieces),
            "{kind}"
        );
    }
}

proptest! {
    #[test]
    fn ids_and_offsets_are_the_crates(texts in prop::collection::vec(texts(), 1..8), add: bool) {
        let special = if add { SpecialTokens::Add } else { SpecialTokens::Leave };
        thread_local! {
            static KINDS: Vec<(tokenizers::Tokenizer, Engine)> = kinds()
                .iter()
                .map(|(tokenizer, _, _)| (bare(tokenizer), Engine::new(bare(tokenizer), 0).unwrap()))
                .collect();
        }
        // Engines are kept, so that later texts meet caches that earlier ones have filled.
        KINDS.with(|kinds| {
            for (twin, engine) in kinds {
                for text in &texts {
                    let expected = naive(twin, text, special);
                    let mut out = Encoding::default();
                    engine.encode(text, special, &mut out).unwrap();
                    prop_assert_eq!(&out, &expected);
                    engine.encode_tracked(text, special, &mut out).unwrap();
                    prop_assert_eq!(&out, &expected);
                    for (start, end) in out.offsets {
                        prop_assert!(start <= end && text.is_char_boundary(start as usize));
                        prop_assert!(text.is_char_boundary(end as usize));
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn threads_that_share_an_engine_get_the_same() {
    let engine = Engine::new(bare(&byte_level()), 0).unwrap();
    let texts: Vec<String> = (0..200)
        .map(|i| format!("hello {} world{}\n", i % 17, i % 5))
        .collect();
    let encode = || {
        let mut out = Encoding::default();
        let ids = |text: &String| {
            engine.encode(text, SpecialTokens::Leave, &mut out).unwrap();
            out.ids.clone()
        };
        texts.iter().map(ids).collect::<Vec<_>>()
    };
    let alone = encode();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(encode)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn offsets_come_from_lengths_only_where_nothing_can_add_text() {
    let lengths = |change: &dyn Fn(&mut Value)| {
        let mut tokenizer = byte_level();
        change(&mut tokenizer);
        Engine::new(bare(&tokenizer), 0).unwrap().has_lengths()
    };
    assert!(lengths(&|_| {}));
    assert!(lengths(&|t| t["normalizer"] = Value::Null));
    assert!(!lengths(&|t| t["normalizer"] = json!({"type": "Lowercase"})));
    assert!(!lengths(
        &|t| t["pre_tokenizer"]["add_prefix_space"] = json!(true)
    ));
    assert!(!lengths(&|t| t["pre_tokenizer"] = Value::Null));
    assert!(!lengths(
        &|t| t["model"]["end_of_word_suffix"] = json!("</w>")
    ));
}

#[test]
fn text_that_is_changed_on_the_way_gets_the_engines_offsets() {
    let mut tokenizer = byte_level();
    tokenizer["added_tokens"][1]["lstrip"] = json!(true);
    let engine = Engine::new(bare(&tokenizer), 0).unwrap();
    let mut out = Encoding::default();
    // The token swallows the blanks before it. Of a composed letter the engine knows where the letter stood
    // alone.
    engine
        .encode("hello  <|im_end|>e\u{301}", SpecialTokens::Leave, &mut out)
        .unwrap();
    assert_eq!(out.offsets, [(0, 5), (5, 17), (17, 18)]);
}

#[test]
fn r9_exactly_one_bos() {
    let loaded = loaded(
        &unigram(),
        &json!({"bos_token": "<s>", "eos_token": "</s>"}),
    );
    let mut out = Encoding::default();
    loaded.encode_plain("hello", &mut out).unwrap();
    assert_eq!(out.ids, [1, 4, 2]);
    assert_eq!(out.offsets, [(0, 0), (0, 5), (5, 5)]);
    loaded.encode_plain("<s>hello", &mut out).unwrap();
    assert_eq!(out.ids, [1, 4, 2]);
    assert_eq!(out.offsets, [(0, 3), (3, 8), (8, 8)]);
    // Two that the text itself has are the text's business.
    loaded.encode_plain("<s><s>hello", &mut out).unwrap();
    assert_eq!(out.ids, [1, 1, 4, 2]);
    loaded.encode_plain("", &mut out).unwrap();
    assert_eq!(out.ids, [1, 2]);
}

#[test]
fn r10_eos_is_appended_once() {
    let loaded = loaded(
        &unigram(),
        &json!({"bos_token": "<s>", "eos_token": "</s>"}),
    );
    assert_eq!(loaded.with_eos("hello"), "hello</s>");
    assert_eq!(loaded.with_eos("hello</s>"), "hello</s>");
    let mut out = Encoding::default();
    loaded
        .encode_plain(&loaded.with_eos("hello"), &mut out)
        .unwrap();
    assert_eq!(out.ids, [1, 4, 2]);
    let without = super::tiny::loaded(&unigram(), &json!({}));
    assert_eq!(without.with_eos("hello"), "hello");
}

#[test]
fn special_tokens_are_those_that_templates_see() {
    let loaded = loaded(
        &byte_level(),
        &json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "image_token": "<img>",
            "pad_token": "<|endoftext|>",
            "eos_token": {"__type": "AddedToken", "content": "<|im_end|>"},
            "bos_token": null,
            "add_bos_token": true,
            "additional_special_tokens": ["<|im_start|>"],
        }),
    );
    let own = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    assert_eq!(
        loaded.special_tokens,
        [
            own("eos_token", "<|im_end|>"),
            own("pad_token", "<|endoftext|>"),
            own("image_token", "<img>"),
        ]
    );
    assert_eq!(loaded.bos, None);
    assert_eq!(loaded.eos.as_ref().map(|eos| eos.id), Some(270));
    assert_eq!(loaded.pad, 271);
    // The token that the file lacks comes after all others.
    assert_eq!(ids(&loaded, "<img>"), [272]);
    assert_eq!(loaded.engine.vocab_len(), 273);
    assert!(loaded.is_added(272) && loaded.is_added(270) && !loaded.is_added(0));
}

#[test]
fn r8_pad_falls_back_to_eos_and_then_to_zero() {
    let eos = loaded(&byte_level(), &json!({"eos_token": "<|im_end|>"}));
    assert_eq!(eos.pad, 270);
    assert_eq!(loaded(&byte_level(), &json!({})).pad, 0);
}

#[test]
fn a_recipe_overrides_special_tokens_by_content() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &byte_level(),
        &json!({"eos_token": "<|im_end|>"}),
    );
    let mut wanted = config(".");
    wanted.eos = Some("<|endoftext|>".to_owned());
    wanted.bos = Some("<|im_start|>".to_owned());
    let loaded = load(&wanted, folder.path(), &HubCache::at(NOWHERE)).unwrap();
    assert_eq!(loaded.bos.map(|token| token.id), Some(269));
    assert_eq!(loaded.eos.map(|token| token.id), Some(271));
    assert_eq!(loaded.pad, 271);
    wanted.pad = Some("<|nowhere|>".to_owned());
    let error = load(&wanted, folder.path(), &HubCache::at(NOWHERE)).unwrap_err();
    assert_eq!(error.kind(), Kind::Recipe);
    assert!(error.to_string().contains("tokenizer.pad"), "{error}");
}

#[test]
fn truncation_padding_and_dropout_are_off() {
    let mut tokenizer = byte_level();
    tokenizer["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    tokenizer["padding"] = json!({
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 271, "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    });
    tokenizer["model"]["dropout"] = json!(0.9);
    let loaded = loaded(&tokenizer, &json!({}));
    assert_eq!(tokens(&loaded, "hello world!"), ["hello", "Ġworld", "!"]);
    assert_eq!(loaded.pad, 271, "padding names the pad token");
    assert!(loaded.notes[0].contains("dropout"), "{:?}", loaded.notes);
}

#[test]
fn a_class_rebuilds_the_pipeline_as_the_reference_does() {
    let mut digits = byte_level();
    digits["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "hell"}, "behavior": "Isolated", "invert": false},
        digits["pre_tokenizer"].clone(),
    ]});
    let class = |name: &str| loaded(&digits, &json!({"tokenizer_class": name}));
    assert_eq!(
        tokens(&class("PreTrainedTokenizerFast"), "hello"),
        ["hell", "o"]
    );
    assert_eq!(tokens(&class("OwnTokenizer"), "hello"), ["hell", "o"]);
    assert_eq!(tokens(&class("GPT2TokenizerFast"), "hello"), ["hello"]);
    assert_eq!(tokens(&class("Qwen2Tokenizer"), "hello"), ["hello"]);
    let unfollowed = class("RobertaTokenizer");
    assert_eq!(tokens(&unfollowed, "hello"), ["hell", "o"]);
    assert!(unfollowed.notes[0].contains("RobertaTokenizer"));
    // Names such as these are common in files that are byte-level all the same.
    assert_eq!(tokens(&class("LlamaTokenizerFast"), "hello"), ["hell", "o"]);
}

#[test]
fn llama_puts_a_blank_before_text_by_legacy_and_prefix() {
    let mut tokenizer = unigram();
    tokenizer["model"] = json!({
        "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
        "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "▁a": 5}, "merges": ["▁ a"],
    });
    let with = |extra: Value| {
        let mut config = json!({"tokenizer_class": "LlamaTokenizer"});
        config
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        tokens(&loaded(&tokenizer, &config), "a</s>a a")
    };
    assert_eq!(with(json!({"legacy": true})), ["▁a", "</s>", "▁a", "▁a"]);
    assert_eq!(with(json!({"legacy": false})), ["▁a", "</s>", "a", "▁a"]);
    assert_eq!(
        with(json!({"add_prefix_space": false})),
        ["a", "</s>", "a", "▁a"]
    );
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &unigram(),
        &json!({"tokenizer_class": "LlamaTokenizer"}),
    );
    let error = load(&config("."), folder.path(), &HubCache::at(NOWHERE)).unwrap_err();
    assert_eq!(error.kind(), Kind::Tokenizer, "{error}");
}

#[test]
fn special_tokens_can_be_split() {
    let whole = loaded(&byte_level(), &json!({}));
    assert_eq!(ids(&whole, "<|im_end|>"), [270]);
    let split = loaded(&byte_level(), &json!({"split_special_tokens": true}));
    assert!(ids(&split, "<|im_end|>").len() > 1);
}

#[test]
fn a_file_named_alone_has_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &byte_level(),
        &json!({"eos_token": "<|im_end|>"}),
    );
    let file = load(
        &config("tokenizer.json"),
        folder.path(),
        &HubCache::at(NOWHERE),
    )
    .unwrap();
    assert_eq!((file.folder, file.eos), (None, None));
    let whole = load(&config("."), folder.path(), &HubCache::at(NOWHERE)).unwrap();
    assert!(whole.folder.is_some() && whole.eos.is_some());
}

#[test]
fn broken_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let load = || load(&config("."), folder.path(), &HubCache::at(NOWHERE)).unwrap_err();
    std::fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
    assert_eq!(load().kind(), Kind::Tokenizer);
    std::fs::write(folder.path().join("tokenizer_config.json"), "[]").unwrap();
    assert!(load().to_string().contains("tokenizer_config.json"));
    let mut other = byte_level();
    other["version"] = json!("2.0");
    write(folder.path(), &other, &json!({}));
    assert!(load().to_string().contains("version 2.0"));
}

#[test]
fn ids_outside_the_vocabulary_are_refused_with_their_place() {
    let loaded = loaded(&byte_level(), &json!({}));
    loaded.engine.check_ids(&[0, 271]).unwrap();
    let error = loaded.engine.check_ids(&[0, 5, 272, 9999]).unwrap_err();
    assert_eq!(error.kind(), Kind::Row);
    assert!(
        error.to_string().contains("id 272 at position 2"),
        "{error}"
    );
}

#[test]
fn the_fingerprint_follows_what_decides_ids() {
    let print = |tokenizer: &Value, config: Value| loaded(tokenizer, &config).engine.fingerprint();
    let plain = print(&byte_level(), json!({}));
    assert_eq!(
        plain,
        print(
            &byte_level(),
            json!({"chat_template": "x", "pad_token": null})
        )
    );
    assert_ne!(
        plain,
        print(&byte_level(), json!({"tokenizer_class": "GPT2Tokenizer"}))
    );
    assert_ne!(plain, print(&byte_level(), json!({"image_token": "<img>"})));
    let mut more = byte_level();
    more["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(added(272, "<x>"));
    assert_ne!(plain, print(&more, json!({})));
}

#[test]
fn decodes_with_special_tokens_written_out() {
    let loaded = loaded(&byte_level(), &json!({}));
    let text = "hello<|im_end|>\n é 👋";
    assert_eq!(loaded.engine.decode(&ids(&loaded, text)).unwrap(), text);
    assert_eq!(loaded.engine.id("<|im_end|>"), Some(270));
    assert_eq!(loaded.engine.name(), "fastokens 0.3.5");
    let reference = loaded.engine.reference().unwrap();
    assert_eq!(reference.name(), "tokenizers 0.23.2");
}
