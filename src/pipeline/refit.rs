//! What pools hold, fitted to rows anew where a changed recipe fits it otherwise.
//!
//! An example of which nothing was delivered is taken in anew. Of one that was partly delivered, each run of tokens that
//! is pending is fitted as an example of its own. So every token that was pending is delivered, or has its line in the
//! account, and none that was delivered comes again. New pieces stand in a pool where the first of the old ones stood.
//!
//! How an example was cut before follows from its tokens and the old recipe's rows. Where its tokens are others, that
//! is not known: only examples that cannot have been cut are carried then.

use super::encode::{Item, Outcome};
use super::feed::Feed;
use super::resume::{place, places};
use crate::checkpoint::{Encoding, Fit, LaneState, Pooled, Run, Whole};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Cursor, Ends, Example, Piece, TokenId};
use crate::ledger::{Account, Count, Reason};
use crate::pack::{overlong, run};
use crate::recipe::{Overlong, PackConfig, Recipe, Strategy};
use std::collections::{BTreeMap, BTreeSet};

/// Fits pools anew.
pub(super) struct Refit {
    before: Fit,
    /// How the recipe packs, and how the one before did, as far as it decides pieces.
    pack: PackConfig,
    pack_before: PackConfig,
    /// By source, what became of its records' examples.
    encodings: Vec<Encoding>,
    /// By source, whether its examples are fitted otherwise.
    refits: Vec<bool>,
    bos: Option<TokenId>,
    tallies: Vec<Tally>,
    examples: u64,
}

/// What becomes of the account of one source.
#[derive(Default)]
struct Tally {
    /// Tokens that were pending.
    before: u64,
    /// Tokens that are.
    pending: u64,
    /// Tokens cut off, and dropped, more than before.
    truncated: i64,
    dropped: BTreeMap<Reason, i64>,
    /// Records that are pending no more.
    records_dropped: BTreeMap<Reason, u64>,
    records_delivered: u64,
}

/// What became of one example in a pool.
#[derive(Default)]
struct Became {
    /// First tokens of its pieces.
    pieces: Vec<u32>,
    runs: Vec<Run>,
    /// Tokens of its pieces that waited for a place in the pool.
    waited: u64,
}

/// An example in a lane's streams: stream, position, place, example.
type Key = (u32, u64, u64, u32);

/// What a pool holds of one example: its entries, and whether each waits for a place in the pool.
type Held = Vec<(Pooled, bool)>;

impl Refit {
    pub(super) fn new(
        before: Fit,
        now: Fit,
        encodings: Vec<Encoding>,
        recipe: &Recipe,
        bos: Option<TokenId>,
    ) -> Self {
        let pack = recipe.pack.clone();
        let pack_before = match before {
            Fit::Concat => PackConfig {
                strategy: Strategy::Concat,
                ..pack.clone()
            },
            Fit::Rows { length, overlong } => PackConfig {
                strategy: Strategy::Knapsack,
                sequence_length: length,
                overlong,
                ..pack.clone()
            },
        };
        let refits = encodings
            .iter()
            .map(|e| before != now || *e != Encoding::Same);
        Refit {
            before,
            pack,
            pack_before,
            refits: refits.collect(),
            tallies: encodings.iter().map(|_| Tally::default()).collect(),
            encodings,
            bos,
            examples: 0,
        }
    }

    /// Whether any source's examples are fitted otherwise.
    pub(super) fn is_needed(&self) -> bool {
        self.refits.contains(&true)
    }

    /// Fits what all lanes hold, and books what that changes; how many examples they were.
    pub(super) fn pools(&mut self, feed: &mut Feed, whole: &mut Whole) -> Result<u64> {
        for (place, lane) in whole.lanes.iter_mut().enumerate() {
            let read = read(feed, place, lane)?;
            let number = lane.lane;
            self.lane(lane, &read)
                .map_err(|error| error.in_shard(format_args!("lane {number}")))?;
        }
        let accounts = whole.ledger.sources.iter_mut();
        let all = self.tallies.iter().zip(&self.encodings).zip(&self.refits);
        for ((name, account), ((tally, encoding), _)) in
            accounts.zip(all).filter(|(_, (_, refits))| **refits)
        {
            tally
                .book(account, *encoding)
                .map_err(|wrong| {
                    refuse(format!("source {name}: {wrong}")).remedy(
                        "restore checkpoint and corpus as they were saved together, or fork another checkpoint",
                    )
                })?;
        }
        Ok(self.examples)
    }

