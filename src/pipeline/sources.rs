//! The opened corpus: every source's blocks as one list, and what is needed to encode its records.

use super::duplicates::Duplicates;
use super::encode::{Encoder, Outcome, Scratch, check_policy};
use super::model::{Model, SourceModel};
use super::probe;
use super::split::{Side, Split};
use super::warning::Warning;
use super::workers::panicked;
use crate::corpus::{self, Corpus};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Cursor, Origin};
use crate::ledger::Reason;
use crate::order::lanes::Lanes;
use crate::order::runs::Bounds;
use crate::order::turns;
use crate::read::{
    BlockReader, Entry, Held, Joined, Numbered, ReadAhead, ReadOptions, Shard, SourceBlocks,
    open_shards, open_source, records_in_order,
};
use crate::recipe::{self, OnBadRecord, Plan, Recipe};
use crate::render::row::{RowReader, Shape};
use crate::shard::ShardFile;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Records in which a source's row shape must be told, where bad ones are skipped.
const TELLING: usize = 1_000;

/// Bytes of JSON lines that a token stands for, about: real chats have 3 to 5.
const BYTES_A_TOKEN: u64 = 4;

/// The sources of a recipe, opened.
pub struct Sources {
    list: Vec<Source>,
    /// The sources' blocks as one list.
    blocks: Joined,
    /// What of them is encoded.
    side: Side,
    /// Which records are copies; none where that is not asked, or where each block is looked through as it is read.
    duplicates: Option<Duplicates>,
    /// Whether each streamed block is.
    looks_through_blocks: bool,
}

struct Source {
    name: String,
    shards: Vec<String>,
    blocks: SourceBlocks,
    encoder: Encoder,
    shape: Shape,
    split: Option<Split>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.summaries()).finish()
    }
}

/// A block's place in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    /// Within the source.
    pub(crate) block: u64,
    pub(crate) shard: u32,
    /// Within the shard.
    pub(crate) in_shard: u64,
}

impl Located {
    pub(crate) fn origin(self, source: u32, epoch: u64, record: u64, at: Cursor) -> Origin {
        Origin {
            source,
            shard: self.shard,
            block: self.in_shard,
            record,
            example: 0,
            epoch,
            at,
        }
    }
}

/// Who asks for blocks, and so how many of them a streamed source must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A stream of so many lanes.
    Stream(Lanes),
    /// Reading through in corpus order, or a plan of which no lanes are part.
    Samples,
}

impl Sources {
    /// Opens the corpus of `recipe`: finds shards, tells row shapes, spools what is held.
    ///
    /// # Errors
    /// A glob without a match, a shard that cannot be read, a source that is refused.
    pub(crate) fn open(
        recipe: &Recipe,
        model: &Model,
        io: &ReadAhead,
        cache: &Path,
        purpose: Purpose,
    ) -> Result<Self> {
        let corpus = Corpus::open(recipe)?;
        let mut list: Vec<Source> = Vec::with_capacity(corpus.sources.len());
        for (index, source) in corpus.sources.iter().enumerate() {
            let local = open_shards(&source.shards, recipe.io)?;
            let (encoder, shape) = encoder(recipe, index, model, source)?;
            let options = read_options(recipe, index);
            let blocks = open_source(&source.name, &local, &options, io, cache)?;
            if let (SourceBlocks::Streamed(streamed), Purpose::Stream(lanes)) = (&blocks, purpose) {
                streamed.check_blocks(lanes.count())?;
            }
            let shards = source.shards.iter().map(|s| s.name.clone()).collect();
            list.push(Source {
                name: source.name.clone(),
                shards,
                blocks,
                encoder,
                shape,
                split: Split::of(recipe, index),
            });
        }
        let blocks = Joined::of(list.iter().map(|source| source.blocks.blocks()));
        Ok(Sources {
            list,
            blocks,
            side: Side::Train,
            duplicates: None,
            looks_through_blocks: recipe.duplicates == recipe::Duplicates::DropInBlock,
        })
    }

