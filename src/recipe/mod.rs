//! The configuration: one small struct a concern, plain data, the same keys as in YAML and Python.
//!
//! [`Recipe::load`] reads YAML and refuses everything that is wrong at once, each fault with its line, what
//! was expected and the nearest valid name. A recipe goes one way:
//!
//! ```text
//! text ─► yaml ─► tree (with lines) ─► check against the keys ─► cross-key checks ─► paths ─► Recipe
//!         JSON ─┘                      └ keys: the one table, also behind schema() and Display ┘
//! ```
//!
//! To add a key, add a field to its struct (its default in the struct's `Default`) and a line to the table
//! in `keys.rs`; the tests name whatever was forgotten, the line in `docs/recipe.md` included.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

mod batch;
mod check;
pub mod convert;
mod cross;
mod duplicates;
mod fault;
mod filter;
mod free;
mod hint;
mod keys;
mod limits;
mod mask;
mod mixture;
mod order;
mod pack;
mod paths;
mod print;
mod read;
mod render;
mod scalar;
mod schema;
mod shape;
mod size;
mod source;
mod special_tokens;
mod split;
mod template;
mod tokenizer;
mod tree;
mod weight;
mod yaml;

#[cfg(test)]
mod tests;

pub use batch::{BatchConfig, Labels};
pub use duplicates::Duplicates;
pub use fault::{Fault, Faults};
pub use filter::{Bounds, FilterConfig};
pub use limits::LimitsConfig;
pub use mask::{FieldLoss, LossWeights, Markers, MaskConfig, Train};
pub use mixture::{OnExhausted, ScheduleEntry};
pub use order::Plan;
pub use pack::{DEFAULT_LOOKAHEAD, Overlong, PackConfig, Strategy};
pub use read::{Io, OnBadRecord};
pub use render::Render;
pub use schema::schema;
pub(crate) use size::format as format_size;
pub use size::parse as parse_size;
pub use source::{Fields, Format, RowKind, SourceConfig};
pub use special_tokens::SpecialTokensInText;
pub use split::{SplitBy, SplitConfig};
pub use template::TemplateConfig;
pub use tokenizer::{TokenizerConfig, TokenizerEngine};

/// What a recipe that did not come from a file is called in faults.
const UNNAMED: &str = "recipe";

/// A recipe, as written: paths relative to the recipe's folder are already joined to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Recipe format, 1.
    pub version: u32,
    /// Key of the order.
    pub seed: u64,
    /// Where the tokenizer is.
    pub tokenizer: TokenizerConfig,
    /// One record in so many is encoded by the reference engine too, and the two compared; none: no record.
    #[serde(default)]
    pub tokenizer_check: Option<u64>,
    /// The chat template, for sources that do not bring their own.
    pub template: TemplateConfig,
    /// What a conversation becomes, for sources that do not say it themselves.
    pub render: Render,
    /// What becomes of special tokens that rows spell, for sources that do not say it themselves.
    pub special_tokens_in_text: SpecialTokensInText,
    /// What is left out, of sources that do not say it themselves.
    pub filter: Option<FilterConfig>,
    /// What is held out, of sources that do not say it themselves.
    pub split: Option<SplitConfig>,
    /// What becomes of records that are copies of others.
    pub duplicates: Duplicates,
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
    /// What the end of a source does, with weights.
    pub on_exhausted: OnExhausted,
    /// Weights that take the place of the sources' own, by rising rows; empty: never.
    #[serde(with = "mixture::schedule")]
    pub schedule: Vec<ScheduleEntry>,
    /// What a bad record does.
    pub on_bad_record: OnBadRecord,
    /// What input may use up.
    pub limits: LimitsConfig,
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

/// Every default, with a tokenizer and sources still to be named.
impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            // Format 1 is the first, so a recipe without the key can be no other; later ones must be named.
            version: 1,
            // Any fixed number: what matters is that two runs of one recipe agree, so never a clock's.
            seed: 17,
            tokenizer: TokenizerConfig::default(),
            // Engines were compared when the tokenizer was loaded, and on millions of rows before that.
            tokenizer_check: None,
            template: TemplateConfig::default(),
            render: Render::default(),
            special_tokens_in_text: SpecialTokensInText::default(),
            filter: None,
            split: None,
            duplicates: Duplicates::default(),
            sources: Vec::new(),
            mask: MaskConfig::default(),
            pack: PackConfig::default(),
            batch: BatchConfig::default(),
            plan: Plan::default(),
            // Every power of two up to 64 divides it, so a run may move between all usual world sizes.
            lanes: 64,
            // Corpora lie sorted by topic, length or origin; what is trained in that order is forgotten in it.
            shuffle: true,
            // All but the largest SFT sets decode to less, so they get a full shuffle.
            hold: 2 << 30,
            epochs: None,
            on_exhausted: OnExhausted::default(),
            schedule: Vec::new(),
            on_bad_record: OnBadRecord::default(),
            limits: LimitsConfig::default(),
            workers: None,
            // Hides a slow block or a busy worker for some steps; a batch is small.
            prefetch: 4,
            io: Io::default(),
            folder: PathBuf::new(),
        }
    }
}

impl Recipe {
    /// Whether batches carry `loss_weights`: where any source's mask uses weights.
    pub fn loss_weights(&self) -> LossWeights {
        let masks = self.sources.iter();
        let mut masks = masks.map(|source| source.mask.as_ref().unwrap_or(&self.mask));
        match masks.any(|mask| mask.weights == LossWeights::Use) {
            true => LossWeights::Use,
            false => LossWeights::Refuse,
        }
    }

    /// Reads a recipe's YAML text. `folder` is what its relative paths are relative to.
    ///
    /// # Errors
    /// Every fault of the recipe at once; a syntax error of YAML alone, as nothing after it can be trusted.
    pub fn parse(text: &str, folder: &Path) -> Result<Recipe, Faults> {
        let tree = yaml::read(text).map_err(|fault| Faults::one(UNNAMED, fault))?;
        check::recipe(&tree, folder).map_err(|faults| Faults::new(UNNAMED, faults))
    }

    /// Reads a recipe file; its relative paths are relative to the folder that it lies in.
    ///
    /// # Errors
    /// As [`parse`](Recipe::parse), or one fault without a line where the file cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Recipe, Faults> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let text = yaml::text(path).map_err(|fault| Faults::one(&file, fault))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Recipe::parse(&text, folder).map_err(|faults| faults.in_file(file))
    }

    /// Reads a recipe from a JSON object with the same keys and the same checks (Python keywords come this
    /// way). Faults carry key paths without lines.
    ///
    /// # Errors
    /// Every fault of the recipe at once.
    pub fn from_value(value: &serde_json::Value, folder: &Path) -> Result<Recipe, Faults> {
        let tree = tree::Node::from_json(value).map_err(|fault| Faults::one(UNNAMED, fault))?;
        check::recipe(&tree, folder).map_err(|faults| Faults::new(UNNAMED, faults))
    }

    /// A recipe built in Rust, checked and with its paths joined to `self.folder`, as if it had been read.
    ///
    /// # Errors
    /// Every fault of the recipe at once.
    pub fn checked(&self) -> Result<Recipe, Faults> {
        let value = serde_json::to_value(self)
            .map_err(|error| Faults::one(UNNAMED, Fault::new(None, "", error.to_string())))?;
        Recipe::from_value(&value, &self.folder)
    }
}
