//! What a source's records show as they come: counted in the order of the stream, or as sums, so that the number of
//! workers changes no warning.

use super::warning::Warning;
use crate::example::{Piece, TokenId};
use crate::ledger::{Account, Reason};

/// Records, or examples, of a source from which on it is judged while the stream goes on.
pub(crate) const SETTLED: u64 = 1_000;

/// The same at a stream's end, where no more will come: of fewer, single ones would make large shares.
pub(crate) const FEW: u64 = 20;

/// One in so many examples that begin with two BOS: a fault of template or rows shows in far more, a row that quotes
/// the token in fewer.
const DOUBLE_BOS_ONE_IN: u64 = 100;

/// One in so many records that train nothing: conversations without an answer are rare, and a mask that does not fit
/// the rows leaves out most.
const UNTRAINED_ONE_IN: u64 = 10;

/// What the delivered examples of one source show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Examples whose beginning was delivered.
    pub(crate) examples: u64,
    /// Those of them that are one row, whole.
    pub(crate) whole_rows: u64,
    /// Those that begin with BOS, and BOS again.
    pub(crate) double_bos: u64,
}

impl Signs {
    /// Counts a piece on its way into a row of `row` tokens.
    pub(crate) fn piece(&mut self, piece: &Piece, row: usize, bos: Option<TokenId>) {
        if piece.tokens.start > 0 {
            return;
        }
        self.examples += 1;
        self.whole_rows += u64::from(piece.len() == row);
        self.double_bos += u64::from(begins_twice(&piece.example.ids, bos));
    }
}

/// Whether ids begin with BOS, and BOS again.
pub(crate) fn begins_twice(ids: &[TokenId], bos: Option<TokenId>) -> bool {
    bos.is_some_and(|bos| ids.starts_with(&[bos, bos]))
}

/// Whether a mask that does not fit the rows would leave out a record so.
fn is_untrained(reason: Reason) -> bool {
    matches!(reason, Reason::NoTrainedToken | Reason::NoMarker)
}

/// Whether a record is left out before anybody asks what of it is trained.
fn is_set_aside(reason: Reason) -> bool {
    !is_untrained(reason) && reason != Reason::Overlong
}

/// All that is judged of one source.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) signs: Signs,
    /// Records read, and those of them without a trained token or a marker.
    pub(crate) records: u64,
    pub(crate) untrained: u64,
    /// Records dropped for their length.
    pub(crate) too_long: u64,
    /// Tokens cut off.
    pub(crate) cut_tokens: u64,
}

impl Seen {
    /// With the part of the ledger that belongs to the source.
    pub(crate) fn new(signs: Signs, account: &Account) -> Self {
        let dropped = account.records.dropped.iter();
        let sum = |of: fn(Reason) -> bool| -> u64 {
            let those = dropped.clone().filter(|(reason, _)| of(**reason));
            those.map(|(_, amount)| *amount).sum()
        };
        Seen {
            signs,
            records: account.records.taken.saturating_sub(sum(is_set_aside)),
            untrained: sum(is_untrained),
            too_long: sum(|reason| reason == Reason::Overlong),
            cut_tokens: account.tokens.truncated,
        }
    }

    /// Adds a record by its examples: for each why there is none, if there is none.
    pub(crate) fn record(&mut self, examples: impl Iterator<Item = Option<Reason>> + Clone) {
        let all_are =
            |of: fn(Reason) -> bool| examples.clone().all(|reason| reason.is_some_and(of));
        if all_are(is_set_aside) {
            return;
        }
        self.records += 1;
        self.untrained += u64::from(all_are(is_untrained));
    }

    /// Adds what other records of the source show.
    pub(crate) fn add(&mut self, more: &Seen) {
        let Seen {
            signs,
            records,
            untrained,
            too_long,
            cut_tokens,
        } = more;
        self.signs.examples += signs.examples;
        self.signs.whole_rows += signs.whole_rows;
        self.signs.double_bos += signs.double_bos;
        self.records += records;
        self.untrained += untrained;
        self.too_long += too_long;
        self.cut_tokens += cut_tokens;
    }

