//! What an epoch will be, about, from a few records of each shard.

use super::encode::{Outcome, Scratch};
use super::model::Model;
use super::peek::peek;
use super::sources::{encoder, is_conversation};
use super::warning::Warning;
use crate::corpus::Corpus;
use crate::error::Result;
use crate::example::Origin;
use crate::read::open_shards;
use crate::recipe::{Overlong, Recipe, Strategy};
use crate::shard::ShardFile;
use serde::Serialize;

/// Records that are looked at, over all shards of a recipe.
const RECORDS: usize = 1_000;

/// An estimate of one epoch.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// Records that it rests on.
    pub sampled: u64,
    /// Records.
    pub records: u64,
    /// Records that will be dropped.
    pub dropped: u64,
    /// Tokens that will be delivered.
    pub tokens: u64,
    /// Targets among them.
    pub supervised_tokens: u64,
    /// Rows.
    pub rows: u64,
    /// Steps.
    pub steps: u64,
    /// The same by source.
    pub sources: Vec<SourceEstimate>,
    /// What the sources' templates gave cause for.
    #[serde(skip)]
    warnings: Vec<Warning>,
}

/// An estimate of one source's share of an epoch.
#[derive(Debug, Clone, Serialize)]
pub struct SourceEstimate {
    /// Its name.
    pub name: String,
    /// How its rows are read.
    pub shape: String,
    /// Shards.
    pub shards: usize,
    /// How they are stored, each way once.
    pub formats: Vec<&'static str>,
    /// Stored bytes.
    pub stored_bytes: u64,
    /// Records looked at, and how many of them were bad.
    pub sampled: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// The first bad one's error.
    pub first_error: Option<String>,
    /// Records, dropped records, tokens and targets of an epoch.
    pub records: u64,
    /// Records that will be dropped.
    pub dropped: u64,
    /// Tokens that will be delivered.
    pub tokens: u64,
    /// Targets among them.
    pub supervised_tokens: u64,
    /// Examples that will be delivered.
    pub examples: u64,
}

impl Estimate {
    /// Looks at 1,000 records spread over the shards of `recipe`.
    ///
    /// # Errors
    /// A corpus that cannot be opened or is refused. Bad records are counted, not returned.
    pub fn of(recipe: &Recipe, model: &Model) -> Result<Self> {
        let corpus = Corpus::open(recipe)?;
        let all: usize = corpus.sources.iter().map(|s| s.shards.len()).sum();
        let a_shard = RECORDS.div_ceil(all.max(1));
        let (mut sources, mut warnings) = (Vec::new(), Vec::new());
        for (index, source) in corpus.sources.iter().enumerate() {
            let shards = open_shards(&source.shards, recipe.io)?;
            let (encoder, shape) = encoder(recipe, index, model, source)?;
            if is_conversation(shape) {
                warnings.extend(Warning::stop_token(&source.name, &encoder));
            }
            let stored_bytes = source.size_bytes();
            let mut tally = Tally::default();
            let mut scratch = Scratch::default();
            for shard in &shards {
                let seen = peek(shard, a_shard)?;
                let mut part = Tally::default();
                for record in &seen.records {
                    part.add(
                        encoder.encode(record, Origin::default(), &mut scratch),
                        recipe,
                    );
                }
                // What the looked-at part of the shard holds, scaled to the whole of it.
                let scale = shard.file().size_bytes() as f64 / seen.stored_bytes.max(1) as f64;
                let records = match seen.total {
                    Some(total) => total as f64,
                    None => seen.passed as f64 * scale,
                };
                tally.join(&part, records);
            }
            let limited = config_limit(recipe, index).map_or(1.0, |limit| {
                if tally.records > limit as f64 {
                    limit as f64 / tally.records
                } else {
                    1.0
                }
            });
            let round = |x: f64| (x * limited).round() as u64;
            sources.push(SourceEstimate {
                name: source.name.clone(),
                shape: shape.to_string(),
                shards: source.shards.len(),
                formats: formats(&source.shards),
                stored_bytes,
                sampled: tally.sampled,
                bad: tally.bad,
                first_error: tally.first_error,
                records: round(tally.records),
                dropped: round(tally.dropped),
                tokens: round(tally.tokens),
                supervised_tokens: round(tally.supervised),
                examples: round(tally.examples),
            });
        }
        let sum = |f: fn(&SourceEstimate) -> u64| sources.iter().map(f).sum::<u64>();
        let tokens = sum(|s| s.tokens);
        let rows = match recipe.pack.strategy {
            Strategy::None => sum(|s| s.examples),
            // Measured densities are 0.99 and more: within the error of a sample of lengths.
            Strategy::Knapsack | Strategy::Concat => {
                tokens.div_ceil(recipe.pack.sequence_length.max(1) as u64)
            }
        };
        let step_rows = recipe.batch.step_rows.unwrap_or(recipe.batch.rows).max(1) as u64;
        Ok(Estimate {
            sampled: sum(|s| s.sampled),
            records: sum(|s| s.records),
            dropped: sum(|s| s.dropped),
            tokens,
            supervised_tokens: sum(|s| s.supervised_tokens),
            rows,
            steps: rows.div_ceil(step_rows),
            sources,
            warnings,
        })
    }
}

