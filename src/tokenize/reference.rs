//! What the reference makes of a tokenizer.json before it encodes: Transformers 5.23 rebuilds part of the
//! pipeline by class, and adds special tokens that the file lacks.
//!
//! Source: `TokenizersBackend` in `tokenization_utils_tokenizers.py` and the files of the classes. Only
//! what decides ids and decoding is here.

use super::classes::Class;
use super::settings::{Settings, Word, Words};
use crate::error::{Error, Kind, Result, Stage};
use serde::Deserialize;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{NFC, Replace};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PaddingParams,
    PostProcessorWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer,
};

/// A tokenizer.json in its parts. Truncation is not among them: nothing is ever cut here.
pub(super) type TokenizerFile = File<ModelWrapper>;

#[derive(Deserialize)]
pub(super) struct File<M> {
    version: Option<String>,
    #[serde(default)]
    padding: Option<PaddingParams>,
    #[serde(default)]
    added_tokens: Vec<NumberedToken>,
    #[serde(default)]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    post_processor: Option<PostProcessorWrapper>,
    #[serde(default)]
    decoder: Option<DecoderWrapper>,
    model: M,
}

impl<M> File<M> {
    fn with_model<N>(self, wrap: impl FnOnce(M) -> N) -> File<N> {
        File {
            version: self.version,
            padding: self.padding,
            added_tokens: self.added_tokens,
            normalizer: self.normalizer,
            pre_tokenizer: self.pre_tokenizer,
            post_processor: self.post_processor,
            decoder: self.decoder,
            model: wrap(self.model),
        }
    }
}

#[derive(Deserialize)]
struct NumberedToken {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

impl TokenizerFile {
    /// Parses the bytes of a tokenizer.json.
    pub(super) fn parse(bytes: &[u8]) -> Result<TokenizerFile> {
        // The crate finds out which model a file has by reading it into a tree, and that into another. Most are BPE, which
        // reads straight from the text; what does not is left to the crate, and to its errors.
        let file = match serde_json::from_slice::<File<BPE>>(bytes) {
            Ok(file) => file.with_model(ModelWrapper::BPE),
            Err(_) => parse_slowly(bytes)?,
        };
        match file.version.as_deref() {
            None | Some("1.0") => Ok(file),
            Some(other) => Err(refuse(format!(
                "tokenizer.json has version {other}, not 1.0"
            ))),
        }
    }