    /// What it gives cause for, if at least `least` records or examples were seen. `bos` is how BOS is written.
    pub(crate) fn warnings(&self, source: &str, row: usize, bos: &str, least: u64) -> Vec<Warning> {
        let mut found = Vec::new();
        let Signs {
            examples,
            whole_rows,
            double_bos,
        } = self.signs;
        let source = || source.to_owned();
        if examples >= least && double_bos > 0 && double_bos * DOUBLE_BOS_ONE_IN >= examples {
            found.push(Warning::DoubleBos {
                source: source(),
                token: bos.to_owned(),
                doubled: double_bos,
                examples,
            });
        }
        let cut = if self.cut_tokens > 0 { whole_rows } else { 0 };
        let all = examples + self.too_long;
        if all >= least && (cut + self.too_long) * 2 > all {
            found.push(Warning::MostRowsTruncated {
                source: source(),
                sequence_length: row as u64,
                cut,
                dropped: self.too_long,
                examples: all,
                tokens: self.cut_tokens,
            });
        }
        if self.records >= least
            && self.untrained > 0
            && self.untrained * UNTRAINED_ONE_IN >= self.records
        {
            found.push(Warning::ManyRecordsUntrained {
                source: source(),
                untrained: self.untrained,
                records: self.records,
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(seen: &Seen, least: u64) -> Vec<&'static str> {
        let warnings = seen.warnings("a", 8, "<s>", least);
        warnings.iter().map(Warning::name).collect()
    }

    #[test]
    fn shares_decide_and_few_records_say_nothing() {
        let mut seen = Seen {
            signs: Signs {
                examples: 100,
                whole_rows: 50,
                double_bos: 0,
            },
            records: 100,
            untrained: 9,
            too_long: 0,
            cut_tokens: 7,
        };
        assert_eq!(names(&seen, FEW), [""; 0]);
        seen.signs.whole_rows = 51;
        assert_eq!(names(&seen, FEW), ["most_rows_truncated"]);
        seen.cut_tokens = 0;
        assert_eq!(
            names(&seen, FEW),
            [""; 0],
            "rows that are full, and nothing cut"
        );
        (seen.signs.double_bos, seen.untrained) = (1, 10);
        assert_eq!(names(&seen, FEW), ["double_bos", "many_records_untrained"]);
        seen.too_long = 101;
        assert!(names(&seen, FEW).contains(&"most_rows_truncated"));
        assert_eq!(names(&seen, SETTLED), [""; 0]);
    }

    #[test]
    fn records_that_a_filter_leaves_out_say_nothing() {
        let mut seen = Seen::default();
        let mut record = |reasons: &[Option<Reason>]| {
            seen.record(reasons.iter().copied());
            (seen.records, seen.untrained)
        };
        assert_eq!(record(&[Some(Reason::BadRecord)]), (0, 0));
        assert_eq!(record(&[Some(Reason::NoMarker)]), (1, 1));
        assert_eq!(record(&[Some(Reason::NoTrainedToken), None]), (2, 1));
        let mut account = Account::default();
        account.records.taken = 10;
        for reason in [Reason::BadRecord, Reason::Overlong, Reason::NoMarker] {
            account.records.dropped.insert(reason, 2);
        }
        let seen = Seen::new(Signs::default(), &account);
        assert_eq!((seen.records, seen.untrained, seen.too_long), (8, 2, 2));
    }

    #[test]
    fn bos_counts_where_there_is_one() {
        assert!(begins_twice(&[1, 1, 5], Some(1)));
        for (ids, bos) in [(&[1, 5, 1][..], Some(1)), (&[1], Some(1)), (&[1, 1], None)] {
            assert!(!begins_twice(ids, bos), "{ids:?}");
        }
    }
}