    fn lane(&mut self, lane: &mut LaneState, read: &BTreeMap<(u32, Cursor), Item>) -> Result<()> {
        let pool = lane.pool.drain(..).map(|pooled| (pooled, false));
        let all: Held = pool
            .chain(lane.waiting.drain(..).map(|pooled| (pooled, true)))
            .collect();
        let carried = std::mem::take(&mut lane.carried);
        let mut groups: BTreeMap<Key, Held> = BTreeMap::new();
        for entry in &all {
            groups.entry(key(&entry.0)).or_default().push(*entry);
        }
        let mut done = BTreeSet::new();
        for (pooled, waits) in all {
            let target = match waits {
                true => &mut lane.waiting,
                false => &mut lane.pool,
            };
            let Some(item) = read.get(&(pooled.stream, place(&pooled))) else {
                return Err(changed());
            };
            let source = item.origin.source as usize;
            let runs = carried.iter().filter(|run| key(&run.of) == key(&pooled));
            if !self.refits.get(source).copied().unwrap_or(false) {
                target.push(pooled);
                if done.insert(key(&pooled)) {
                    lane.carried.extend(runs);
                }
                continue;
            }
            if !done.insert(key(&pooled)) {
                continue;
            }
            let held = groups.remove(&key(&pooled)).unwrap_or_default();
            let runs: Vec<Run> = runs.copied().collect();
            let became = self.example(source, item, &held, &runs)?;
            self.examples += 1;
            let entries = became.pieces.iter();
            target.extend(entries.map(|&first| Pooled { first, ..pooled }));
            lane.carried.extend(became.runs);
            // The pool took them just now.
            let account = lane.streams.get_mut(pooled.stream as usize);
            if let (Some(stream), true) = (account, !waits && lane.weights > 0) {
                stream.drawn = stream.drawn.saturating_add(became.waited);
            }
        }
        Ok(())
    }

    fn example(&mut self, source: usize, item: &Item, held: &Held, runs: &[Run]) -> Result<Became> {
        let encoding = self
            .encodings
            .get(source)
            .copied()
            .unwrap_or(Encoding::Same);
        let number = held.first().map(|(pooled, _)| pooled.example);
        let examples = match &item.outcome {
            Outcome::Examples(examples) => examples,
            Outcome::Bad(error) | Outcome::Fatal(error) => {
                let message = "a record that a pool holds cannot be encoded under the new recipe";
                return Err(refuse(message).caused_by(error.clone()).remedy(KEEP_TOKENS));
            }
            _ => return Err(changed()),
        };
        let example = match (examples.as_slice(), number) {
            ([Ok(example)], Some(0)) => example,
            ([Err(dropped)], Some(0)) if encoding != Encoding::Same => {
                return self.dropped(source, dropped.reason, dropped.tokens, held, runs);
            }
            ([_], _) | ([], _) => return Err(changed()),
            _ => {
                let message = "a pool holds examples of a record that is several, and those are not fitted anew";
                return Err(refuse(message).remedy(KEEP_ROWS));
            }
        };
        if encoding == Encoding::Tokens {
            self.must_be_whole(held, runs, None)?;
            return self.anew(source, example, 0, 0, 0);
        }
        self.same_tokens(source, encoding, example, held, runs)
    }

    /// An example whose tokens are what they were: how it was cut is known.
    fn same_tokens(
        &mut self,
        source: usize,
        encoding: Encoding,
        example: &Example,
        held: &Held,
        runs: &[Run],
    ) -> Result<Became> {
        let before = before_of(example, encoding);
        let (mut cut, mut truncated, mut dropped): (Vec<Piece>, u64, u64) = (Vec::new(), 0, 0);
        if runs.is_empty() {
            let fitted = overlong::fit(before, &self.pack_before, self.bos)?;
            (truncated, dropped) = (fitted.truncated_tokens, fitted.dropped_tokens);
            cut = fitted.pieces;
        } else {
            for run in runs {
                cut.extend(run_pieces(&before, run, &self.pack_before)?);
            }
        }
        let mut pending: Vec<Piece> = Vec::new();
        let mut waited = 0;
        for (pooled, waits) in held {
            let piece = cut
                .iter()
                .find(|piece| piece.tokens.contains(&pooled.first));
            let mut piece = piece.cloned().ok_or_else(changed)?;
            piece.tokens.start = pooled.first;
            waited += if *waits { piece.len() as u64 } else { 0 };
            pending.push(piece);
        }
        let starts = |pieces: &[Piece]| -> Vec<u32> {
            pieces.iter().map(|piece| piece.tokens.start).collect()
        };
        let tokens = pending.iter().map(|piece| piece.len() as u64).sum();
        if runs.is_empty() && starts(&pending) == starts(&cut) {
            let became = self.anew(source, example, tokens, truncated, dropped)?;
            return Ok(Became { waited, ..became });
        }
        let last = pending.iter().any(|piece| piece.ends == Ends::Record);
        if encoding == Encoding::Mask && !last {
            return Err(refuse(
                "a pool holds pieces of an example of which others were delivered or dropped, and under another mask \
                 that cannot be told",
            )
            .remedy(KEEP_MASK));
        }
        let became = self.rest(source, example, held, &pending, last)?;
        Ok(Became { waited, ..became })
    }

