//! What every record of the corpus becomes, as far as planning needs it: four bytes a record, kept in the cache folder.
//!
//! A shard's words are a file of their own, so that ranks that start together count different shards, each once. They
//! hold lengths before `overlong` and know nothing of rows; what becomes of the few examples that are longer than a
//! row is another file, for which these few are read again when only the row has changed.

use super::count::{Blocks, Counting, LongFit};
use super::fit::{Fit, RecordFit, is_overlong};
use super::word::{Fate, Word, Words};
use crate::checkpoint::{Fingerprint, SourcePrint};
use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::{Intake, Reason};
use crate::pipeline::kept::{self, Claim, Pen, Wait};
use crate::pipeline::sources::Sources;
use crate::pipeline::take::too_many_bad;
use crate::recipe::{OnBadRecord, Overlong, PackConfig, Strategy};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Version of the files and of everything else that decides their contents without being in a fingerprint.
const VERSION: u32 = 3;

/// The whole corpus, counted.
#[derive(Debug)]
pub(super) struct Lengths {
    sources: Vec<Source>,
    /// Records that this process has encoded to count them; those that it found in the cache are not among them.
    pub(super) counted: u64,
}

/// What is packed of long examples, by block and number in the record.
pub(super) type Fits = BTreeMap<(u64, u32), Fit>;

#[derive(Debug, Default)]
struct Source {
    /// One list a shard, with the shard's first block, rising once all are there.
    shards: Vec<(u64, Words)>,
    /// Of examples that are longer than a row, by block and number.
    fits: Fits,
}

impl Source {
    /// The words of what a block became: one, or one an example.
    fn examples(&self, block: u64) -> Option<&[Word]> {
        let behind = self.shards.partition_point(|(begins, _)| *begins <= block);
        let (begins, words) = self.shards.get(behind.checked_sub(1)?)?;
        words.examples(usize::try_from(block - begins).ok()?)
    }

    /// Each block's word.
    fn words(&self) -> impl Iterator<Item = &Word> {
        self.shards.iter().flat_map(|(_, words)| words.records())
    }
}

/// What becomes of one record: its part of the ledger, and its pieces.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Nothing,
    Record(RecordFit),
    Unreadable,
}

/// A shard's blocks within its source.
struct Part {
    source: u32,
    blocks: Range<u64>,
    words: String,
    fits: String,
}

impl Lengths {
    /// Counts the corpus, but for what is in the cache folder already. `prints` are of the opened sources;
    /// `turn`, `of` say where to begin, so that ranks begin with different shards.
    pub(super) fn open(
        counting: Counting<'_>,
        fingerprint: &Fingerprint,
        prints: &[SourcePrint],
        cache: &Path,
        (turn, of): (u32, u32),
    ) -> Result<Lengths> {
        let summaries = counting.sources.summaries();
        let mut parts = VecDeque::new();
        for ((source, print), summary) in (0..).zip(prints).zip(&summaries) {
            let shape = summary.shape.to_string();
            parts.extend(parts_of(counting, fingerprint, source, print, &shape)?);
        }
        let first = parts.len() as u64 * u64::from(turn) / u64::from(of.max(1));
        parts.rotate_left(usize::try_from(first).unwrap_or(0).min(parts.len()));
        let mut lengths = Lengths {
            sources: summaries.iter().map(|_| Source::default()).collect(),
            counted: 0,
        };
        // Those that somebody else is counting are asked for again, in the end until they are there.
        let mut busy = 0;
        while let Some(part) = parts.pop_front() {
            let wait = if busy > parts.len() {
                Wait::Until
            } else {
                Wait::Not
            };
            if lengths.part(counting, &part, cache, wait)? {
                busy = 0;
            } else {
                busy += 1;
                parts.push_back(part);
            }
        }
        for source in &mut lengths.sources {
            source.shards.sort_by_key(|(begins, _)| *begins);
        }
        lengths.judge(counting)?;
        Ok(lengths)
    }