    /// The same, of which one side is encoded.
    #[must_use]
    pub(crate) fn of_side(self, side: Side) -> Self {
        Sources { side, ..self }
    }

    /// The same, without copies.
    #[must_use]
    pub(crate) fn without(self, duplicates: Option<Duplicates>) -> Self {
        Sources { duplicates, ..self }
    }

    /// Which records are copies, where the corpus was looked through for them.
    pub(crate) fn duplicates(&self) -> Option<&Duplicates> {
        self.duplicates.as_ref()
    }

    /// Whether a streamed block is looked through for copies as it is read.
    pub(crate) fn looks_through_blocks(&self) -> bool {
        self.looks_through_blocks
    }

    /// The side that is encoded.
    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// By source, the most records of the eval side.
    pub(crate) fn most_held_out(&self) -> Vec<u64> {
        let splits = self.list.iter().map(|source| &source.split);
        splits
            .map(|split| split.map_or(0, |split| split.max_records))
            .collect()
    }

    /// Blocks of all sources.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.len()
    }

    /// The sources' blocks as one list.
    pub(crate) fn joined(&self) -> &Joined {
        &self.blocks
    }

    /// The source of a block of the one list, and its place there.
    pub(crate) fn locate(&self, block: u64) -> Option<(u32, Located)> {
        let (source, within) = self.blocks.locate(block)?;
        self.locate_in(source, within)
    }

    /// A block of one source's own list, and its place there.
    pub(crate) fn locate_in(&self, source: u32, block: u64) -> Option<(u32, Located)> {
        let (shard, in_shard) = self.list.get(source as usize)?.blocks.locate(block)?;
        Some((
            source,
            Located {
                block,
                shard,
                in_shard,
            },
        ))
    }

    /// A source's records, if it is held.
    pub(crate) fn held(&self, source: u32) -> Option<&Held> {
        match &self.list.get(source as usize)?.blocks {
            SourceBlocks::Held(held) => Some(held),
            SourceBlocks::Streamed(_) => None,
        }
    }

    /// Whether a source is held, and so shuffled record by record.
    pub fn is_held(&self, source: u32) -> bool {
        self.held(source).is_some()
    }

    /// A reader of one block of a streamed source, in runs of these bounds, and the shard that its bytes are in.
    pub(crate) fn open_block(
        &self,
        source: u32,
        located: Located,
        runs: Bounds,
    ) -> Option<(BlockReader, Arc<dyn Shard>)> {
        match &self.list.get(source as usize)?.blocks {
            SourceBlocks::Held(_) => None,
            SourceBlocks::Streamed(streamed) => Some((
                streamed.reader(located.block, runs)?,
                Arc::clone(streamed.shard(located.shard)?),
            )),
        }
    }

    /// From how many blocks a lane takes together: of one source's own list, or of the one list of all. A held
    /// source's blocks are single records, so a list that has any comes block by block.
    pub(crate) fn together(&self, source: Option<usize>) -> u64 {
        let list = match source {
            Some(source) => self.list.get(source..=source).unwrap_or_default(),
            None => &self.list,
        };
        let (mut blocks, mut bytes) = (0, 0);
        for source in list {
            let SourceBlocks::Streamed(streamed) = &source.blocks else {
                return 1;
            };
            let (more_blocks, more_bytes) = streamed.compressed();
            (blocks, bytes) = (blocks + more_blocks, bytes + more_bytes);
        }
        turns::together(blocks, bytes)
    }

    /// Encodes a record, if it is on the side that is encoded and no copy: of an earlier one in its block, which `copy`
    /// says, or in the corpus.
    pub(crate) fn encode(
        &self,
        line: &[u8],
        origin: Origin,
        copy: bool,
        scratch: &mut Scratch,
    ) -> Outcome {
        let Some(source) = self.list.get(origin.source as usize) else {
            return Outcome::Fatal(Error::new(Kind::Internal, Stage::Read, "no such source"));
        };
        let held_out = source.split.is_some_and(|split| split.holds_out(line));
        match (self.side, held_out) {
            (Side::Train, true) => Outcome::left_out(Reason::HeldOut),
            // On this side there is no such record.
            (Side::Eval, false) => Outcome::Nothing,
            _ if copy
                || self
                    .duplicates
                    .as_ref()
                    .is_some_and(|found| found.has(&origin)) =>
            {
                Outcome::left_out(Reason::Duplicate)
            }
            (Side::Train, false) | (Side::Eval, true) => {
                source.encoder.encode(line, origin, scratch)
            }
        }
    }

    /// Adds shard and record to an error.
    pub(crate) fn place(&self, error: Error, origin: Origin) -> Error {
        let shard = self.shard(origin.source, origin.shard);
        if self.is_held(origin.source) {
            error.in_shard(shard).at_record(origin.block)
        } else {
            error
                .in_shard(format!("{shard}, block {}", origin.block))
                .at_record(origin.record)
        }
    }

    /// A source's name; empty for a number that there is not.
    pub fn name(&self, source: u32) -> &str {
        self.list.get(source as usize).map_or("", |s| &s.name)
    }

    /// A shard's name; empty for a number that there is not.
    pub fn shard(&self, source: u32, shard: u32) -> &str {
        let source = self.list.get(source as usize);
        source
            .and_then(|s| s.shards.get(shard as usize))
            .map_or("", String::as_str)
    }

    /// The files of a source, in the order in which they are read.
    pub(crate) fn files(&self, source: u32) -> Vec<ShardFile> {
        let source = self.list.get(source as usize);
        let shards = source.map_or(0, |source| source.shards.len());
        (0..)
            .take(shards)
            .filter_map(|shard| source?.blocks.shard(shard).cloned())
            .collect()
    }

    /// What was found, a line a source.
    pub fn summaries(&self) -> Vec<SourceSummary> {
        self.list
            .iter()
            .map(|source| SourceSummary {
                name: source.name.clone(),
                shape: source.shape,
                shards: source.shards.len(),
                held_records: match &source.blocks {
                    SourceBlocks::Held(held) => Some(held.records()),
                    SourceBlocks::Streamed(_) => None,
                },
                blocks: source.blocks.blocks(),
            })
            .collect()
    }

    /// What is allowed, but perhaps not wanted.
    pub(crate) fn warnings(&self, recipe: &Recipe) -> Vec<Warning> {
        if recipe.plan == Plan::Global {
            // One pool, however many ranks.
            return self.probed().collect();
        }
        let held: Option<Vec<&Held>> = (0..).zip(&self.list).map(|(s, _)| self.held(s)).collect();
        let pools = held.and_then(|held| {
            let records: u64 = held.iter().map(|held| held.records()).sum();
            let bytes: u64 = held.iter().map(|held| held.decoded_bytes()).sum();
            Warning::pools(recipe, records, bytes / BYTES_A_TOKEN / records.max(1))
        });
        pools.into_iter().chain(self.probed()).collect()
    }

    fn probed(&self) -> impl Iterator<Item = Warning> {
        let sources = self.list.iter();
        sources.flat_map(|s| probe::warnings(&s.name, s.shape, &s.encoder))
    }
}