    fn added(&self) -> Vec<(u32, AddedToken)> {
        self.added_tokens
            .iter()
            .map(|numbered| (numbered.id, numbered.token.clone()))
            .collect()
    }
}

/// As the crate does.
fn parse_slowly(bytes: &[u8]) -> Result<TokenizerFile> {
    serde_json::from_slice(bytes).map_err(|error| {
        refuse("tokenizer.json is not one that the tokenizers crate 0.23 reads").caused_by(error)
    })
}

/// A tokenizer as the reference would have it in memory.
pub(super) struct Assembled {
    pub(super) tokenizer: Tokenizer,
    pub(super) words: Words,
    /// What a person should know about it.
    pub(super) notes: Vec<String>,
}

/// Assembles the pipeline of `file` as `class` does. `overrides` are the recipe's own special tokens by name.
///
/// # Errors
///
/// [`Kind::Tokenizer`] where the class and the file do not fit, [`Kind::Recipe`] for an override that the
/// vocabulary lacks.
pub(super) fn assemble(
    mut file: TokenizerFile,
    class: Class,
    settings: &Settings,
    overrides: &[(&str, &str)],
) -> Result<Assembled> {
    let mut notes = Vec::new();
    let mut words = Words::resolve(settings, overrides, class.defaults(), &file.added());
    if let Some(padding) = &file.padding
        && words.get("pad_token").is_none()
        && !settings.config.contains_key("pad_token")
    {
        words.set("pad_token", Word::Text(padding.pad_token.clone()));
    }
    if class == Class::Unfollowed {
        notes.push(format!(
            "{} changes the tokenizer in Transformers in a way that packmill does not follow; \
             tokenizer.json is used as it is written",
            settings.text("tokenizer_class").unwrap_or("its class")
        ));
    }

    rebuild(class, settings, &words, &mut file)?;
    untrim(file.post_processor.as_mut());
    if let ModelWrapper::BPE(model) = &mut file.model
        && model.dropout.take().is_some_and(|dropout| dropout > 0.0)
    {
        notes.push("BPE dropout is switched off: it would make ids random".to_owned());
    }

    let written = match class {
        Class::Backend | Class::Unfollowed => std::mem::take(&mut file.added_tokens),
        _ => Vec::new(),
    };
    let mut tokenizer = Tokenizer::new(file.model);
    tokenizer
        .with_normalizer(file.normalizer)
        .map_err(failed("normalizer"))?;
    tokenizer
        .with_pre_tokenizer(file.pre_tokenizer)
        .with_post_processor(file.post_processor)
        .with_decoder(file.decoder);
    add(
        &mut tokenizer,
        written.into_iter().map(|numbered| numbered.token),
    )?;
    for (name, content) in overrides {
        if tokenizer.token_to_id(content).is_none()
            && !words.added.iter().any(|token| token.content == *content)
        {
            let key = name.trim_end_matches("_token");
            return Err(Error::new(
                Kind::Recipe,
                Stage::Tokenize,
                format!("tokenizer.{key}: {content:?} is not a token of this tokenizer"),
            )
            .remedy("name one that its vocabulary has"));
        }
    }
    tokenizer.set_encode_special_tokens(settings.switch("split_special_tokens") == Some(true));
    add_missing(&mut tokenizer, class, &words)?;
    if mends_mistral(&tokenizer, settings) {
        mend_mistral(&mut tokenizer)?;
    }
    Ok(Assembled {
        tokenizer,
        words,
        notes,
    })
}

/// Replaces the parts of the pipeline that the class builds itself.
fn rebuild(
    class: Class,
    settings: &Settings,
    words: &Words,
    file: &mut TokenizerFile,
) -> Result<()> {
    if matches!(class, Class::Backend | Class::Unfollowed) {
        return Ok(());
    }
    let ModelWrapper::BPE(model) = &mut file.model else {
        return Err(refuse(format!(
            "{} needs a BPE model and tokenizer.json has another",
            settings.text("tokenizer_class").unwrap_or("its class")
        ))
        .remedy("set tokenizer_class in tokenizer_config.json to TokenizersBackend"));
    };
    let prefix_space = settings.switch("add_prefix_space");
    match class {
        Class::Backend | Class::Unfollowed => {}
        Class::Llama => {
            sentence_piece_model(model, None);
            let scheme = match (prefix_space, settings.switch("legacy")) {
                (Some(false), _) => PrependScheme::Never,
                (_, Some(true)) => PrependScheme::Always,
                _ => PrependScheme::First,
            };
            file.normalizer = None;
            file.pre_tokenizer = Some(Metaspace::new('▁', scheme, false).into());
            file.decoder = Some(sentence_piece_decoder(prefix_space != Some(false))?);
        }
        Class::Gemma => {
            let unknown = words.get("unk_token").map(|word| word.content().to_owned());
            sentence_piece_model(model, unknown);
            file.normalizer = Some(Replace::new(" ", "▁").map_err(failed("normalizer"))?.into());
            let behavior = SplitDelimiterBehavior::MergedWithPrevious;
            file.pre_tokenizer = Some(
                Split::new(SplitPattern::String(" ".to_owned()), behavior, false)
                    .map_err(failed("pre-tokenizer"))?
                    .into(),
            );
            file.decoder = Some(sentence_piece_decoder(false)?);
        }
        Class::Gpt2 => {
            byte_level_model(model);
            file.normalizer = None;
            file.pre_tokenizer = Some(byte_level(prefix_space, true).into());
            file.decoder = Some(byte_level(Some(true), true).into());
        }
        Class::GptNeoX => {
            byte_level_model(model);
            file.normalizer = Some(NFC.into());
            file.pre_tokenizer = Some(byte_level(prefix_space, true).into());
            file.decoder = Some(byte_level(Some(true), true).into());
            // The class writes its own post-processor, from `add_bos_token` and `add_eos_token`, which the
            // reference has thrown away by then: nothing is added.
            file.post_processor = None;
        }
        Class::Qwen2 | Class::Qwen35 => {
            byte_level_model(model);
            let pattern = match class {
                Class::Qwen2 => QWEN2_PATTERN,
                _ => QWEN35_PATTERN,
            };
            file.normalizer = Some(NFC.into());
            file.pre_tokenizer = Some(
                Sequence::new(vec![
                    isolated(pattern)?.into(),
                    byte_level(prefix_space, false).into(),
                ])
                .into(),
            );
            file.decoder = Some(byte_level(Some(true), true).into());
        }
        Class::Cohere => {
            byte_level_model(model);
            file.normalizer = Some(NFC.into());
            file.pre_tokenizer = Some(
                Sequence::new(vec![
                    Digits::new(true).into(),
                    byte_level(prefix_space, true).into(),
                ])
                .into(),
            );
            file.decoder = Some(byte_level(prefix_space, true).into());
        }
    }
    Ok(())
}

/// The patterns that classes split with; the reference writes them in its classes, not in the files.
const QWEN2_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN35_PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const MISTRAL_PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

fn isolated(pattern: &str) -> Result<Split> {
    let pattern = SplitPattern::Regex(pattern.to_owned());
    Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed("pre-tokenizer"))
}

