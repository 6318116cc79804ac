//! What an epoch will be, about, from a few records of each shard.

use super::encode::{Outcome, Scratch};
use super::model::Model;
use super::peek::peek;
use super::probe;
use super::signs::{FEW, Seen, begins_twice};
use super::sources::encoder;
use super::split::Split;
use super::warning::Warning;
use crate::corpus::Corpus;
use crate::error::Result;
use crate::example::{Origin, TokenId};
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
    /// Records that will be dropped, those that are held out not among them.
    pub dropped: u64,
    /// Records that are held out.
    pub held_out: u64,
    /// Records of the eval side.
    pub eval_records: u64,
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
    /// Records that will be dropped, those that are held out not among them.
    pub dropped: u64,
    /// Records that are held out.
    pub held_out: u64,
    /// Records of the eval side.
    pub eval_records: u64,
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
            warnings.extend(probe::warnings(&source.name, shape, &encoder));
            let stored_bytes = source.size_bytes();
            let mut tally = Tally::default();
            let mut scratch = Scratch::default();
            let bos = model.tokenizer.bos.as_ref().map(|token| token.id);
            for shard in &shards {
                let seen = peek(shard, a_shard, &recipe.limits)?;
                let mut part = Tally::default();
                for record in &seen.records {
                    part.add(
                        encoder.encode(record, Origin::default(), &mut scratch),
                        recipe,
                        bos,
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
            let bos = model.tokenizer.bos.as_ref();
            let bos = bos.map_or("", |token| token.content.as_str());
            let row = recipe.pack.sequence_length;
            warnings.extend(tally.seen.warnings(&source.name, row, bos, FEW));
            // The sample's records are encoded whichever side they are on: a share is better known than counted.
            let split = Split::of(recipe, index);
            let held_out = split.map_or(0.0, |split| split.fraction());
            let all = |x: f64| (x * limited).round() as u64;
            let trained = |x: f64| all(x * (1.0 - held_out));
            let held_out = all(tally.records * held_out);
            sources.push(SourceEstimate {
                name: source.name.clone(),
                shape: shape.to_string(),
                shards: source.shards.len(),
                formats: formats(&source.shards),
                stored_bytes,
                sampled: tally.sampled,
                bad: tally.bad,
                first_error: tally.first_error,
                records: all(tally.records),
                dropped: trained(tally.dropped),
                held_out,
                eval_records: split.map_or(0, |split| held_out.min(split.max_records)),
                tokens: trained(tally.tokens),
                supervised_tokens: trained(tally.supervised),
                examples: trained(tally.examples),
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
            held_out: sum(|s| s.held_out),
            eval_records: sum(|s| s.eval_records),
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
    /// What the sampled records show.
    seen: Seen,
}

impl Tally {
    fn add(&mut self, outcome: Outcome, recipe: &Recipe, bos: Option<TokenId>) {
        self.sampled += 1;
        let row = recipe.pack.sequence_length as u64;
        match outcome {
            Outcome::Examples(examples) => {
                self.seen.records += 1;
                self.seen.untrained += u64::from(examples.iter().all(|e| e.is_err()));
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
                    let cut = length - kept;
                    self.seen.too_long += u64::from(kept == 0);
                    self.seen.signs.examples += u64::from(kept > 0);
                    self.seen.signs.whole_rows += u64::from(kept > 0 && cut > 0);
                    self.seen.cut_tokens += if kept > 0 { cut } else { 0 };
                    self.seen.signs.double_bos += u64::from(begins_twice(&example.ids, bos));
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
        self.seen.add(&part.seen);
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