/// How one source was opened.
#[derive(Debug, Clone)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// How its rows are read.
    pub shape: Shape,
    /// Its shards.
    pub shards: usize,
    /// Its records, if it is held.
    pub held_records: Option<u64>,
    /// Its blocks.
    pub blocks: u64,
}

impl fmt::Display for SourceSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SourceSummary {
            name,
            shape,
            shards,
            held_records,
            blocks,
        } = self;
        write!(f, "source {name}: {shape} rows, {shards} shards, ")?;
        match held_records {
            Some(records) => write!(f, "held: {records} records, shuffled one by one"),
            None => write!(f, "streamed: {blocks} blocks, shuffled block by block"),
        }
    }
}

/// How a source is read.
fn read_options(recipe: &Recipe, index: usize) -> ReadOptions {
    ReadOptions {
        hold: recipe.hold,
        limit: recipe.sources.get(index).and_then(|s| s.limit),
        io: recipe.io,
        on_bad_record: recipe.on_bad_record,
        limits: recipe.limits,
    }
}

/// How a source's records are encoded. Its row shape is told by its first record, unless `kind` says it.
pub(crate) fn encoder(
    recipe: &Recipe,
    index: usize,
    model: &Model,
    source: &corpus::Source,
) -> Result<(Encoder, Shape)> {
    let (config, loaded) = (&recipe.sources[index], &model.sources[index]);
    let rows = RowReader::new(config, loaded.system.as_deref()).within(&recipe.limits);
    let shape = match rows.shape() {
        Some(shape) => shape,
        None => detect(&rows, loaded, source, &read_options(recipe, index))?,
    };
    check_policy(shape, &loaded.mask)
        .and_then(|()| loaded.filter.check(shape))
        .map_err(|error| error.in_shard(format!("source {}", source.name)))?;
    let encoder = Encoder {
        rows: rows.with_shape(shape),
        templates: Arc::clone(&loaded.templates),
        mask: loaded.mask.clone(),
        render: loaded.render,
        limits: recipe.limits,
        special_tokens_in_text: loaded.special_tokens_in_text,
        filter: loaded.filter.clone(),
        function: loaded.function.clone(),
        tokenizer: Arc::clone(&model.tokenizer),
        tokenizer_check: recipe.tokenizer_check,
    };
    Ok((encoder, shape))
}

