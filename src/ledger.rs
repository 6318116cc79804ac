//! The account of every record and token, by source and reason.
//!
//! At every step, exactly: records in = delivered + dropped + pending, examples likewise, and
//! tokens in = delivered + truncated + dropped + pending. A record is in when its lane takes it from its
//! source, delivered when the last of its kept pieces is in a row, dropped when none is kept, pending until then.

use crate::example::Ends;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Why a record, or a piece of one, was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// No label is left after the shift.
    NoTrainedToken,
    /// `train: markers` found no response marker, or none of the instruction marker that the recipe names.
    NoMarker,
    /// Longer than a row, with `overlong: drop`.
    Overlong,
    /// It could not be read, understood, rendered or masked, with `on_bad_record: skip`.
    BadRecord,
    /// Shorter or longer than `filter.tokens` allows.
    FilteredTokens,
    /// Fewer or more messages than `filter.turns` allows.
    FilteredTurns,
    /// `filter.where` is not true of it.
    FilteredWhere,
    /// A function of whoever embeds packmill left it out.
    FilteredFunction,
    /// Held out for evaluation by `split`.
    HeldOut,
    /// A copy of a record that came before, with `duplicates: drop` or `drop_in_block`.
    Duplicate,
    /// A pool held it when its source was taken out of the recipe, by a fork.
    SourceRemoved,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoTrainedToken => "no_trained_token",
            Reason::NoMarker => "no_marker",
            Reason::Overlong => "overlong",
            Reason::BadRecord => "bad_record",
            Reason::FilteredTokens => "filtered_tokens",
            Reason::FilteredTurns => "filtered_turns",
            Reason::FilteredWhere => "filtered_where",
            Reason::FilteredFunction => "filtered_function",
            Reason::HeldOut => "held_out",
            Reason::Duplicate => "duplicate",
            Reason::SourceRemoved => "source_removed",
        })
    }
}

/// What becomes of one record when a lane takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intake {
    /// Tokens that go into the lane's pool.
    pub(crate) pending_tokens: u64,
    /// Examples of which something goes there.
    pub(crate) pending_examples: u64,
    /// Tokens cut off.
    pub(crate) truncated_tokens: u64,
    /// What is dropped, in order.
    pub(crate) dropped: Vec<Loss>,
}

/// What is dropped of a record for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Why.
    pub(crate) reason: Reason,
    /// Examples of which nothing is kept; 0 where pieces of a kept one are dropped.
    pub(crate) examples: u64,
    /// Tokens.
    pub(crate) tokens: u64,
}

impl Intake {
    /// A record of which no example was made.
    pub(crate) fn none(reason: Reason) -> Self {
        let loss = Loss {
            reason,
            examples: 0,
            tokens: 0,
        };
        Intake {
            dropped: vec![loss],
            ..Intake::default()
        }
    }

    /// Adds an example of which so many tokens are kept, cut off, and dropped for a reason; whether any are kept.
    pub(crate) fn example(
        &mut self,
        kept: u64,
        truncated: u64,
        dropped: Option<(Reason, u64)>,
    ) -> bool {
        self.pending_tokens += kept;
        self.pending_examples += u64::from(kept > 0);
        self.truncated_tokens += truncated;
        self.dropped.extend(dropped.map(|(reason, tokens)| Loss {
            reason,
            examples: u64::from(kept == 0),
            tokens,
        }));
        kept > 0
    }

    /// Why nothing is kept of it, where nothing is.
    fn reason(&self) -> Reason {
        let first = self.dropped.first();
        first.map_or(Reason::NoTrainedToken, |loss| loss.reason)
    }
}

/// Records, examples or tokens of one source, by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Taken from the source.
    #[serde(rename = "in")]
    pub taken: u64,
    /// In rows.
    pub delivered: u64,
    /// Cut off by `overlong: truncate` or `truncate_left`. Tokens only; 0 for records and examples.
    pub truncated: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// In a pool. Below 0 in a rank's part after a resume: rank 0 takes over the sums, and another rank then
    /// delivers what it never took in.
    pub pending: i64,
}

