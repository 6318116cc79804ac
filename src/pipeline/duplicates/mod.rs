//! Records whose bytes stood in the corpus before: found in one pass, kept in the cache folder as a bit a line.
//!
//! Which record stays follows from the files alone: the first in the recipe's order of sources, the order of shards,
//! and that of lines. So a bit a line says it, whatever the order of training, the ranks or the workers are.

use super::identity;
use super::kept::{self, Claim, Wait};
use super::model::Model;
use super::sources::Sources;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::read::ReadAhead;
use crate::recipe::{Duplicates as Policy, Recipe};
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

mod first;
mod hashes;

pub(super) use super::global::Count;
pub(super) use hashes::hash;
use hashes::{Part, Reading};

/// Version of the file.
const VERSION: u32 = 1;

/// What the pass is made with.
pub(super) struct Search<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) model: &'a Model,
    pub(super) sources: &'a Sources,
    pub(super) io: &'a ReadAhead,
    pub(super) cache: &'a Path,
    pub(super) workers: usize,
    /// Is told how far it has come; its error ends the pass.
    pub(super) tick: &'a (dyn Fn(Count) -> Result<()> + Sync),
}

/// Which lines of the corpus are copies of an earlier record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Duplicates {
    /// By source; none for one that was not looked through.
    sources: Vec<Option<Lines>>,
    /// A bit a line of these, in the corpus' order.
    bits: Vec<u64>,
}

/// Which bits are those of a source's lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lines {
    /// Each shard's first block.
    shards: Vec<u64>,
    blocks: Blocks,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Blocks {
    /// A line each, the first one's here.
    Lines { first: u64 },
    /// Each block's first line.
    Many { firsts: Vec<u64> },
}

impl Lines {
    fn of(&self, origin: &Origin) -> Option<u64> {
        let block = self.shards.get(origin.shard as usize)? + origin.block;
        self.line(block, origin.record)
    }

    fn line(&self, block: u64, record: u64) -> Option<u64> {
        match &self.blocks {
            Blocks::Lines { first } => Some(first.saturating_add(block)),
            Blocks::Many { firsts } => {
                let first = firsts.get(usize::try_from(block).ok()?)?;
                Some(first.saturating_add(record))
            }
        }
    }
}

impl Duplicates {
    /// Looks the corpus through, or finds in the cache folder what another did; none where the recipe keeps copies.
    /// Streamed blocks that are looked through for themselves, as they are read, are no matter of this.
    pub(super) fn find(search: &Search<'_>) -> Result<Option<Duplicates>> {
        let Search {
            recipe,
            sources,
            cache,
            ..
        } = search;
        if recipe.duplicates == Policy::Keep {
            return Ok(None);
        }
        let name = search.name()?;
        let found = match kept::claim(cache, &name, Wait::Until)? {
            Claim::There(bytes) => Duplicates::from_bytes(&bytes, sources),
            Claim::Busy => None,
            Claim::Ours(pen) => {
                let found = search.pass()?;
                pen.write(found.to_bytes())?;
                Some(found)
            }
        };
        let found = found.ok_or_else(|| {
            Error::new(
                Kind::Io,
                Stage::Order,
                "what was found of copies cannot be read back",
            )
            .remedy(format!("remove {name} from the cache folder"))
        })?;
        Ok(Some(found))
    }

    /// Whether a record is a copy of an earlier one.
    pub(crate) fn has(&self, origin: &Origin) -> bool {
        let source = self.sources.get(origin.source as usize);
        let line = source.and_then(|source| source.as_ref()?.of(origin));
        line.is_some_and(|line| first::is_set(&self.bits, line))
    }

    /// A hash of what is said of a held source's blocks.
    pub(super) fn hash_of(&self, source: u32, blocks: Range<u64>) -> u64 {
        let lines = self.sources.get(source as usize).and_then(Option::as_ref);
        let said = |block| {
            let line = lines.and_then(|lines| lines.line(block, 0));
            u8::from(line.is_some_and(|line| first::is_set(&self.bits, line)))
        };
        let said: Vec<u8> = blocks.map(said).collect();
        xxh3_64(&said)
    }

