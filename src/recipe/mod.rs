//! The configuration: one small struct a concern, plain data, the same keys as in YAML and Python.
//!
//! [`parse`](Recipe::parse) reads YAML and refuses everything that is wrong at once, each fault with its line,
//! what was expected and the nearest valid name.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A recipe, as written: paths relative to the recipe's folder are already joined to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Recipe format, 1.
    pub version: u32,
    /// Key of the order.
    pub seed: u64,
    /// Where the tokenizer is.
    pub tokenizer: TokenizerConfig,
    /// The chat template, for sources that do not bring their own.
    pub template: TemplateConfig,
    /// What to read, in this order.
    pub sources: Vec<SourceConfig>,
    /// What is trained, for sources that do not bring their own.
    pub mask: MaskConfig,
    /// How examples become rows.
    pub pack: PackConfig,
    /// How rows become batches.
    pub batch: BatchConfig,
    /// How the order is dealt.
    pub plan: Plan,
    /// Fixed shares of the order.
    pub lanes: u32,
    /// Whether the order is shuffled.
    pub shuffle: bool,
    /// Largest decoded size in bytes of a source that is shuffled record by record.
    pub hold: u64,
    /// Passes over the corpus; none: without end.
    pub epochs: Option<u64>,
    /// What a bad record does.
    pub on_bad_record: OnBadRecord,
    /// Worker threads; none: the machine's cores.
    pub workers: Option<usize>,
    /// Batches in the channel.
    pub prefetch: usize,
    /// How local shards are read.
    pub io: Io,
    /// Folder of the recipe, that relative paths were joined to. Not a key.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Where the tokenizer is and which ids it ends and pads with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerConfig {
    /// A folder with tokenizer.json, a tokenizer.json, or a Hub id (as written).
    pub path: String,
    /// Hub revision, `main` if none.
    pub revision: Option<String>,
    /// Overrides of the special tokens, by content.
    pub bos: Option<String>,
    /// The same for the end-of-sequence token.
    pub eos: Option<String>,
    /// The same for the padding token; falls back to eos, then to id 0.
    pub pad: Option<String>,
}

/// A chat template and what it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct TemplateConfig {
    /// A Jinja file; none: the tokenizer folder's own.
    pub path: Option<PathBuf>,
    /// Name of one of several templates of the folder (`tool_use`); none: as Transformers chooses.
    pub name: Option<String>,
    /// What `strftime_now` sees, `YYYY-MM-DDTHH:MM:SS`.
    pub now: Option<String>,
    /// Passed to the template; a row's own `chat_template_kwargs` win.
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// System message for conversations that have none.
    pub system: Option<String>,
}

/// One named data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceConfig {
    /// Unique name.
    pub name: String,
    /// Globs, already joined to the recipe's folder.
    pub paths: Vec<String>,
    /// First N records.
    pub limit: Option<u64>,
    /// File format.
    pub format: Format,
    /// Row shape.
    pub kind: RowKind,
    /// Names of the fields.
    pub fields: Fields,
    /// Role names to map, `human` → `user`.
    pub roles: BTreeMap<String, String>,
    /// This source's own template.
    pub template: Option<TemplateConfig>,
    /// This source's own mask.
    pub mask: Option<MaskConfig>,
}

/// File format; compression is found by magic bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// By ending and content.
    #[default]
    Auto,
    /// One JSON object a line.
    Jsonl,
}

/// How a row is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// By the fields that are there.
    #[default]
    Auto,
    /// `messages`, or `conversations` with from/value.
    Chat,
    /// `prompt` and `completion`, strings or messages.
    PromptCompletion,
    /// `instruction`, `input`, `output`.
    Instruction,
    /// `text`.
    Text,
    /// `input_ids` with `labels` or `loss_mask`.
    Tokens,
}

/// Names of the fields that a row is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Fields {
    pub messages: String,
    pub role: String,
    pub content: String,
    pub tools: String,
    pub prompt: String,
    pub completion: String,
    pub instruction: String,
    pub input: String,
    pub output: String,
    pub text: String,
    pub input_ids: String,
    pub labels: String,
    pub loss_mask: String,
}

impl Default for Fields {
    fn default() -> Self {
        let own = |name: &str| name.to_owned();
        Fields {
            messages: own("messages"),
            role: own("role"),
            content: own("content"),
            tools: own("tools"),
            prompt: own("prompt"),
            completion: own("completion"),
            instruction: own("instruction"),
            input: own("input"),
            output: own("output"),
            text: own("text"),
            input_ids: own("input_ids"),
            labels: own("labels"),
            loss_mask: own("loss_mask"),
        }
    }
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskConfig {
    /// The policy.
    pub train: Train,
    /// For [`Train::Markers`].
    pub markers: Option<Markers>,
    /// Roles whose turns are trained.
    pub roles: Vec<String>,
    /// Whether the end-of-turn token belongs to the loss.
    pub end_of_turn: bool,
}

impl Default for MaskConfig {
    fn default() -> Self {
        MaskConfig {
            train: Train::Assistant,
            markers: None,
            roles: vec!["assistant".to_owned()],
            end_of_turn: true,
        }
    }
}

/// Which tokens are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Train {
    /// Every assistant turn, by the template's generation tags.
    #[default]
    Assistant,
    /// The last assistant turn alone.
    LastAssistant,
    /// The completion of prompt and completion.
    Completion,
    /// Every token.
    All,
    /// What stands between a response marker and the next instruction marker.
    Markers,
}

/// The texts that begin an answer and a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Markers {
    /// Begins an answer.
    pub response: String,
    /// Begins a question; none: only the last answer is trained.
    pub instruction: Option<String>,
}

/// How examples become rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackConfig {
    /// The packer.
    pub strategy: Strategy,
    /// Tokens a row.
    pub sequence_length: usize,
    /// What happens to an example longer than a row.
    pub overlong: Overlong,
    /// Examples that a lane packs from.
    pub lookahead: usize,
    /// Segments are padded to a multiple of this.
    pub segment_multiple: usize,
    /// A row's most segments.
    pub max_segments: Option<usize>,
}

/// The packer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The oldest example and the best subset of the others.
    #[default]
    Knapsack,
    /// Joined and cut.
    Concat,
    /// One example a row.
    None,
}

/// What happens to an example longer than a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Its beginning is kept.
    #[default]
    Truncate,
    /// Its end is kept, after BOS where it begins with one.
    TruncateLeft,
    /// It becomes several pieces; pieces without a target are dropped.
    Split,
    /// It is dropped and counted.
    Drop,
    /// It ends the run.
    Error,
}

/// How rows become batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchConfig {
    /// Rows a micro-batch.
    pub rows: usize,
    /// Rows of all ranks a step; none: rows × world size.
    pub step_rows: Option<usize>,
    /// Which labels a batch carries.
    pub labels: Labels,
}

/// Which labels a batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// `labels`, aligned with `input_ids`; the model shifts.
    #[default]
    Aligned,
    /// `shift_labels`: at t the target of t + 1.
    Shifted,
}

/// How the order is dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// Lanes: endless streams of any size.
    #[default]
    Lanes,
}

/// What a bad record does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRecord {
    /// Ends the run.
    #[default]
    Stop,
    /// Is skipped and counted, within a limit.
    Skip {
        /// Share of the records read so far that may be bad, beside the first 8.
        max_fraction: f64,
    },
}

/// How local shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Io {
    /// Mapped on local file systems, read elsewhere.
    #[default]
    Auto,
    /// Mapped.
    Mmap,
    /// Read with `pread`.
    Pread,
}