impl Count {
    /// Whether what came in is all accounted for.
    pub fn balanced(&self) -> bool {
        i128::from(self.taken) == self.became()
    }

    /// All that something became: what came in, where it balances.
    pub(crate) fn became(&self) -> i128 {
        let dropped = self.dropped.values().map(|&n| i128::from(n));
        let gone = i128::from(self.delivered) + i128::from(self.truncated);
        gone + dropped.sum::<i128>() + i128::from(self.pending)
    }

    fn add(&mut self, other: &Count) {
        self.taken = self.taken.saturating_add(other.taken);
        self.delivered = self.delivered.saturating_add(other.delivered);
        self.truncated = self.truncated.saturating_add(other.truncated);
        for (&reason, &amount) in &other.dropped {
            let sum = self.dropped.entry(reason).or_default();
            *sum = sum.saturating_add(amount);
        }
        self.pending = self.pending.saturating_add(other.pending);
    }

    /// The examples of so many records, where each that could be read is one.
    fn one_example_each(&self) -> Count {
        let mut examples = self.clone();
        if let Some(bad) = examples.dropped.remove(&Reason::BadRecord) {
            examples.taken = examples.taken.saturating_sub(bad);
        }
        examples
    }

    fn drop(&mut self, reason: Reason, amount: u64) {
        if amount > 0 {
            *self.dropped.entry(reason).or_default() += amount;
        }
    }
}

/// What could not be read at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Blocks with an unreadable rest.
    pub blocks: u64,
    /// Stored (compressed) bytes in those rests.
    pub bytes: u64,
}

/// The account of one source.
///
/// As JSON, `examples` is left out where every record that could be read is one example, as what it would say follows
/// from `records`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Account {
    /// Records.
    pub records: Count,
    /// Examples: one a record, or several with `render: per_turn`. A record that could not be read made none.
    pub examples: Count,
    /// Tokens. Pieces of one example are booked by piece.
    pub tokens: Count,
    /// Rests of blocks that nothing could be read from.
    pub unreadable: Unreadable,
}

/// An account as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    records: Count,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    examples: Option<Count>,
    tokens: Count,
    unreadable: Unreadable,
}

impl From<Account> for Written {
    fn from(account: Account) -> Self {
        let examples = account.own_examples().cloned();
        Written {
            records: account.records,
            examples,
            tokens: account.tokens,
            unreadable: account.unreadable,
        }
    }
}

impl From<Written> for Account {
    fn from(written: Written) -> Self {
        Account::of(
            written.records,
            written.examples,
            written.tokens,
            written.unreadable,
        )
    }
}

impl Account {
    /// Without `examples`, every record that could be read is one.
    pub(crate) fn of(
        records: Count,
        examples: Option<Count>,
        tokens: Count,
        unreadable: Unreadable,
    ) -> Self {
        Account {
            examples: examples.unwrap_or_else(|| records.one_example_each()),
            records,
            tokens,
            unreadable,
        }
    }

    /// The examples, where they do not follow from the records: where a record is several, or was.
    pub fn own_examples(&self) -> Option<&Count> {
        let each = self.records.one_example_each();
        (self.examples != each).then_some(&self.examples)
    }

    fn add(&mut self, other: &Account) {
        self.records.add(&other.records);
        self.examples.add(&other.examples);
        self.tokens.add(&other.tokens);
        let (sum, more) = (&mut self.unreadable, &other.unreadable);
        sum.blocks = sum.blocks.saturating_add(more.blocks);
        sum.bytes = sum.bytes.saturating_add(more.bytes);
    }
}

/// The account of all sources, in the recipe's order. As JSON, an object with the sources' names for keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One account a source, with its name.
    pub sources: Vec<(String, Account)>,
}

impl Serialize for Ledger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.sources.iter().map(|(name, account)| (name, account)))
    }
}

