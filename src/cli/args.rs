//! What the user typed.

use crate::order::layout::Layout;
use crate::pipeline;
use crate::recipe::convert::Dialect;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Chat corpora to packed, label-masked, fixed-shape batches, exactly and at the machine's limit.
#[derive(Debug, Parser)]
#[command(name = "packmill", version, styles = STYLES, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 a data or runtime error, 2 a wrong recipe, checkpoint or usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a small corpus, a tokenizer and a recipe, and stream them: what a newcomer runs first
    Demo(Demo),
    /// Run the whole pipeline and report what it delivered
    Stream(Stream),
    /// Print what each record becomes, in corpus order, as JSON lines
    Samples(Samples),
    /// Show rows to a person: what is trained, segments, padding
    Inspect(Inspect),
    /// Resolve and validate a recipe, and estimate an epoch from a sample of records
    Check(Check),
    /// Translate an Axolotl, LLaMA-Factory or TRL configuration: the recipe, and what has no equal or behaves otherwise
    Convert(Convert),
    /// Write an index beside every shard: records and a hash a block, so that an edit is told and named
    Index(Index),
    /// Write shards again with the same records, as zstd of many small frames
    Recompress(Recompress),
    /// Read a corpus through and say what is wrong, where; or check a folder of checkpoints
    Verify(Verify),
    /// Carry a checkpoint into a changed recipe: other weights, rows, masks, a source more or less
    Fork(Fork),
    /// Measure this recipe's throughput on this machine, stage by stage
    Bench(Bench),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where to write it
    #[arg(default_value = "packmill-demo", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Print the report as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The recipe and what replaces its keys.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The recipe, a YAML file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) recipe: PathBuf,
    /// Worker threads, instead of the recipe's `workers`
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Stream {
    #[command(flatten)]
    pub(crate) source: Source,
    /// What to stream: what is trained on, or what the recipe's `split` holds out: once, in corpus order
    #[arg(long, value_enum, default_value_t)]
    pub(crate) side: Side,
    /// Passes over the corpus, instead of the recipe's `epochs`; with neither and no --steps, one
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// End delivery after N steps, counted from the stream's start
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    /// This process' data-parallel rank, from 0: it delivers its share of the rows. With --layout, its global rank
    #[arg(long, value_name = "R")]
    pub(crate) rank: Option<u32>,
    /// How many data-parallel ranks share the stream out. With --layout, all ranks, or left out
    #[arg(long, value_name = "W")]
    pub(crate) world_size: Option<u32>,
    /// How the trainer lays its ranks out, the slowest dimension first: pp=2,dp=4,tp=2, or megatron:tp=2,pp=2,dp=4 for
    /// Megatron's order. Tensor-, pipeline- and context-parallel peers get the same rows, and only the first of them
    /// writes --output and --checkpoint. Expert-parallel ranks count in dp
    #[arg(long, value_name = "LAYOUT", requires = "rank", value_parser = layout)]
    pub(crate) layout: Option<Layout>,
    /// Write every batch as DIR/rank-RRRRR/step-NNNNNNNN-MM.safetensors
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Save where the stream stands as DIR/step-NNNNNNNN/rank-RRRRR-of-WWWWW.json
    #[arg(long, value_name = "DIR", requires = "checkpoint_every", value_hint = ValueHint::DirPath)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Save it after every N steps; the newest three that are complete stay
    #[arg(long, value_name = "N", requires = "checkpoint", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: Option<u64>,
    /// Go on from the newest complete checkpoint in DIR, whatever the world size was, or from DIR/step-NNNNNNNN
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) resume: Option<PathBuf>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The configuration, a YAML or JSON file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// Whose it is, where its keys do not tell
    #[arg(long, value_enum, value_name = "TOOL")]
    pub(crate) from: Option<Tool>,
    /// How many data-parallel ranks there will be, which the rows of a step depend on
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) world_size: Option<u64>,
    /// LLaMA-Factory's dataset_info.json, instead of the one in its dataset_dir
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) dataset_info: Option<PathBuf>,
}

/// A tool whose configurations are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tool {
    /// TRL's SFTConfig
    Trl,
    /// Axolotl
    Axolotl,
    /// LLaMA-Factory
    LlamaFactory,
}

