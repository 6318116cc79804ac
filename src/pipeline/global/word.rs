//! What became of one record, in four bytes: with the rare [`Fit`](super::fit::Fit), all that planning needs.

use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::Reason;

/// Bits that a length takes. The longest record is 64 MiB of text, so an example beyond it takes a template that
/// writes several tokens for each byte.
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
                // Of a source that is not there, nothing is counted.
                Reason::BadRecord | Reason::SourceRemoved => (BAD, 0),
            },
            Fate::Bad => (BAD, 0),
            Fate::Unreadable => (UNREADABLE, 0),
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
            BAD => Some(Fate::Bad),
            UNREADABLE => Some(Fate::Unreadable),
            _ => None,
        }
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

    #[test]
    fn a_word_says_what_it_was_made_of() {
        for tokens in [0, 1, 4096, LONGEST] {
            let reasons = [Reason::NoTrainedToken, Reason::NoMarker, Reason::Overlong];
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
        assert_eq!(Word(u32::MAX).fate(), None);
        assert!(length(u64::from(LONGEST)).is_ok() && length(u64::from(LONGEST) + 1).is_err());
    }
}
