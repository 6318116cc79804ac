//! What the benches of single stages and of the whole run on: the corpus, tokenizer and recipe of `packmill demo`,
//! written to a folder of their own that goes with them.

#![allow(dead_code, reason = "each bench uses its part of it")]

use packmill::Recipe;
use packmill::pipeline::{Model, Templates};
use packmill::recipe::SourceConfig;
use packmill::render::row::{Row, RowReader};
use packmill::render::{Conversation, Ending, Rendered};
use packmill::tokenize::{Encoding, SpecialTokens};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The demo on disk, and what its recipe loads.
pub(crate) struct Demo {
    folder: TempDir,
    pub(crate) recipe: Recipe,
    pub(crate) model: Model,
}

impl Demo {
    /// Lets the binary that was built beside the bench write it.
    pub(crate) fn write() -> Demo {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let status = Command::new(env!("CARGO_BIN_EXE_packmill"))
            .arg("demo")
            .arg(folder.path())
            .env("PACKMILL_CACHE", folder.path().join("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "`packmill demo` writes its files"
        );
        let recipe = Recipe::load(folder.path().join("recipe.yaml")).expect("the recipe is right");
        let model = Model::load(&recipe).expect("tokenizer and template load");
        model.tokenizer.engine.wait().expect("its engine is fast");
        Demo {
            folder,
            recipe,
            model,
        }
    }

    /// A folder for spools.
    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// The tokenizer's file.
    pub(crate) fn tokenizer_json(&self) -> PathBuf {
        self.folder.path().join("tokenizer").join("tokenizer.json")
    }

    /// The chats among the sources.
    pub(crate) fn chats(&self) -> &SourceConfig {
        &self.recipe.sources[0]
    }

    /// The lines of all chats, decoded without packmill.
    pub(crate) fn lines(&self) -> Vec<String> {
        let folder = self.folder.path().join("corpora");
        let mut shards: Vec<PathBuf> = std::fs::read_dir(folder)
            .expect("the demo has shards")
            .map(|entry| entry.expect("the folder can be listed").path())
            .filter(|path| starts_with(path, "chats-"))
            .collect();
        shards.sort();
        let texts = shards.iter().map(|path| text(path));
        texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// The chats as the template takes them.
    pub(crate) fn conversations(&self) -> Vec<Conversation> {
        let rows = RowReader::new(self.chats(), None);
        let lines = self.lines();
        lines
            .iter()
            .map(|line| conversation(&rows, line.as_bytes()))
            .collect()
    }

    /// The chats rendered, spans and all.
    pub(crate) fn rendered(&self) -> Vec<Rendered> {
        let templates = self.templates();
        let conversations = self.conversations();
        conversations
            .iter()
            .map(|conversation| render(templates, conversation))
            .collect()
    }

    /// The chats' templates.
    pub(crate) fn templates(&self) -> &Templates {
        &self.model.sources[0].templates
    }

    /// The tokens of a rendered chat.
    pub(crate) fn encode(&self, text: &str) -> Encoding {
        let mut encoding = Encoding::default();
        let engine = &self.model.tokenizer.engine;
        engine
            .encode(text, SpecialTokens::Leave, &mut encoding)
            .expect("the text can be encoded");
        encoding
    }
}

/// Reads one row that is known to be a chat.
pub(crate) fn conversation(rows: &RowReader, line: &[u8]) -> Conversation {
    match rows.read(line) {
        Ok(Row::Chat(conversation)) => conversation,
        _ => unreachable!("every chat of the demo has messages"),
    }
}

/// Renders a whole conversation.
pub(crate) fn render(templates: &Templates, conversation: &Conversation) -> Rendered {
    templates
        .choose(conversation.tools.is_some())
        .and_then(|template| template.render(conversation, Ending::Whole))
        .expect("the template takes every chat of the demo")
}

fn starts_with(path: &Path, prefix: &str) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name.starts_with(prefix))
}

fn text(shard: &Path) -> String {
    let file = File::open(shard).expect("the shard is there");
    let mut text = String::new();
    let read = if shard.extension() == Some(OsStr::new("gz")) {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text)
    } else {
        zstd::Decoder::new(file).and_then(|mut decoder| decoder.read_to_string(&mut text))
    };
    read.expect("the shard can be decoded");
    text
}