    /// Gets a shard's words and fits, from the cache or by counting; false where somebody else is counting them.
    fn part(
        &mut self,
        counting: Counting<'_>,
        part: &Part,
        cache: &Path,
        wait: Wait,
    ) -> Result<bool> {
        let expected = usize::try_from(part.blocks.end - part.blocks.start).unwrap_or(0);
        let (words, fits) = match kept::claim(cache, &part.words, wait)? {
            Claim::Busy => return Ok(false),
            Claim::There(bytes) => {
                (counting.tick)(expected as u64)?;
                let words = Words::from_bytes(&bytes, expected);
                let words = words
                    .ok_or_else(|| internal("what was counted is not as long as the shard"))?;
                (words, None)
            }
            Claim::Ours(pen) => {
                let blocks = Blocks::Range(part.blocks.clone());
                let counted = counting.count(part.source, &blocks)?;
                let blank = Word::of(Fate::Nothing);
                let records = counted
                    .words
                    .records()
                    .iter()
                    .filter(|word| **word != blank);
                self.counted += records.count() as u64;
                // Before the words: whoever finds these finds the fits too, and reads nothing again.
                if !counted.fits.is_empty()
                    && let Claim::Ours(pen) = kept::claim(cache, &part.fits, Wait::Until)?
                {
                    write_fits(pen, &counted.fits, part)?;
                }
                pen.write(counted.words.to_bytes())?;
                (counted.words, Some(counted.fits))
            }
        };
        let fits = match fits {
            Some(fits) => fits,
            None => self.fits_again(counting, part, &words, cache)?,
        };
        let source = self.sources.get_mut(part.source as usize);
        let source = source.ok_or_else(|| internal("a shard of no source"))?;
        if words.len() != expected {
            return Err(internal("a shard of other blocks than were counted"));
        }
        source.shards.push((part.blocks.start, words));
        let fits = fits.into_iter();
        source
            .fits
            .extend(fits.map(|(block, number, fit)| ((block, number), fit)));
        Ok(true)
    }

    /// The fits of a shard whose words were in the cache: from the cache too, or of the long examples read again.
    fn fits_again(
        &mut self,
        counting: Counting<'_>,
        part: &Part,
        words: &Words,
        cache: &Path,
    ) -> Result<Vec<LongFit>> {
        let overlong = |word: &Word| matches!(word.fate(), Some(Fate::Example { tokens }) if is_overlong(tokens, counting.pack));
        let long = part.blocks.clone().zip(0..).filter(|(_, record)| {
            let examples = words.examples(*record);
            examples.is_some_and(|examples| examples.iter().any(overlong))
        });
        let long: Vec<u64> = long.map(|(block, _)| block).collect();
        if long.is_empty() {
            return Ok(Vec::new());
        }
        match kept::claim(cache, &part.fits, Wait::Until)? {
            Claim::There(bytes) => read_fits(&bytes, part),
            Claim::Busy => Err(internal("busy after waiting")),
            Claim::Ours(pen) => {
                let quiet = Counting {
                    tick: &|_| Ok(()),
                    ..counting
                };
                self.counted += long.len() as u64;
                let fits = quiet.count(part.source, &Blocks::List(long))?.fits;
                write_fits(pen, &fits, part)?;
                Ok(fits)
            }
        }
    }

    /// Holds the bad records of each source against the recipe's limit, once and for all.
    fn judge(&self, counting: Counting<'_>) -> Result<()> {
        for (source, lengths) in (0..).zip(&self.sources) {
            let (mut records, mut bad, mut ends) = (0_u64, 0_u64, None);
            for (block, word) in (0..).zip(lengths.words()) {
                match word.fate() {
                    Some(Fate::Nothing) => continue,
                    Some(Fate::Bad | Fate::Unreadable) => {
                        bad += 1;
                        let (first, _) = ends.unwrap_or((block, block));
                        ends = Some((first, block));
                    }
                    _ => {}
                }
                records += 1;
            }
            let Some((first, last)) = ends else { continue };
            if counting.on_bad_record.forgives(records, bad) {
                continue;
            }
            let stops = counting.on_bad_record == OnBadRecord::Stop;
            // What the record's error is, nobody has kept.
            let strict = Counting {
                on_bad_record: OnBadRecord::Stop,
                tick: &|_| Ok(()),
                ..counting
            };
            let block = if stops { first } else { last };
            let error = match strict.count(source, &Blocks::List(vec![block])) {
                Err(error) => error,
                Ok(_) => internal("a bad record is not bad any more"),
            };
            if stops {
                return Err(error);
            }
            let of = format!("source `{}`", counting.sources.name(source));
            return Err(too_many_bad(bad, records, &of, &error));
        }
        Ok(())
    }

    /// Of how many sources.
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// As if it had been counted: each source's words, and what is packed of its blocks that are longer than a row.
    #[cfg(test)]
    pub(super) fn of(sources: Vec<(Words, Fits)>) -> Lengths {
        let sources = sources.into_iter();
        Lengths {
            sources: sources
                .map(|(words, fits)| Source {
                    shards: vec![(0, words)],
                    fits,
                })
                .collect(),
            counted: 0,
        }
    }

