//! From a recipe's `tokenizer` key to something that encodes.

use super::Tokenizer;
use super::classes::{Class, has_remote_code};
use super::engine::Engine;
use super::fast::FastEngine;
use super::locate::{HubCache, Located, locate};
use super::reference::{Assembled, TokenizerFile, assemble};
use super::settings::Settings;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::TokenId;
use crate::recipe::{TokenizerConfig, TokenizerEngine};
use crate::small_file;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A special token: how the text writes it, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// How the text writes it.
    pub content: String,
    /// Its id.
    pub id: TokenId,
}

/// A token of the added vocabulary: one that is found in the text before anything else, never made by merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: TokenId,
    /// How the text writes it.
    pub content: String,
    /// Whether it is a special token, which decoding may leave out.
    pub special: bool,
}

/// A tokenizer with what the other stages want to know about it.
#[derive(Clone)]
pub struct LoadedTokenizer {
    /// Encodes.
    pub engine: Arc<dyn Tokenizer>,
    /// The folder that it came from, where its chat template may be; none for a tokenizer.json named alone.
    pub folder: Option<PathBuf>,
    /// Named special tokens as the reference gives them to templates (`special_tokens_map`): `bos_token`
    /// and so on, then the model's own. Those without a name are not among them, as in the reference.
    pub special_tokens: Vec<(String, String)>,
    /// Beginning of sequence.
    pub bos: Option<SpecialToken>,
    /// End of sequence.
    pub eos: Option<SpecialToken>,
    /// Padding: the recipe's, else the tokenizer's, else eos, else 0.
    pub pad: TokenId,
    /// The added vocabulary by rising id: end-of-turn tokens are in it.
    pub added: Vec<AddedToken>,
    /// What a person should know: departures from the files and from the reference.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for LoadedTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedTokenizer")
            .field("engine", &self.engine.name())
            .field("folder", &self.folder)
            .field("special_tokens", &self.special_tokens)
            .field("pad", &self.pad)
            .finish_non_exhaustive()
    }
}

impl LoadedTokenizer {
    /// Whether a token belongs to the added vocabulary.
    pub fn is_added(&self, id: TokenId) -> bool {
        self.added
            .binary_search_by_key(&id, |token| token.id)
            .is_ok()
    }
}

/// Finds the tokenizer of `config` and loads it. Paths are relative to `base`, the recipe's folder.
///
/// # Errors
///
/// [`Kind::Recipe`] where there is no such tokenizer or it lacks a token that the recipe names,
/// [`Kind::Tokenizer`] where its files cannot be used, [`Kind::Io`] where they cannot be read.
pub fn load(config: &TokenizerConfig, base: &Path, cache: &HubCache) -> Result<LoadedTokenizer> {
    let located = locate(&config.path, config.revision.as_deref(), base, cache)?;
    open(located, config)
}

fn open(located: Located, config: &TokenizerConfig) -> Result<LoadedTokenizer> {
    let settings = match &located.folder {
        Some(folder) => Settings::read(folder)?,
        None => Settings::default(),
    };
    let bytes = small_file::read(&located.tokenizer).map_err(|error| {
        Error::new(
            Kind::Io,
            Stage::Tokenize,
            located.tokenizer.display().to_string(),
        )
        .caused_by(error)
    })?;
    let byte_level = memchr::memmem::find(&bytes, b"\"ByteLevel\"").is_some();
    let class = Class::choose(&settings, &located.name, byte_level);
    let overrides: Vec<(&str, &str)> = [
        ("bos_token", &config.bos),
        ("eos_token", &config.eos),
        ("pad_token", &config.pad),
    ]
    .into_iter()
    .filter_map(|(name, content)| Some((name, content.as_deref()?)))
    .collect();
    let Assembled {
        tokenizer,
        words,
        mut notes,
    } = assemble(TokenizerFile::parse(&bytes)?, class, &settings, &overrides)?;
    if has_remote_code(&settings) {
        notes.push("the folder brings tokenizer code of its own, which is not run".to_owned());
    }
    if settings.config.contains_key("fast_tokenizer_files") {
        notes.push("fast_tokenizer_files is not followed; tokenizer.json is used".to_owned());
    }

    let mut added: Vec<AddedToken> = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .map(|(id, token)| AddedToken {
            id,
            content: token.content,
            special: token.special,
        })
        .collect();
    added.sort_by_key(|token| token.id);
    let fingerprint = fingerprint(&bytes, class, &settings, &added);
    let engine = chosen(Engine::new(tokenizer, fingerprint)?, bytes, config.engine)?;
    let special = |name: &str| {
        let content = words.get(name)?.content().to_owned();
        let id = engine.id(&content)?;
        Some(SpecialToken { content, id })
    };
    let (bos, eos) = (special("bos_token"), special("eos_token"));
    let pad = special("pad_token")
        .or_else(|| eos.clone())
        .map_or(0, |token| token.id);
    Ok(LoadedTokenizer {
        engine,
        folder: located.folder,
        special_tokens: words
            .named
            .iter()
            .map(|(name, word)| (name.clone(), word.content().to_owned()))
            .collect(),
        bos,
        eos,
        pad,
        added,
        notes,
    })
}

/// The engine that the recipe asks for.
fn chosen(reference: Engine, file: Vec<u8>, wanted: TokenizerEngine) -> Result<Arc<dyn Tokenizer>> {
    match wanted {
        TokenizerEngine::Reference => Ok(Arc::new(reference)),
        TokenizerEngine::Auto => Ok(FastEngine::new(reference, file)),
        TokenizerEngine::Fast => {
            let engine = FastEngine::new(reference, file);
            let refused = engine.wait().err();
            match refused {
                None => Ok(engine),
                Some(why) => Err(Error::new(
                    Kind::Recipe,
                    Stage::Tokenize,
                    format!("tokenizer.engine: there is no fast engine for this tokenizer: {why}"),
                )
                .remedy("use engine: auto, which takes the reference engine then")),
            }
        }
    }
}

/// Hash of all that decides ids: the file, what the class does to it, and the added vocabulary that came of
/// it.
fn fingerprint(bytes: &[u8], class: Class, settings: &Settings, added: &[AddedToken]) -> u128 {
    let mut made = format!("{class:?}");
    for switch in [
        "add_prefix_space",
        "legacy",
        "split_special_tokens",
        "fix_mistral_regex",
    ] {
        // Writing to a String cannot fail.
        let _ = write!(made, " {switch}={:?}", settings.switch(switch));
    }
    for token in added {
        let _ = write!(made, " {}={:?}", token.id, token.content);
    }
    let mut hash = Xxh3::new();
    hash.update(bytes);
    hash.update(made.as_bytes());
    hash.digest128()
}
