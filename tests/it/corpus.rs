//! A corpus of our own: byte-level tokenizer without merges (an id a byte), a ChatML-like template, generated chats.

use packmill::checkpoint::{State, Whole, merge};
use packmill::order::lanes::Rank;
use packmill::pipeline::{Loader, Model};
use packmill::{Error, Recipe};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// A folder with `tokenizer/` in it, and what is added to it.
pub(crate) struct Corpus {
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) const TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}\
{% if message.role == 'assistant' %}{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

pub(crate) const IM_END: u32 = 257;

impl Corpus {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = dir.path().join("tokenizer");
        std::fs::create_dir(&tokenizer).unwrap();
        let vocab: serde_json::Map<String, serde_json::Value> = byte_alphabet()
            .into_iter()
            .enumerate()
            .map(|(byte, c)| (c.to_string(), json!(byte)))
            .collect();
        let added: Vec<_> = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
            .iter()
            .enumerate()
            .map(|(i, content)| {
                json!({"id": 256 + i, "content": content, "special": true, "single_word": false,
                       "lstrip": false, "rstrip": false, "normalized": false})
            })
            .collect();
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": byte_level, "post_processor": byte_level, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []}
        });
        std::fs::write(tokenizer.join("tokenizer.json"), file.to_string()).unwrap();
        let config = json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"});
        std::fs::write(tokenizer.join("tokenizer_config.json"), config.to_string()).unwrap();
        std::fs::write(tokenizer.join("chat_template.jinja"), TEMPLATE).unwrap();
        Corpus { dir }
    }

    /// With `n` chats as one plain shard `chats.jsonl`.
    pub(crate) fn with_chats(n: usize) -> Self {
        let corpus = Self::new();
        corpus.write("chats.jsonl", chats(n).as_bytes());
        corpus
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// A recipe of one source `chats` over `paths`; `more` is YAML that is added at the top level.
    pub(crate) fn recipe(&self, paths: &str, more: &str) -> Recipe {
        let text = format!(
            "version: 1\nseed: 17\ntokenizer: tokenizer\nsources:\n  - name: chats\n    paths: [\"{paths}\"]\n{more}\n"
        );
        Recipe::parse(&text, self.dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The binary, in this folder and with its own cache.
    pub(crate) fn packmill(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packmill"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("PACKMILL_CACHE", self.cache());
        command
    }

    /// What the binary makes of `stream --json` and these arguments, which have no blanks in them.
    pub(crate) fn stream(&self, arguments: &str) -> Output {
        let mut command = self.packmill(&["stream", "--json"]);
        command.args(arguments.split(' ')).output().unwrap()
    }

    /// One rank's stream, with states, from `from` on to so many steps since the stream's start.
    pub(crate) fn loader(
        &self,
        recipe: &Recipe,
        rank: Rank,
        from: Option<&Whole>,
        steps: Option<u64>,
    ) -> Result<Loader, Error> {
        let mut builder = Loader::builder(recipe.clone())
            .cache(self.cache())
            .rank(rank)
            .checkpoints();
        if let Some(steps) = steps {
            builder = builder.steps(steps);
        }
        if let Some(from) = from {
            builder = builder.resume(from.clone());
        }
        builder.build()
    }

    /// A folder for spools, inside this corpus' own.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }
}

/// The JSON that a command which succeeded printed.
pub(crate) fn report(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command says that refuses, and its exit code; it printed nothing else.
pub(crate) fn refusal(output: &Output) -> (String, Option<i32>) {
    assert!(output.stdout.is_empty());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (error, output.status.code())
}

/// What a command says that refuses a recipe, a checkpoint or its usage.
pub(crate) fn refused(output: &Output) -> String {
    let (error, code) = refusal(output);
    assert_eq!(code, Some(2), "{error}");
    error
}

/// A recipe's tokenizer and templates, with the fast engine where there is one: short corpora would end before it is there.
pub(crate) fn model(recipe: &Recipe) -> Arc<Model> {
    let model = Model::load(recipe).unwrap();
    let _ = model.tokenizer.engine.wait();
    Arc::new(model)
}

/// All ranks' parts put together, each through its text, as a process would find it.
pub(crate) fn merged<'a>(parts: impl IntoIterator<Item = &'a State>) -> Whole {
    let parts = parts.into_iter().map(|part| {
        let text = part.to_text();
        State::parse(&text, Path::new("part")).unwrap_or_else(|e| panic!("{e}\n{text}"))
    });
    merge(parts.collect()).unwrap()
}

/// What every test here packs: short rows, few lanes.
pub(crate) const SMALL: &str = "pack: {sequence_length: 512, lookahead: 16}\nbatch: {rows: 4}\nlanes: 4\nepochs: 1\nworkers: 2";

/// `n` chats of two to nine turns as JSON lines, the same every time.
pub(crate) fn chats(n: usize) -> String {
    let mut random = Random(1);
    let mut lines = String::new();
    for record in 0..n {
        let mut messages = vec![json!({"role": "system", "content": format!("Record {record}.")})];
        for turn in 0..1 + random.below(4) {
            let words = |random: &mut Random, most| {
                let mut text = format!("turn {turn}:");
                for _ in 0..1 + random.below(most) {
                    let _ = write!(
                        text,
                        " {}",
                        ["tea", "boat", "snow", "grüße", "日本", "why?"][random.below(6)]
                    );
                }
                text
            };
            messages.push(json!({"role": "user", "content": words(&mut random, 6)}));
            messages.push(json!({"role": "assistant", "content": words(&mut random, 20)}));
        }
        let _ = writeln!(lines, "{}", json!({"messages": messages}));
    }
    lines
}

/// One zstd frame for every `lines` lines.
pub(crate) fn zstd_frames(text: &str, lines: usize) -> Vec<u8> {
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    let frames = all
        .chunks(lines.max(1))
        .map(|part| zstd::bulk::compress(part.concat().as_bytes(), 3).unwrap());
    frames.collect::<Vec<_>>().concat()
}

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

/// Whether a folder holds no file, at any depth.
pub(crate) fn holds_no_file(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return true;
    };
    entries.flatten().all(|e| {
        if e.path().is_dir() {
            holds_no_file(&e.path())
        } else {
            false
        }
    })
}

/// A small generator, so that the corpus is the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n as u64) as usize
    }
}

/// The character that byte-level tokenizers write for each byte (GPT-2's table).
fn byte_alphabet() -> Vec<char> {
    let printable =
        |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let mut next = 256;
    (0..256u32)
        .map(|b| {
            let code = if printable(b) {
                b
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(code).unwrap()
        })
        .collect()
}