    /// What becomes of a record.
    pub(super) fn taken(&self, source: u32, block: u64, pack: &PackConfig) -> Result<Taken> {
        let unknown = || internal("a record that was not counted");
        let lengths = self.sources.get(source as usize).ok_or_else(unknown)?;
        let examples = lengths.examples(block).ok_or_else(unknown)?;
        let mut record = RecordFit::default();
        for (number, word) in (0..).zip(examples) {
            match word.fate().ok_or_else(unknown)? {
                Fate::Nothing => return Ok(Taken::Nothing),
                Fate::Unreadable => return Ok(Taken::Unreadable),
                Fate::Bad => record.intake = Intake::none(Reason::BadRecord),
                Fate::Dropped { reason, tokens } => record.add_dropped(reason, u64::from(tokens)),
                Fate::Example { tokens } if is_overlong(tokens, pack) => {
                    let fit = lengths.fits.get(&(block, number));
                    let fit = fit.ok_or_else(|| {
                        internal("a long example that was not fitted")
                            .remedy("remove the files fits-… from the cache folder")
                    })?;
                    record.add(number, fit);
                }
                Fate::Example { tokens } => record.add(number, &Fit::whole(tokens)),
                Fate::Several { .. } => return Err(unknown()),
            }
        }
        Ok(Taken::Record(record))
    }

    /// A hash of all that was counted.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for source in &self.sources {
            hash.update(&(source.words().count() as u64).to_le_bytes());
            for (_, words) in &source.shards {
                hash.update(&words.to_bytes());
            }
            for ((block, number), fit) in &source.fits {
                hash.update(&block.to_le_bytes());
                if *number > 0 {
                    hash.update(&number.to_le_bytes());
                }
                for span in fit.pieces() {
                    hash.update(&span.start.to_le_bytes());
                    hash.update(&span.end.to_le_bytes());
                }
            }
        }
        hash.digest()
    }
}

/// A source's shards, each with the names of its files. `shape` is how its rows are read: told by its first record,
/// which may be in another shard.
fn parts_of(
    counting: Counting<'_>,
    fingerprint: &Fingerprint,
    source: u32,
    print: &SourcePrint,
    shape: &str,
) -> Result<Vec<Part>> {
    let sources: &Sources = counting.sources;
    let files = sources.files(source);
    let mut parts = Vec::new();
    for (shard, (print, file)) in (0..).zip(print.shards.iter().zip(&files)) {
        let blocks = sources.held(source).and_then(|held| held.blocks_of(shard));
        let blocks = blocks.ok_or_else(|| internal("a shard that is not held"))?;
        let mut key = format!("{VERSION} {} {} ", print.bytes, print.hash);
        // An edit in the middle changes neither size nor ends.
        key += &format!("{}.{} ", file.stamp.modified_s, file.stamp.modified_ns);
        key += &format!("{} {shape} ", blocks.end - blocks.start);
        key += &fingerprint.examples_of(source);
        // They depend on other shards too.
        if let Some(duplicates) = sources.duplicates() {
            key += &format!(" {:016x}", duplicates.hash_of(source, blocks.clone()));
        }
        let pack = counting.pack;
        let cut = match (pack.strategy, pack.overlong) {
            (Strategy::Concat, _) => "concat".to_owned(),
            (_, overlong) => format!("{} {}", word(overlong), pack.sequence_length),
        };
        parts.push(Part {
            source,
            blocks,
            words: name("lengths", &key),
            fits: name("fits", &format!("{cut} {key}")),
        });
    }
    Ok(parts)
}

fn word(overlong: Overlong) -> &'static str {
    match overlong {
        Overlong::Truncate => "truncate",
        Overlong::TruncateLeft => "truncate_left",
        Overlong::Split => "split",
        Overlong::Drop => "drop",
        Overlong::Error => "error",
    }
}

pub(super) fn name(what: &str, key: &str) -> String {
    format!("{what}-{VERSION}-{:032x}", xxh3_128(key.as_bytes()))
}

/// Keeps a shard's fits, blocks counted from the shard's first: what stands before it in its source may change.
fn write_fits(pen: Pen, fits: &[LongFit], part: &Part) -> Result<()> {
    let within = |(block, number, fit): &LongFit| (block - part.blocks.start, *number, fit.clone());
    let fits: Vec<LongFit> = fits.iter().map(within).collect();
    // Numbers and names: there is nothing in them that JSON could not hold.
    pen.write(serde_json::to_vec(&fits).unwrap_or_default())
}

/// What [`write_fits`] wrote, blocks counted through the source again.
fn read_fits(bytes: &[u8], part: &Part) -> Result<Vec<LongFit>> {
    let fits: Vec<LongFit> = serde_json::from_slice(bytes).map_err(|error| {
        Error::new(
            Kind::Io,
            Stage::Order,
            "what was counted cannot be read back",
        )
        .remedy(format!("remove {} from the cache folder", part.fits))
        .caused_by(error)
    })?;
    let through = |(block, number, fit)| (part.blocks.start + block, number, fit);
    Ok(fits.into_iter().map(through).collect())
}

fn internal(message: &str) -> Error {
    Error::new(Kind::Internal, Stage::Order, message)
}