    /// The bits; then by source how many of its blocks' first lines follow, and these.
    fn to_bytes(&self) -> Vec<u8> {
        let mut words = vec![self.bits.len() as u64];
        words.extend(&self.bits);
        for source in &self.sources {
            match source.as_ref().map(|source| &source.blocks) {
                None => words.push(0),
                Some(Blocks::Lines { first }) => words.extend([1, *first]),
                Some(Blocks::Many { firsts }) => {
                    words.push(firsts.len() as u64);
                    words.extend(firsts);
                }
            }
        }
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8], sources: &Sources) -> Option<Duplicates> {
        let (words, rest) = bytes.as_chunks();
        let mut words = words.iter().map(|word: &[u8; 8]| u64::from_le_bytes(*word));
        let mut list = || -> Option<Vec<u64>> {
            let len = usize::try_from(words.next()?).ok()?;
            let list: Vec<u64> = words.by_ref().take(len).collect();
            (list.len() == len).then_some(list)
        };
        let bits = list()?;
        let mut found = Vec::new();
        for (source, summary) in (0..).zip(sources.summaries()) {
            let firsts = list()?;
            let blocks = match (firsts.as_slice(), sources.is_held(source)) {
                ([], _) => None,
                ([first], true) => Some(Blocks::Lines { first: *first }),
                (_, false) if firsts.len() as u64 == summary.blocks => {
                    Some(Blocks::Many { firsts })
                }
                _ => return None,
            };
            let shards = shards(sources, source, summary.blocks);
            found.push(blocks.map(|blocks| Lines { shards, blocks }));
        }
        (rest.is_empty() && words.next().is_none()).then_some(Duplicates {
            sources: found,
            bits,
        })
    }
}

/// Each shard's first block. A shard without blocks has that of the next one.
fn shards(sources: &Sources, source: u32, blocks: u64) -> Vec<u64> {
    let mut firsts: Vec<u64> = Vec::new();
    for block in 0..blocks {
        let Some((_, located)) = sources.locate_in(source, block) else {
            break;
        };
        let shard = located.shard as usize;
        if firsts.len() <= shard {
            firsts.resize(shard + 1, block);
        }
    }
    firsts
}

impl Search<'_> {
    /// The name of the file, which hashes all that decides what is found.
    fn name(&self) -> Result<String> {
        let mut key = format!("{VERSION} {:?} ", self.recipe.duplicates);
        let prints = identity::prints(self.recipe, self.model, self.sources)?;
        for (source, print) in (0..).zip(&prints) {
            key += &format!("{} {}: ", print.form, print.blocks);
            for (shard, file) in print.shards.iter().zip(self.sources.files(source)) {
                let stamp = &file.stamp;
                let (seconds, nanoseconds) = (stamp.modified_s, stamp.modified_ns);
                // An edit in the middle changes neither size nor ends.
                key += &format!("{} {} {seconds}.{nanoseconds} ", shard.bytes, shard.hash);
            }
        }
        Ok(format!(
            "copies-{VERSION}-{:032x}",
            xxh3_128(key.as_bytes())
        ))
    }

    fn pass(&self) -> Result<Duplicates> {
        let reading = Reading {
            sources: self.sources,
            io: self.io,
            workers: self.workers,
            tick: self.tick,
        };
        let mut parts: Vec<Part> = Vec::new();
        let mut found = Vec::new();
        for (source, summary) in (0..).zip(self.sources.summaries()) {
            // A streamed block that is looked through for itself is, when it is read.
            if self.recipe.duplicates == Policy::DropInBlock && !self.sources.is_held(source) {
                found.push(None);
                continue;
            }
            let firsts = shards(self.sources, source, summary.blocks);
            for (shard, &first) in (0..).zip(&firsts) {
                let end = firsts.get(shard as usize + 1).copied();
                let blocks = first..end.unwrap_or(summary.blocks);
                parts.extend(reading.parts(source, shard, blocks));
            }
            let blocks = match self.sources.is_held(source) {
                true => Blocks::Lines { first: 0 },
                false => Blocks::Many { firsts: Vec::new() },
            };
            found.push(Some(Lines {
                shards: firsts,
                blocks,
            }));
        }
        let hashes = reading.hashes(&parts)?;
        let mut lines = 0;
        let mut begins = Vec::with_capacity(parts.len());
        for (part, hashes) in parts.iter().zip(&hashes) {
            match found.get_mut(part.source as usize).and_then(Option::as_mut) {
                Some(Lines {
                    blocks: Blocks::Many { firsts },
                    ..
                }) => firsts.push(lines),
                Some(Lines {
                    blocks: Blocks::Lines { first },
                    ..
                }) if part.blocks.start == 0 => *first = lines,
                _ => {}
            }
            begins.push(lines);
            lines += hashes.len() as u64;
        }
        let words = usize::try_from(lines.div_ceil(64)).unwrap_or(usize::MAX);
        let mut bits = vec![0; words];
        match self.recipe.duplicates {
            Policy::Keep => {}
            Policy::Drop => first::mark(&hashes, 0, &mut bits),
            Policy::DropInBlock => {
                let mut at = 0;
                let same = |a: &Part, b: &Part| (a.source, a.shard) == (b.source, b.shard);
                for shard in parts.chunk_by(same) {
                    let own = at..at + shard.len();
                    let begin = begins.get(at).copied().unwrap_or(lines);
                    first::mark(hashes.get(own).unwrap_or_default(), begin, &mut bits);
                    at += shard.len();
                }
            }
        }
        Ok(Duplicates {
            sources: found,
            bits,
        })
    }
}