    /// An example of which nothing was delivered: it is taken in as if for the first time. So many of its tokens were
    /// pending, truncated and dropped.
    fn anew(
        &mut self,
        source: usize,
        example: &Example,
        pending: u64,
        truncated: u64,
        dropped: u64,
    ) -> Result<Became> {
        let fitted = overlong::fit(example.clone(), &self.pack, self.bos).map_err(cannot_fit)?;
        let tally = &mut self.tallies[source];
        tally.before += pending;
        tally.truncated += signed(fitted.truncated_tokens) - signed(truncated);
        tally.drop(Reason::NoTrainedToken, -signed(dropped));
        let reason = fitted.dropped.unwrap_or(Reason::NoTrainedToken);
        tally.drop(reason, signed(fitted.dropped_tokens));
        tally.pending += length(&fitted.pieces);
        if fitted.pieces.is_empty() {
            *tally.records_dropped.entry(reason).or_default() += 1;
        }
        Ok(Became {
            pieces: fitted.pieces.iter().map(|p| p.tokens.start).collect(),
            ..Became::default()
        })
    }

    /// What is pending of an example that was partly delivered. `last`: the record is delivered with it.
    fn rest(
        &mut self,
        source: usize,
        example: &Example,
        held: &Held,
        pending: &[Piece],
        last: bool,
    ) -> Result<Became> {
        let Some((pooled, _)) = held.first() else {
            return Ok(Became::default());
        };
        let mut became = Became::default();
        let mut spans: Vec<std::ops::Range<u32>> = Vec::new();
        for piece in pending {
            match spans.last_mut() {
                Some(span) if span.end == piece.tokens.start => span.end = piece.tokens.end,
                _ => spans.push(piece.tokens.clone()),
            }
        }
        let tally = &mut self.tallies[source];
        tally.before += length(pending);
        for span in spans {
            let fitted = run::fit(example, span.clone(), &self.pack).map_err(cannot_fit)?;
            tally.truncated += signed(fitted.truncated_tokens);
            let reason = fitted.dropped.unwrap_or(Reason::NoTrainedToken);
            tally.drop(reason, signed(fitted.dropped_tokens));
            tally.pending += length(&fitted.pieces);
            if fitted.pieces.is_empty() {
                continue;
            }
            became
                .pieces
                .extend(fitted.pieces.iter().map(|p| p.tokens.start));
            became.runs.push(Run {
                of: Pooled {
                    first: span.start,
                    ..*pooled
                },
                end: span.end,
                last: false,
            });
        }
        match became.runs.last_mut() {
            Some(run) => run.last = last,
            // Its last kept piece turns out to be one that was delivered.
            None => tally.records_delivered += u64::from(last),
        }
        Ok(became)
    }

    /// A record that the new recipe makes no example of.
    fn dropped(
        &mut self,
        source: usize,
        reason: Reason,
        tokens: u64,
        held: &Held,
        runs: &[Run],
    ) -> Result<Became> {
        let encoding = self
            .encodings
            .get(source)
            .copied()
            .unwrap_or(Encoding::Same);
        let known = (encoding == Encoding::Mask).then_some(tokens);
        self.must_be_whole(held, runs, known)?;
        let pending = match self.before {
            Fit::Rows {
                length,
                overlong: Overlong::Truncate | Overlong::TruncateLeft,
            } => tokens.min(length as u64),
            _ => tokens,
        };
        let tally = &mut self.tallies[source];
        tally.before += pending;
        tally.truncated -= if known.is_some() {
            signed(tokens - pending)
        } else {
            0
        };
        tally.drop(reason, signed(tokens));
        *tally.records_dropped.entry(reason).or_default() += 1;
        Ok(Became::default())
    }

    /// Refuses an example that may have been cut: which of its tokens were delivered cannot be told any more.
    fn must_be_whole(&self, held: &Held, runs: &[Run], tokens: Option<u64>) -> Result<()> {
        let begun = held.iter().any(|(pooled, _)| pooled.first > 0);
        let cut = match self.before {
            Fit::Concat => begun,
            Fit::Rows {
                length,
                overlong: Overlong::Split,
            } => begun || tokens.is_none_or(|tokens| tokens > length as u64),
            // Cut off, but in one piece.
            Fit::Rows { .. } => false,
        };
        if cut || held.len() > 1 || !runs.is_empty() {
            return Err(refuse(
                "a pool holds an example that may have been delivered in part, and its tokens are others under the new \
                 recipe",
            )
            .remedy(KEEP_TOKENS));
        }
        Ok(())
    }
}

const KEEP_MASK: &str = "keep the mask and change it at another checkpoint, or begin anew";