fn byte_level(prefix_space: Option<bool>, use_regex: bool) -> ByteLevel {
    ByteLevel::new(prefix_space.unwrap_or(false), true, use_regex)
}

fn byte_level_model(model: &mut BPE) {
    model.unk_token = None;
    model.fuse_unk = false;
    model.byte_fallback = false;
    model.ignore_merges = false;
    model.continuing_subword_prefix = Some(String::new());
    model.end_of_word_suffix = Some(String::new());
}

fn sentence_piece_model(model: &mut BPE, unknown: Option<String>) {
    model.unk_token = unknown;
    model.fuse_unk = true;
    model.byte_fallback = true;
    model.ignore_merges = false;
    model.continuing_subword_prefix = None;
    model.end_of_word_suffix = None;
}

fn sentence_piece_decoder(strip: bool) -> Result<DecoderWrapper> {
    let replace = Replace::new("▁", " ").map_err(failed("decoder"))?;
    let mut steps: Vec<DecoderWrapper> = vec![
        replace.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if strip {
        steps.push(Strip::new(' ', 1, 0).into());
    }
    Ok(DecoderSequence::new(steps).into())
}

/// Switches off the trimming of offsets: a token's range is then all the text that it stands for, and no
/// span can end on a blank that belongs to no token. Ids do not change.
fn untrim(processor: Option<&mut PostProcessorWrapper>) {
    match processor {
        Some(PostProcessorWrapper::ByteLevel(step)) => step.trim_offsets = false,
        Some(PostProcessorWrapper::Roberta(step)) => step.trim_offsets = false,
        Some(PostProcessorWrapper::Sequence(steps)) => {
            for step in steps.as_mut() {
                untrim(Some(step));
            }
        }
        _ => {}
    }
}

/// Adds the tokens that the settings name and the pipeline lacks, in the reference's order, which decides
/// their ids.
fn add_missing(tokenizer: &mut Tokenizer, class: Class, words: &Words) -> Result<()> {
    let vocabulary = tokenizer.get_added_vocabulary();
    let is_there = |token: &AddedToken| {
        let id = vocabulary.get_vocab().get(&token.content);
        id.and_then(|id| vocabulary.get_added_tokens_decoder().get(id)) == Some(token)
    };
    let saved: Vec<AddedToken> = words
        .added
        .iter()
        .filter(|token| !is_there(token))
        .map(|token| {
            let special = token.special || words.is_named(&token.content);
            token.clone().special(special)
        })
        .collect();
    add(tokenizer, saved)?;
    let have = tokenizer.get_added_vocabulary().get_vocab();
    let missing: Vec<AddedToken> = words
        .all_special()
        .into_iter()
        .filter(|word| !have.contains_key(word.content()))
        .map(|word| match word {
            Word::Token(token) if !words.is_named(&token.content) => token.clone(),
            word => word.to_special(),
        })
        .collect();
    add(tokenizer, missing)?;
    match class {
        Class::Qwen2 => {
            let special: Vec<AddedToken> = words
                .all_special()
                .into_iter()
                .map(|word| AddedToken::from(word.content(), true))
                .collect();
            add(tokenizer, special)
        }
        Class::Cohere => {
            let special: Vec<AddedToken> = words
                .all_special()
                .into_iter()
                .map(Word::to_special)
                .collect();
            add(tokenizer, special)
        }
        _ => Ok(()),
    }
}

fn add(tokenizer: &mut Tokenizer, tokens: impl IntoIterator<Item = AddedToken>) -> Result<()> {
    tokenizer
        .add_tokens(tokens)
        .map(|_| ())
        .map_err(failed("added tokens"))
}

/// Whether the reference would put a corrected pattern into a Mistral tokenizer: it is told to, and
/// config.json is one of an older Mistral model.
fn mends_mistral(tokenizer: &Tokenizer, settings: &Settings) -> bool {
    const MODELS: [&str; 5] = ["mistral", "mistral3", "voxtral", "ministral", "pixtral"];
    let old = settings
        .model_text("transformers_version")
        .and_then(|version| version.split('.').next()?.parse::<u32>().ok())
        .is_none_or(|major| major < 5);
    settings.switch("fix_mistral_regex") == Some(true)
        && settings.model.is_some()
        && settings
            .model_text("model_type")
            .is_none_or(|model| MODELS.contains(&model))
        && old
        && tokenizer.get_pre_tokenizer().is_some()
        && tokenizer.get_vocab_size(true) > 100_000
}

fn mend_mistral(tokenizer: &mut Tokenizer) -> Result<()> {
    let split: PreTokenizerWrapper = isolated(MISTRAL_PATTERN)?.into();
    let steps = match tokenizer.get_pre_tokenizer().cloned() {
        Some(PreTokenizerWrapper::Sequence(steps)) => std::iter::once(split)
            .chain(steps.into_iter().skip(1))
            .collect(),
        Some(PreTokenizerWrapper::Metaspace(_)) => vec![split, byte_level(None, false).into()],
        Some(other) => vec![split, other],
        None => return Ok(()),
    };
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    Ok(())
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Kind::Tokenizer, Stage::Tokenize, message)
}