/// The shape of a source's first record; with `skip`, of the first that can be told, since the ones before it are
/// skipped, and counted, in their places.
fn detect(
    rows: &RowReader,
    model: &SourceModel,
    source: &corpus::Source,
    options: &ReadOptions,
) -> Result<Shape> {
    let (mut first_error, mut left_out, mut tried) = (None, false, 0);
    for numbered in records_in_order(&source.shards, options)? {
        if tried == TELLING {
            break;
        }
        let Numbered {
            shard,
            record,
            entry,
        } = numbered?;
        let error = match entry {
            Entry::Record(line) => match told_shape(rows, model, &line) {
                Ok(Some(shape)) => return Ok(shape),
                Ok(None) => {
                    left_out = true;
                    continue;
                }
                Err(error) => {
                    let shard = source.shards.get(shard as usize);
                    error
                        .in_shard(shard.map_or("", |shard| &shard.name))
                        .at_record(record)
                }
            },
            Entry::Bad(bad) => bad.error,
            Entry::Blank => continue,
        };
        if options.on_bad_record == OnBadRecord::Stop {
            return Err(error);
        }
        first_error.get_or_insert(error);
        tried += 1;
    }
    Err(first_error.unwrap_or_else(|| {
        if left_out {
            let message = format!(
                "source `{}`: the function over it leaves out every record",
                source.name
            );
            return Error::new(Kind::Row, Stage::Render, message)
                .remedy("keep some, or take the source out");
        }
        let message = format!("source `{}` is empty: no shard holds a record", source.name);
        Error::new(Kind::Row, Stage::Read, message).remedy("check sources[].paths")
    }))
}

/// The shape of a record as its source's function gives it; none of one that is left out.
fn told_shape(rows: &RowReader, model: &SourceModel, line: &[u8]) -> Result<Option<Shape>> {
    match &model.function {
        None => rows.detect(line).map(Some),
        Some(function) => {
            let given = catch_unwind(AssertUnwindSafe(|| function.apply(line)));
            let given = given.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))?;
            given.map(|line| rows.detect(&line)).transpose()
        }
    }
}