const KEEP_ROWS: &str = "with render: per_turn, keep pack.sequence_length, pack.overlong, tokenizer, template and mask, or begin anew";

const KEEP_TOKENS: &str = "keep tokenizer, template and what is read of a row, change them at another checkpoint, or begin anew";

/// The records that a lane holds something of.
fn read(feed: &mut Feed, place: usize, lane: &LaneState) -> Result<BTreeMap<(u32, Cursor), Item>> {
    let mut read = BTreeMap::new();
    let streams = feed.dealt().streams(place);
    for (stream, id) in (0..).zip(streams) {
        let wanted = places(lane, stream);
        let mut left = wanted.len();
        for cursor in wanted {
            feed.need(id, left, 0);
            feed.turn(id)?;
            let item = feed.next(id)?.filter(|item| item.origin.at == cursor);
            read.insert((stream, cursor), item.ok_or_else(changed)?);
            left -= 1;
        }
        feed.need(id, 0, 0);
    }
    Ok(read)
}

/// An example whose cuts are those of before.
fn before_of(example: &Example, encoding: Encoding) -> Example {
    let mut before = example.clone();
    if encoding == Encoding::Mask {
        // Which tokens were trained is not known, but where it was cut does not hang on it.
        let all = 0..u32::try_from(before.len()).unwrap_or(u32::MAX);
        before.trained = std::iter::once(all).collect();
    }
    before
}

/// The pieces of what a fork carried over of an example.
pub(super) fn run_pieces(example: &Example, run: &Run, pack: &PackConfig) -> Result<Vec<Piece>> {
    let mut pieces = run::fit(example, run.of.first..run.end, pack)?.pieces;
    for piece in &mut pieces {
        if !run.last {
            piece.ends = Ends::Nothing;
        }
    }
    Ok(pieces)
}

impl Tally {
    fn drop(&mut self, reason: Reason, tokens: i64) {
        if tokens != 0 {
            *self.dropped.entry(reason).or_default() += tokens;
        }
    }

    /// Books it. `Err` says, as a clause, what does not add up.
    fn book(&self, account: &mut Account, encoding: Encoding) -> std::result::Result<(), String> {
        let tokens = &mut account.tokens;
        let pending = u64::try_from(tokens.pending).unwrap_or(0);
        if encoding == Encoding::Tokens {
            // What was pending was other tokens: these came in in their place.
            let dropped: i64 = self.dropped.values().sum();
            let came = signed(self.pending) + self.truncated + dropped;
            let taken = tokens.taken.checked_sub(pending);
            let taken = taken.and_then(|taken| taken.checked_add_signed(came));
            tokens.taken = taken.ok_or("more tokens are pending than came in")?;
        } else if pending != self.before {
            return Err(format!(
                "pools hold {} tokens where {pending} are pending in the ledger",
                self.before
            ));
        }
        tokens.pending = signed(self.pending);
        let truncated = tokens.truncated.checked_add_signed(self.truncated);
        tokens.truncated = truncated.ok_or("fewer tokens were truncated than pools say")?;
        for (&reason, &more) in &self.dropped {
            let was = tokens.dropped.get(&reason).copied().unwrap_or(0);
            let is = was.checked_add_signed(more);
            set(
                tokens,
                reason,
                is.ok_or("fewer tokens were dropped than pools say")?,
            );
        }
        // Each of these records is one example.
        for count in [&mut account.records, &mut account.examples] {
            for (&reason, &more) in &self.records_dropped {
                let was = count.dropped.get(&reason).copied().unwrap_or(0);
                set(count, reason, was + more);
                count.pending -= signed(more);
            }
            count.pending -= signed(self.records_delivered);
            count.delivered += self.records_delivered;
        }
        let counts = [&account.records, &account.examples, &account.tokens];
        let sound = counts
            .iter()
            .all(|count| count.balanced() && count.pending >= 0);
        match sound {
            true => Ok(()),
            false => Err("the ledger does not balance after the fork".to_owned()),
        }
    }
}

fn set(count: &mut Count, reason: Reason, amount: u64) {
    match amount {
        0 => count.dropped.remove(&reason),
        amount => count.dropped.insert(reason, amount),
    };
}

fn key(pooled: &Pooled) -> Key {
    (pooled.stream, pooled.position, pooled.place, pooled.example)
}

fn length(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Counts of tokens are far below 2^63.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn changed() -> Error {
    refuse("the checkpoint holds a piece of an example that has become another")
        .remedy("restore the corpus, or begin anew")
}

fn cannot_fit(error: Error) -> Error {
    refuse("an example that a pool holds does not fit the new recipe's rows")
        .caused_by(error)
        .remedy("keep pack.overlong or pack.sequence_length, or change them at another checkpoint")
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
}
