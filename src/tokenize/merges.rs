//! BPE over a text without pieces, as SentencePiece vocabularies have it: the whole text is one word, in which the
//! pair of the lowest rank is joined first, of these the leftmost, until no pair can be.
//!
//! The text is cut all the same, where it can make no difference: a merge makes a token, and a token's text holds the
//! two characters at its inner seams side by side. Where two characters stand side by side in no token that any merge
//! makes, nothing is ever joined across, and what lies before and what lies behind are encoded each for itself. Most
//! such places are before blanks, so stretches are words, and words come again.
//!
//! Source: `BPE::merge_word` and `Word::merge_all` of the `tokenizers` crate 0.23, which the tests compare with.

use crate::example::TokenId;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;

/// How these vocabularies write a blank.
pub(super) const BLANK: char = '\u{2581}';

/// No id, no symbol.
const NONE: u32 = u32::MAX;

/// The merges of a vocabulary with a token for every byte.
pub(super) struct Merges {
    /// By character: its token. A plain blank has that of [`BLANK`].
    characters: Vec<TokenId>,
    /// By byte, for characters without a token.
    bytes: Vec<TokenId>,
    /// By left token: where its merges end in `pairs`; they begin where those of the one before end.
    ends: Vec<u32>,
    /// By left token, then by right one.
    pairs: Vec<Pair>,
    seams: Seams,
}

#[derive(Clone, Copy)]
struct Pair {
    right: TokenId,
    rank: u32,
    made: TokenId,
}

/// What merging works in, kept from call to call.
#[derive(Default)]
pub(super) struct Work {
    symbols: Vec<Symbol>,
    /// Rank and place of pairs, the lowest first.
    queue: BinaryHeap<Reverse<(u32, u32)>>,
}

#[derive(Clone, Copy)]
struct Symbol {
    /// None for one that was joined to what stands before it.
    id: TokenId,
    before: u32,
    behind: u32,
}

/// The model of a tokenizer.json, as far as merges go.
#[derive(Deserialize)]
struct File {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, TokenId>,
    merges: Vec<Merge>,
}

/// A merge, as a list of two or in the older spelling, with a blank between.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two tokens")
            }

            fn visit_str<E: de::Error>(self, both: &str) -> Result<Merge, E> {
                let (left, right) = both
                    .split_once(' ')
                    .ok_or_else(|| E::custom("a merge is no pair"))?;
                Ok(Merge(left.to_owned(), right.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut two: A) -> Result<Merge, A::Error> {
                let mut token = || {
                    two.next_element()?
                        .ok_or_else(|| de::Error::custom("a merge is no pair"))
                };
                Ok(Merge(token()?, token()?))
            }
        }
        from.deserialize_any(Either)
    }
}

impl Merges {
    /// The merges of a tokenizer.json, or why they are not served.
    pub(super) fn of(file: &[u8]) -> Result<Merges, String> {
        let File { model } = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        let vocab = model.vocab;
        let id = |token: &str| vocab.get(token).copied();
        let bytes: Option<Vec<TokenId>> = (0..=u8::MAX)
            .map(|byte| id(&format!("<{byte:#04X}>")))
            .collect();
        let bytes = bytes.ok_or("its vocabulary has no token for every byte")?;
        let blank = id(BLANK.encode_utf8(&mut [0; 4])).ok_or("its vocabulary has no blank")?;

        let mut by_pair: HashMap<(TokenId, TokenId), (u32, TokenId)> =
            HashMap::with_capacity(model.merges.len());
        let mut seams = Seams::new();
        for (rank, merge) in (0..).zip(&model.merges) {
            let Merge(left, right) = merge;
            let made = [left.as_str(), right].concat();
            let ids = (id(left), id(right), id(&made));
            let (Some(left_id), Some(right_id), Some(made_id)) = ids else {
                return Err(format!("a merge of {made:?} is not in its vocabulary"));
            };
            // A byte's token stands for a character that nothing may be joined to.
            if bytes.contains(&left_id) || bytes.contains(&right_id) || made.contains(' ') {
                return Err("its merges join bytes or blanks".to_owned());
            }
            by_pair.insert((left_id, right_id), (rank, made_id));
            seams.add(&made);
        }

        let single = vocab
            .iter()
            .filter_map(|(token, id)| Some((single(token)?, *id)));
        let mut single: Vec<(char, TokenId)> = single.collect();
        single.sort_unstable();
        let most = single.last().map_or(' ', |(c, _)| (*c).max(' '));
        let mut characters = vec![NONE; most as usize + 1];
        for (c, id) in single {
            if let Some(place) = characters.get_mut(c as usize) {
                *place = id;
            }
        }
        if let Some(place) = characters.get_mut(' ' as usize) {
            *place = blank;
        }

        let mut sorted: Vec<((TokenId, TokenId), (u32, TokenId))> = by_pair.into_iter().collect();
        sorted.sort_unstable();
        let lefts = sorted.last().map_or(0, |((left, _), _)| left + 1);
        let mut ends = vec![0; lefts as usize];
        for ((left, _), _) in &sorted {
            if let Some(end) = ends.get_mut(*left as usize) {
                *end += 1;
            }
        }
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        let pair = |((_, right), (rank, made))| Pair { right, rank, made };
        Ok(Merges {
            characters,
            bytes,
            ends,
            pairs: sorted.into_iter().map(pair).collect(),
            seams,
        })
    }

