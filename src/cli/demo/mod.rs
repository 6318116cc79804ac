//! What `packmill demo` writes: a small corpus, a tokenizer learned from it, a chat template and a recipe.
//!
//! Everything is made here from one grammar and one seed; nothing is downloaded and nothing binary is kept in the
//! repository. The texts, and so the tokenizer, are the same on every machine.

mod bpe;
mod chats;
mod grammar;
mod random;
mod run;
mod shards;
mod sums;
#[cfg(test)]
mod tests;
mod tokenizer;
mod tools;

pub(crate) use run::run;

use anyhow::{Context, bail};
use grammar::Grammar;
use random::Random;
use serde_json::Value;
use shards::Codec;
use std::fs;
use std::path::{Path, PathBuf};

const SEED: u64 = 20_260;
const CHATS: usize = 3_000;
const SUMS: usize = 1_000;
/// Shards of the chats; the last one is gzip.
const CHAT_SHARDS: usize = 8;
const SUM_SHARDS: usize = 2;

const GRAMMAR: &str = include_str!("grammar.txt");
const TEMPLATE: &str = include_str!("chat_template.jinja");
const RECIPE: &str = include_str!("recipe.yaml");

/// What was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DemoFiles {
    /// The folder that holds all of it.
    pub(crate) folder: PathBuf,
    /// The recipe: what to pass to the other commands.
    pub(crate) recipe: PathBuf,
    /// The folder of tokenizer and chat template.
    pub(crate) tokenizer: PathBuf,
    /// The shards, sorted by name within each source.
    pub(crate) shards: Vec<PathBuf>,
    /// Records in all shards.
    pub(crate) records: u64,
    /// Bytes of all shards' text before compression.
    pub(crate) text_bytes: u64,
    /// Tokens of the tokenizer's model, without the added ones.
    pub(crate) vocabulary: usize,
}

/// Writes the demo into `dir`, which is made if need be. Where the demo's files stand there already they are left as
/// they are; a file of the same name with other contents is an error, found before anything is written.
pub(crate) fn write(dir: &Path) -> anyhow::Result<DemoFiles> {
    let corpus = Corpus::new()?;
    let files = corpus.files()?;
    let mut missing = Vec::new();
    for (name, contents) in &files.all {
        let path = dir.join(name);
        match fs::read(&path) {
            Ok(there) if there == *contents => {}
            Ok(_) => bail!(
                "{} is there already and is not what the demo would write; give another folder, or remove it",
                path.display()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.push((path, contents))
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    for (path, contents) in missing {
        write_file(&path, contents).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(DemoFiles {
        folder: dir.to_owned(),
        recipe: dir.join("recipe.yaml"),
        tokenizer: dir.join("tokenizer"),
        shards: files.shards.iter().map(|name| dir.join(name)).collect(),
        records: (corpus.chats.len() + corpus.sums.len()) as u64,
        text_bytes: corpus.lines().map(|line| line.len() as u64 + 1).sum(),
        vocabulary: tokenizer::VOCABULARY,
    })
}

/// Under a temporary name first: a demo that was interrupted leaves no half file under a real one.
fn write_file(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    fs::write(&unfinished, contents)?;
    fs::rename(&unfinished, path)
}

/// The records as lines of JSON.
struct Corpus {
    chats: Vec<String>,
    sums: Vec<String>,
    tokenizer: String,
}

/// File names relative to the demo's folder, with their contents; the shards' names once more by themselves.
struct Files {
    all: Vec<(String, Vec<u8>)>,
    shards: Vec<String>,
}

impl Corpus {
    fn new() -> anyhow::Result<Self> {
        let grammar = Grammar::parse(GRAMMAR)?;
        let random = &mut Random::new(SEED);
        let chats = (0..CHATS)
            .map(|_| chats::chat(&grammar, random))
            .collect::<anyhow::Result<Vec<Value>>>()?;
        let sums = (0..SUMS)
            .map(|_| sums::sum(&grammar, random))
            .collect::<anyhow::Result<Vec<Value>>>()?;
        // Every third record says all there is to learn from, in a third of the time.
        let sample: Vec<&str> = chats
            .iter()
            .chain(&sums)
            .step_by(3)
            .flat_map(contents)
            .collect();
        let tokenizer = tokenizer::tokenizer_json(sample.into_iter())?;
        Ok(Corpus {
            chats: chats.iter().map(Value::to_string).collect(),
            sums: sums.iter().map(Value::to_string).collect(),
            tokenizer,
        })
    }

    fn lines(&self) -> impl Iterator<Item = &String> {
        self.chats.iter().chain(&self.sums)
    }

    fn files(&self) -> anyhow::Result<Files> {
        let config = tokenizer::tokenizer_config(tokenizer::VOCABULARY)?;
        let mut all = vec![
            ("recipe.yaml".to_owned(), RECIPE.as_bytes().to_vec()),
            (
                "tokenizer/tokenizer.json".to_owned(),
                self.tokenizer.clone().into_bytes(),
            ),
            (
                "tokenizer/tokenizer_config.json".to_owned(),
                config.into_bytes(),
            ),
            (
                "tokenizer/chat_template.jinja".to_owned(),
                TEMPLATE.as_bytes().to_vec(),
            ),
        ];
        let mut shards = Vec::new();
        for (source, lines, count) in [
            ("chats", &self.chats, CHAT_SHARDS),
            ("sums", &self.sums, SUM_SHARDS),
        ] {
            for (n, part) in lines.chunks(lines.len().div_ceil(count)).enumerate() {
                let codec = if source == "chats" && n + 1 == count {
                    Codec::Gzip
                } else {
                    Codec::Zstd
                };
                let name = format!("corpora/{source}-{n:05}-of-{count:05}.{}", codec.ending());
                all.push((name.clone(), codec.encode(part)?));
                shards.push(name);
            }
        }
        Ok(Files { all, shards })
    }
}

/// The texts of a record's messages.
fn contents(record: &Value) -> impl Iterator<Item = &str> {
    ["messages", "prompt", "completion"]
        .into_iter()
        .filter_map(|field| record.get(field)?.as_array())
        .flatten()
        .filter_map(|message| message.get("content")?.as_str())
}