impl<'de> Deserialize<'de> for Ledger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        in_order::<Account, D>(deserializer)
    }
}

/// A ledger whose accounts are written as `A`, with its sources in the order in which they stand.
pub(crate) fn in_order<'de, A, D>(deserializer: D) -> Result<Ledger, D::Error>
where
    A: Deserialize<'de> + Into<Account>,
    D: Deserializer<'de>,
{
    struct InOrder<A>(PhantomData<A>);

    impl<'de, A: Deserialize<'de> + Into<Account>> Visitor<'de> for InOrder<A> {
        type Value = Ledger;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an account for each source's name")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Ledger, M::Error> {
            let mut sources = Vec::new();
            while let Some((name, account)) = map.next_entry::<String, A>()? {
                sources.push((name, account.into()));
            }
            Ok(Ledger { sources })
        }
    }

    deserializer.deserialize_map(InOrder::<A>(PhantomData))
}

impl Ledger {
    /// An empty ledger of the sources named.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        Ledger {
            sources: names
                .into_iter()
                .map(|n| (n.as_ref().to_owned(), Account::default()))
                .collect(),
        }
    }

    /// Whether records, examples and tokens of every source balance.
    pub fn balanced(&self) -> bool {
        self.sources.iter().all(|(_, a)| {
            [&a.records, &a.examples, &a.tokens]
                .into_iter()
                .all(Count::balanced)
        })
    }

    /// Adds what another rank, or an earlier process, booked. Sources go by name; one that is not there yet
    /// comes last.
    pub fn add(&mut self, other: &Ledger) {
        for (name, more) in &other.sources {
            match self.sources.iter_mut().find(|(known, _)| known == name) {
                Some((_, account)) => account.add(more),
                None => self.sources.push((name.clone(), more.clone())),
            }
        }
    }

    fn account(&mut self, source: u32) -> Option<&mut Account> {
        self.sources
            .get_mut(source as usize)
            .map(|(_, account)| account)
    }

    /// Books a record that a lane took.
    pub(crate) fn took(&mut self, source: u32, intake: &Intake) {
        let Some(a) = self.account(source) else {
            return;
        };
        a.records.taken += 1;
        match intake.pending_examples {
            0 => a.records.drop(intake.reason(), 1),
            _ => a.records.pending += 1,
        }
        let (examples, tokens) = (&mut a.examples, &mut a.tokens);
        examples.taken += intake.pending_examples;
        examples.pending = examples
            .pending
            .saturating_add_unsigned(intake.pending_examples);
        tokens.taken += intake.pending_tokens + intake.truncated_tokens;
        tokens.pending = tokens
            .pending
            .saturating_add_unsigned(intake.pending_tokens);
        tokens.truncated += intake.truncated_tokens;
        for lost in &intake.dropped {
            examples.taken += lost.examples;
            examples.drop(lost.reason, lost.examples);
            tokens.taken += lost.tokens;
            tokens.drop(lost.reason, lost.tokens);
        }
    }

    /// Books a piece of so many tokens that left a pool in a row.
    pub(crate) fn delivered(&mut self, source: u32, tokens: u64, ends: Ends) {
        for (count, amount) in self.counts(source, tokens, ends) {
            // Of what came in with an earlier process, perhaps.
            count.pending = count.pending.saturating_sub_unsigned(amount);
            count.delivered += amount;
        }
    }

    /// Books a piece that left the pool in a row that another rank books.
    pub(crate) fn left(&mut self, source: u32, tokens: u64, ends: Ends) {
        for (count, amount) in self.counts(source, tokens, ends) {
            count.pending = count.pending.saturating_sub_unsigned(amount);
            count.taken = count.taken.saturating_sub(amount);
        }
    }

    /// Books a piece in a row, of a pool that another rank books.
    pub(crate) fn passed(&mut self, source: u32, tokens: u64, ends: Ends) {
        for (count, amount) in self.counts(source, tokens, ends) {
            count.taken += amount;
            count.delivered += amount;
        }
    }

    /// What a piece of a source is counted in, and how much of it.
    fn counts(
        &mut self,
        source: u32,
        tokens: u64,
        ends: Ends,
    ) -> impl Iterator<Item = (&mut Count, u64)> {
        self.account(source).into_iter().flat_map(move |a| {
            [
                (&mut a.tokens, tokens),
                (&mut a.examples, u64::from(ends >= Ends::Example)),
                (&mut a.records, u64::from(ends == Ends::Record)),
            ]
        })
    }

    /// Books an unreadable rest of a block.
    pub(crate) fn unreadable(&mut self, source: u32, bytes: u64) {
        if let Some(a) = self.account(source) {
            a.unreadable.blocks += 1;
            a.unreadable.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(pending: u64, truncated: u64, dropped: &[(Reason, u64, u64)]) -> Intake {
        let loss = |&(reason, examples, tokens)| Loss {
            reason,
            examples,
            tokens,
        };
        Intake {
            pending_tokens: pending,
            pending_examples: u64::from(pending > 0),
            truncated_tokens: truncated,
            dropped: dropped.iter().map(loss).collect(),
        }
    }

    /// A rank that goes on delivers what another had taken in.
    #[test]
    fn what_is_delivered_need_not_have_come_in_here() {
        let mut own = Ledger::new(["a"]);
        own.delivered(0, 10, Ends::Record);
        assert_eq!(own.sources[0].1.tokens.taken, 0);
        assert!(own.balanced());
        let mut before = Ledger::new(["a"]);
        before.took(0, &intake(10, 0, &[]));
        own.add(&before);
        let tokens = &own.sources[0].1.tokens;
        assert_eq!(
            (tokens.taken, tokens.delivered, tokens.pending),
            (10, 10, 0)
        );
    }

    #[test]
    fn is_an_object_by_name_in_the_recipes_order() {
        let mut ledger = Ledger::new(["z", "a"]);
        ledger.took(0, &intake(10, 2, &[(Reason::NoTrainedToken, 0, 3)]));
        ledger.took(1, &Intake::none(Reason::BadRecord));
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(
            text,
            r#"{"z":{"records":{"in":1,"delivered":0,"truncated":0,"dropped":{},"pending":1},"tokens":{"in":15,"delivered":0,"truncated":2,"dropped":{"no_trained_token":3},"pending":10},"unreadable":{"blocks":0,"bytes":0}},"a":{"records":{"in":1,"delivered":0,"truncated":0,"dropped":{"bad_record":1},"pending":0},"tokens":{"in":0,"delivered":0,"truncated":0,"dropped":{},"pending":0},"unreadable":{"blocks":0,"bytes":0}}}"#
        );
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
        assert!(ledger.balanced());
    }

    #[test]
    fn examples_are_written_where_a_record_is_several() {
        let mut ledger = Ledger::new(["a"]);
        let several = Intake {
            pending_tokens: 20,
            pending_examples: 3,
            ..Intake::default()
        };
        ledger.took(0, &several);
        for ends in [Ends::Nothing, Ends::Example] {
            ledger.delivered(0, 4, ends);
        }
        let text = serde_json::to_string(&ledger).unwrap();
        let expected =
            r#""examples":{"in":3,"delivered":1,"truncated":0,"dropped":{},"pending":2}"#;
        assert!(text.contains(expected), "{text}");
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
        let records = &ledger.sources[0].1.records;
        assert_eq!((records.delivered, records.pending), (0, 1));
        ledger.delivered(0, 4, Ends::Example);
        ledger.delivered(0, 8, Ends::Record);
        let account = &ledger.sources[0].1;
        assert!(ledger.balanced());
        assert_eq!((account.records.delivered, account.records.pending), (1, 0));
        assert_eq!((account.examples.delivered, account.tokens.pending), (3, 0));
    }
}