/// The error of a part that the tokenizers crate refuses.
fn failed(part: &'static str) -> impl Fn(tokenizers::Error) -> Error {
    move |error| refuse(format!("tokenizer.json, {part}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::tiny::{byte_level, unigram};
    use serde_json::json;

    #[test]
    fn the_quick_way_reads_what_the_crate_reads() {
        let (own, mut pairs) = (byte_level(), byte_level());
        let mut texts = vec![own.to_string(), unigram().to_string()];
        let legacy = own["model"]["merges"].as_array().unwrap().iter();
        pairs["model"]["merges"] = legacy
            .map(|merge| match merge.as_str() {
                Some(text) => json!(text.split_once(' ').unwrap()),
                None => json!(format!(
                    "{} {}",
                    merge[0].as_str().unwrap(),
                    merge[1].as_str().unwrap()
                )),
            })
            .collect();
        texts.push(pairs.to_string());
        let with = |key: &str, value: serde_json::Value| {
            let mut other = own.clone();
            other["model"][key] = value;
            other.to_string()
        };
        texts.extend([
            with("more", json!([1, {"a": [2]}])),
            with("type", json!("WordPiece")),
            with("type", json!(7)),
            with("dropout", json!(0.25)),
            with("unk_token", json!("<|pad|>")),
            with("merges", json!([["no", "such"]])),
            with("vocab", json!({"a": -1})),
        ]);
        let mut untyped = own.clone();
        untyped["model"].as_object_mut().unwrap().remove("type");
        texts.push(untyped.to_string());
        // A key that comes twice.
        texts.push(own.to_string().replacen(
            "\"merges\":",
            "\"merges\":[],\"vocab\":{\"a\":0},\"merges\":",
            1,
        ));
        let straight = serde_json::from_str::<File<BPE>>(&texts[0]);
        assert!(straight.is_ok(), "the quick way is taken");
        let mut read = 0;
        for text in &texts {
            let quick = TokenizerFile::parse(text.as_bytes()).map(|file| file.model);
            let slow = parse_slowly(text.as_bytes()).map(|file| file.model);
            read += usize::from(slow.is_ok());
            assert_eq!(quick.ok(), slow.ok(), "{text}");
        }
        assert!(read > 5, "{read}");
    }
}
