//! What became of one record, or of one of its examples, in four bytes: with the rare [`Fit`](super::fit::Fit), all
//! that planning needs.

use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::Reason;

/// Bits that a length takes. A record has 16 MiB of text at most unless the recipe says otherwise, so an example beyond it
/// takes limits that are much larger, or a template that writes several tokens for each byte.
const LENGTH_BITS: u32 = 27;

/// The longest example that is planned.
const LONGEST: u32 = (1 << LENGTH_BITS) - 1;

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No record: a blank line.
    Nothing,
    /// One example of so many tokens, before `overlong`.
    Example { tokens: u32 },
    /// Nothing to learn from.
    Dropped { reason: Reason, tokens: u32 },
    /// It is skipped.
    Bad,
    /// The rest of its block cannot be read.
    Unreadable,
    /// Several examples, whose words begin at `at` of the [`Words`]' list.
    Several { at: u32 },
}

/// A [`Fate`] in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u32);

const NOTHING: u32 = 0;
const EXAMPLE: u32 = 1;
const NO_TRAINED_TOKEN: u32 = 2;
const NO_MARKER: u32 = 3;
const OVERLONG: u32 = 4;
const BAD: u32 = 5;
const UNREADABLE: u32 = 6;
const SEVERAL: u32 = 7;
const FILTERED_TOKENS: u32 = 8;
const FILTERED_TURNS: u32 = 9;
const FILTERED_WHERE: u32 = 10;
const HELD_OUT: u32 = 11;
const DUPLICATE: u32 = 12;
const FILTERED_FUNCTION: u32 = 13;

impl Word {
    /// The fate in a word.
    pub(super) fn of(fate: Fate) -> Word {
        let (tag, tokens) = match fate {
            Fate::Nothing => (NOTHING, 0),
            Fate::Example { tokens } => (EXAMPLE, tokens),
            Fate::Dropped { reason, tokens } => match reason {
                Reason::NoTrainedToken => (NO_TRAINED_TOKEN, tokens),
                Reason::NoMarker => (NO_MARKER, tokens),
                Reason::Overlong => (OVERLONG, tokens),
                Reason::FilteredTokens => (FILTERED_TOKENS, tokens),
                Reason::FilteredTurns => (FILTERED_TURNS, tokens),
                Reason::FilteredWhere => (FILTERED_WHERE, tokens),
                Reason::FilteredFunction => (FILTERED_FUNCTION, tokens),
                Reason::HeldOut => (HELD_OUT, tokens),
                Reason::Duplicate => (DUPLICATE, tokens),
                // Of a source that is not there, nothing is counted.
                Reason::BadRecord | Reason::SourceRemoved => (BAD, 0),
            },
            Fate::Bad => (BAD, 0),
            Fate::Unreadable => (UNREADABLE, 0),
            Fate::Several { at } => (SEVERAL, at),
        };
        Word(tag << LENGTH_BITS | tokens.min(LONGEST))
    }

    /// What it says; none for a word that says nothing known.
    pub(super) fn fate(self) -> Option<Fate> {
        let tokens = self.0 & LONGEST;
        let dropped = |reason| Some(Fate::Dropped { reason, tokens });
        match self.0 >> LENGTH_BITS {
            NOTHING => Some(Fate::Nothing),
            EXAMPLE => Some(Fate::Example { tokens }),
            NO_TRAINED_TOKEN => dropped(Reason::NoTrainedToken),
            NO_MARKER => dropped(Reason::NoMarker),
            OVERLONG => dropped(Reason::Overlong),
            FILTERED_TOKENS => dropped(Reason::FilteredTokens),
            FILTERED_TURNS => dropped(Reason::FilteredTurns),
            FILTERED_WHERE => dropped(Reason::FilteredWhere),
            FILTERED_FUNCTION => dropped(Reason::FilteredFunction),
            HELD_OUT => dropped(Reason::HeldOut),
            DUPLICATE => dropped(Reason::Duplicate),
            BAD => Some(Fate::Bad),
            UNREADABLE => Some(Fate::Unreadable),
            SEVERAL => Some(Fate::Several { at: tokens }),
            _ => None,
        }
    }
}

/// What became of records that lie one behind the other: a word each, and of those that are several examples a list
/// beside, in which each has their number and then a word each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    records: Vec<Word>,
    several: Vec<Word>,
}

impl Words {
    /// Of how many records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Each record's word.
    pub(super) fn records(&self) -> &[Word] {
        &self.records
    }

    /// Adds a record's fate.
    pub(super) fn push(&mut self, fate: Fate) {
        self.records.push(Word::of(fate));
    }