    /// Whether anything may be joined across two characters.
    pub(super) fn may_join(&self, before: char, behind: char) -> bool {
        self.seams.has(before, behind)
    }

    fn pair(&self, left: TokenId, right: TokenId) -> Option<Pair> {
        let left = left as usize;
        let end = *self.ends.get(left)? as usize;
        let start = match left.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        let pairs = self.pairs.get(start..end)?;
        let place = pairs.binary_search_by_key(&right, |pair| pair.right).ok()?;
        pairs.get(place).copied()
    }

    /// Appends the tokens of a stretch of text, in which plain blanks stand for [`BLANK`].
    pub(super) fn encode(&self, text: &str, work: &mut Work, ids: &mut Vec<TokenId>) {
        let Work { symbols, queue } = work;
        symbols.clear();
        queue.clear();
        let mut push = |id: TokenId| {
            let at = symbols.len() as u32;
            symbols.push(Symbol {
                id,
                before: at.wrapping_sub(1),
                behind: at + 1,
            });
        };
        for c in text.chars() {
            match self.characters.get(c as usize) {
                Some(&id) if id != NONE => push(id),
                _ => {
                    let mut own = [0; 4];
                    let own = c.encode_utf8(&mut own).bytes();
                    own.for_each(|byte| {
                        push(self.bytes.get(usize::from(byte)).copied().unwrap_or(NONE))
                    });
                }
            }
        }
        if let Some(last) = symbols.last_mut() {
            last.behind = NONE;
        }
        queue.extend(symbols.windows(2).zip(0..).filter_map(|(two, at)| {
            let [left, right] = two else { return None };
            Some(Reverse((self.pair(left.id, right.id)?.rank, at)))
        }));
        while let Some(Reverse((rank, at))) = queue.pop() {
            self.join(symbols, queue, rank, at);
        }
        ids.extend(
            symbols
                .iter()
                .map(|symbol| symbol.id)
                .filter(|&id| id != NONE),
        );
    }

    /// Joins the symbol at a place with the one behind it, if they still are the pair of this rank.
    fn join(
        &self,
        symbols: &mut [Symbol],
        queue: &mut BinaryHeap<Reverse<(u32, u32)>>,
        rank: u32,
        at: u32,
    ) -> Option<()> {
        let left = *symbols.get(at as usize)?;
        let right = *symbols.get(left.behind as usize)?;
        let pair = self
            .pair(left.id, right.id)
            .filter(|pair| pair.rank == rank)?;
        symbols.get_mut(left.behind as usize)?.id = NONE;
        let joined = symbols.get_mut(at as usize)?;
        joined.id = pair.made;
        joined.behind = right.behind;
        if let Some(behind) = symbols.get_mut(right.behind as usize) {
            behind.before = at;
            if let Some(next) = self.pair(pair.made, behind.id) {
                queue.push(Reverse((next.rank, at)));
            }
        }
        let before = symbols.get(left.before as usize)?;
        let next = self.pair(before.id, pair.made)?;
        queue.push(Reverse((next.rank, left.before)));
        Some(())
    }
}

/// The character that a token is, if it is one.
fn single(token: &str) -> Option<char> {
    let mut characters = token.chars();
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

/// Characters that stand side by side in tokens that merges make. May hold others too, which costs a cut, never fewer.
struct Seams {
    ascii: Vec<u64>,
    others: Vec<u64>,
}

impl Seams {
    /// Bits for pairs that are not both ASCII: 32 for each that the largest vocabulary has.
    const BITS: u32 = 20;

    fn new() -> Seams {
        Seams {
            ascii: vec![0; 128 * 128 / 64],
            others: vec![0; 1 << (Self::BITS - 6)],
        }
    }

    fn add(&mut self, token: &str) {
        let token = token.chars().map(|c| if c == BLANK { ' ' } else { c });
        for (before, behind) in token.clone().zip(token.skip(1)) {
            let (table, bit) = match Self::place(before, behind) {
                (true, bit) => (&mut self.ascii, bit),
                (false, bit) => (&mut self.others, bit),
            };
            if let Some(word) = table.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    fn has(&self, before: char, behind: char) -> bool {
        let (table, bit) = match Self::place(before, behind) {
            (true, bit) => (&self.ascii, bit),
            (false, bit) => (&self.others, bit),
        };
        table
            .get(bit / 64)
            .is_none_or(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Which table, and the bit in it.
    fn place(before: char, behind: char) -> (bool, usize) {
        let (before, behind) = (before as u32, behind as u32);
        match before | behind {
            0..128 => (true, (before << 7 | behind) as usize),
            _ => {
                let mixed = before.wrapping_mul(0x9e37_79b1) ^ behind.wrapping_mul(0x85eb_ca77);
                (
                    false,
                    (mixed.wrapping_mul(0xc2b2_ae3d) >> (32 - Self::BITS)) as usize,
                )
            }
        }
    }
}