impl Estimate {
    /// What is allowed, but perhaps not wanted.
    pub fn warnings(&self, recipe: &Recipe) -> Vec<Warning> {
        let pools = Warning::pools(recipe, self.records, self.tokens / self.records.max(1));
        pools.into_iter().chain(self.warnings.clone()).collect()
    }
}

fn formats(shards: &[ShardFile]) -> Vec<&'static str> {
    let mut formats = Vec::new();
    for shard in shards.iter().filter(|shard| shard.size_bytes() > 0) {
        if !formats.contains(&shard.codec.name()) {
            formats.push(shard.codec.name());
        }
    }
    formats
}

fn config_limit(recipe: &Recipe, source: usize) -> Option<u64> {
    recipe.sources.get(source).and_then(|s| s.limit)
}

/// Sums over sampled records, and estimates over what they stand for.
#[derive(Default)]
struct Tally {
    sampled: u64,
    bad: u64,
    first_error: Option<String>,
    records: f64,
    dropped: f64,
    tokens: f64,
    supervised: f64,
    examples: f64,
}

impl Tally {
    fn add(&mut self, outcome: Outcome, recipe: &Recipe) {
        self.sampled += 1;
        let row = recipe.pack.sequence_length as u64;
        match outcome {
            Outcome::Examples(examples) => {
                self.dropped += if examples.iter().any(|e| e.is_ok()) {
                    0.0
                } else {
                    1.0
                };
                for example in examples.into_iter().flatten() {
                    let length = example.len() as u64;
                    let kept = match (recipe.pack.strategy, recipe.pack.overlong) {
                        (Strategy::Concat, _) | (_, Overlong::Split) => length,
                        (_, Overlong::Drop | Overlong::Error) if length > row => 0,
                        _ => length.min(row),
                    };
                    let span = 0..u32::try_from(kept).unwrap_or(u32::MAX);
                    self.tokens += kept as f64;
                    self.supervised += example.num_label_tokens(&span) as f64;
                    self.examples += 1.0;
                }
            }
            Outcome::Bad(error) | Outcome::Fatal(error) | Outcome::Unreadable { error, .. } => {
                self.bad += 1;
                self.dropped += 1.0;
                self.first_error.get_or_insert_with(|| error.to_string());
            }
            Outcome::Nothing => {}
        }
    }

    /// Adds a shard's sample, which stands for `records` records.
    fn join(&mut self, part: &Tally, records: f64) {
        let scale = records / part.sampled.max(1) as f64;
        self.sampled += part.sampled;
        self.bad += part.bad;
        if self.first_error.is_none() {
            self.first_error.clone_from(&part.first_error);
        }
        self.records += records;
        self.dropped += part.dropped * scale;
        self.tokens += part.tokens * scale;
        self.supervised += part.supervised * scale;
        self.examples += part.examples * scale;
    }
}