    /// Adds a record of several examples.
    ///
    /// # Errors
    /// [`Kind::Limit`] where the list is as long as a word can say.
    pub(super) fn push_several(&mut self, examples: &[Fate]) -> Result<()> {
        let at = length(self.several.len() as u64)?;
        self.records.push(Word::of(Fate::Several { at }));
        self.several.push(Word(length(examples.len() as u64)?));
        self.several
            .extend(examples.iter().map(|fate| Word::of(*fate)));
        Ok(())
    }

    /// Adds the records of another list behind its own.
    ///
    /// # Errors
    /// As [`push_several`](Self::push_several).
    pub(super) fn append(&mut self, more: Words) -> Result<()> {
        let shift = self.several.len() as u64;
        length(shift + more.several.len() as u64)?;
        for word in more.records {
            self.records.push(match word.fate() {
                Some(Fate::Several { at }) => Word::of(Fate::Several {
                    at: length(shift + u64::from(at))?,
                }),
                _ => word,
            });
        }
        self.several.extend(more.several);
        Ok(())
    }

    /// The words of a record's examples: its own where it is one. None for a record that there is not, or where the
    /// list makes no sense.
    pub(super) fn examples(&self, record: usize) -> Option<&[Word]> {
        let word = self.records.get(record..=record)?;
        match word.first()?.fate()? {
            Fate::Several { at } => {
                let count = self.several.get(at as usize)?.0 as usize;
                self.several.get(at as usize + 1..)?.get(..count)
            }
            _ => Some(word),
        }
    }

    /// As bytes: the words in little-endian order.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let words = self.records.iter().chain(&self.several);
        words.flat_map(|word| word.0.to_le_bytes()).collect()
    }

    /// From what [`to_bytes`](Self::to_bytes) gave of so many records.
    pub(super) fn from_bytes(bytes: &[u8], records: usize) -> Option<Words> {
        let (words, rest) = bytes.as_chunks();
        let word = |word: &[u8; 4]| Word(u32::from_le_bytes(*word));
        let (own, several) = words.split_at_checked(records)?;
        rest.is_empty().then(|| Words {
            records: own.iter().map(word).collect(),
            several: several.iter().map(word).collect(),
        })
    }
}

/// An example's length as a word holds it.
pub(super) fn length(tokens: u64) -> Result<u32> {
    let length = u32::try_from(tokens).ok().filter(|n| *n <= LONGEST);
    length.ok_or_else(|| {
        let message =
            format!("an example of {tokens} tokens is longer than plan: global can count");
        Error::new(Kind::Limit, Stage::Pack, message).remedy(format!(
            "keep examples to {LONGEST} tokens, or use plan: lanes"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_says_what_it_was_made_of() {
        for tokens in [0, 1, 4096, LONGEST] {
            let reasons = [
                Reason::NoTrainedToken,
                Reason::NoMarker,
                Reason::Overlong,
                Reason::FilteredTokens,
                Reason::FilteredTurns,
                Reason::FilteredWhere,
                Reason::FilteredFunction,
                Reason::HeldOut,
                Reason::Duplicate,
            ];
            let dropped = reasons.map(|reason| Fate::Dropped { reason, tokens });
            let mut fates = vec![
                Fate::Nothing,
                Fate::Bad,
                Fate::Unreadable,
                Fate::Example { tokens },
            ];
            fates.extend(dropped);
            for fate in fates {
                assert_eq!(Word::of(fate).fate(), Some(fate));
            }
        }
        assert_eq!(Word(31 << LENGTH_BITS).fate(), None);
        assert!(length(u64::from(LONGEST)).is_ok() && length(u64::from(LONGEST) + 1).is_err());
    }

    proptest! {
        /// Records of some examples each, in lists that are put together: the naive twin is a list of lists.
        #[test]
        fn words_of_several_examples_are_theirs(
            lists in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..100_u32, 1..4), 0..5), 0..4)
        ) {
            let mut all = Words::default();
            for list in &lists {
                let mut words = Words::default();
                for record in list {
                    let fates: Vec<Fate> = record.iter().map(|&tokens| Fate::Example { tokens }).collect();
                    match fates.as_slice() {
                        [fate] => words.push(*fate),
                        fates => words.push_several(fates).unwrap(),
                    }
                }
                all.append(words).unwrap();
            }
            let records: Vec<&Vec<u32>> = lists.iter().flatten().collect();
            let bytes = all.to_bytes();
            prop_assert_eq!(Words::from_bytes(&bytes, records.len()), Some(all.clone()));
            prop_assert!(records.is_empty() || Words::from_bytes(&bytes[1..], records.len()).is_none());
            for (index, record) in records.iter().enumerate() {
                let expected: Vec<Word> = record.iter().map(|&tokens| Word::of(Fate::Example { tokens })).collect();
                prop_assert_eq!(all.examples(index), Some(expected.as_slice()));
            }
            prop_assert_eq!(all.examples(records.len()), None);
        }
    }
}