impl From<Tool> for Dialect {
    fn from(tool: Tool) -> Dialect {
        match tool {
            Tool::Trl => Dialect::Trl,
            Tool::Axolotl => Dialect::Axolotl,
            Tool::LlamaFactory => Dialect::LlamaFactory,
        }
    }
}

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Side {
    /// What is not held out
    #[default]
    Train,
    /// What is
    Eval,
}

impl From<Side> for pipeline::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Train => pipeline::Side::Train,
            Side::Eval => pipeline::Side::Eval,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Samples {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Whose records: those that are trained on, or those that the recipe's `split` holds out
    #[arg(long, value_enum, default_value_t)]
    pub(crate) side: Side,
    /// Stop after N samples, one a line
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Write to FILE instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Rows to show
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) rows: usize,
    /// First row to show
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) skip: usize,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Read a recipe's corpus through, or single shards, and say what is wrong: shard, record, byte, what to do. \
                  With a recipe every record is read, rendered, tokenized and masked as a stream would do it; without one \
                  it is read and its row understood. A folder of checkpoints is checked instead: whether its newest is \
                  whole, and with --recipe whether it is of that recipe's stream. The exit code is 1 where something is wrong."
)]
pub(crate) struct Verify {
    /// A recipe (.yaml), a shard, a folder of shards, or a folder of checkpoints or of one step in it
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    /// Of checkpoints: the recipe whose stream it should be
    #[arg(long, value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub(crate) recipe: Option<PathBuf>,
    /// Print as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Carry the newest complete checkpoint of a folder into a changed recipe. Each source goes on where it \
                  was, and what pools hold comes first. Weights, schedule, on_exhausted, pack, mask, template, \
                  tokenizer and batch may change; with weights, sources may come and go. Seed, shuffle, lanes, plan and \
                  the files of a source that stays may not. The new checkpoint keeps both fingerprints for good; go on \
                  from it with stream --resume, with any number of ranks."
)]
pub(crate) struct Fork {
    /// A folder of checkpoints, or of one step in it
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) checkpoint: PathBuf,
    /// The changed recipe
    #[arg(long, value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub(crate) recipe: PathBuf,
    /// A new folder for the checkpoint to go on from
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Print as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The recipe, a YAML file
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "schema")]
    pub(crate) recipe: Option<PathBuf>,
    /// Print the recipe's JSON schema, for editors
    #[arg(long)]
    pub(crate) schema: bool,
    /// Print as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Write an index beside every shard, as SHARD.packmill.json: its size, and the records and a hash of \
                  every block. The stream is the same with and without it. Globs of a recipe leave indexes alone."
)]
pub(crate) struct Index {
    /// The recipe, a YAML file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) recipe: PathBuf,
    /// Write into the cache folder (PACKMILL_CACHE, else the user's), for corpora that cannot be written to
    #[arg(long, conflicts_with = "check")]
    pub(crate) cache: bool,
    /// Write nothing, and hold every shard against its index; what is different is named, and the exit code 1
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Write shards again with the same text, byte for byte, as zstd of many small frames. A source that \
                  is too large to be held is shuffled frame by frame, and needs four frames a lane at least."
)]
pub(crate) struct Recompress {
    /// Shards: JSON lines, plain, gzip or zstd
    #[arg(required = true, value_name = "SHARD", value_hint = ValueHint::FilePath)]
    pub(crate) shards: Vec<PathBuf>,
    /// Where to write NAME.zst; the default is beside each shard, which for a .zst would be the shard itself and is
    /// refused
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Text of a frame at most, but for a longer record, which is a frame of its own; up to 64MiB
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = size)]
    pub(crate) frame_bytes: u64,
    /// zstd's compression level, 1 to 22
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) level: i32,
    /// Replace files that are there already
    #[arg(long)]
    pub(crate) force: bool,
}

fn layout(text: &str) -> Result<Layout, String> {
    text.parse()
        .map_err(|error: crate::Error| error.to_string())
}

fn size(text: &str) -> Result<u64, String> {
    crate::recipe::parse_size(text)
        .ok_or_else(|| "expected a size such as 256KiB, or a number of bytes".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) source: Source,
    /// Steps to run; the default is the recipe's `epochs`, or one epoch
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u64>,
    /// Tokens a second that your trainer takes: how many cores that needs
    #[arg(long, value_name = "TOKENS")]
    pub(crate) rate: Option<u64>,
    /// Draw what the threads did with their time, as SVG
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) plot: Option<PathBuf>,
    /// Print as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
