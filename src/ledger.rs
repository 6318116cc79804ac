//! The account of every record and token, by source and reason.
//!
//! At every step, exactly: records in = delivered + dropped + pending, and
//! tokens in = delivered + truncated + dropped + pending. A record is in when its lane takes it from its
//! source, delivered when the last of its kept pieces is in a row, dropped when none is kept, pending until then.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoTrainedToken => "no_trained_token",
            Reason::NoMarker => "no_marker",
            Reason::Overlong => "overlong",
            Reason::BadRecord => "bad_record",
        })
    }
}

/// Records or tokens of one source, by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Taken from the source.
    #[serde(rename = "in")]
    pub taken: u64,
    /// In rows.
    pub delivered: u64,
    /// Cut off by `overlong: truncate` or `truncate_left`. Tokens only; 0 for records.
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
        let dropped = self.dropped.values().map(|&n| i128::from(n));
        let gone = i128::from(self.delivered) + i128::from(self.truncated);
        i128::from(self.taken) == gone + dropped.sum::<i128>() + i128::from(self.pending)
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Records.
    pub records: Count,
    /// Tokens. Pieces of one example are booked by piece.
    pub tokens: Count,
    /// Rests of blocks that nothing could be read from.
    pub unreadable: Unreadable,
}

impl Account {
    fn add(&mut self, other: &Account) {
        self.records.add(&other.records);
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
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Ledger;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an account for each source's name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ledger, A::Error> {
                let mut sources = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    sources.push(entry);
                }
                Ok(Ledger { sources })
            }
        }

        deserializer.deserialize_map(InOrder)
    }
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

    /// Whether records and tokens of every source balance.
    pub fn balanced(&self) -> bool {
        self.sources
            .iter()
            .all(|(_, a)| a.records.balanced() && a.tokens.balanced())
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

    /// Books a record of `tokens` tokens that a lane took and that was dropped whole.
    pub(crate) fn dropped(&mut self, source: u32, reason: Reason, tokens: u64) {
        if let Some(a) = self.account(source) {
            a.records.taken += 1;
            a.records.drop(reason, 1);
            a.tokens.taken += tokens;
            a.tokens.drop(reason, tokens);
        }
    }

    /// Books a record that a lane took and of which something is kept: `pending` tokens go into its pool.
    pub(crate) fn kept(
        &mut self,
        source: u32,
        pending: u64,
        truncated: u64,
        dropped: &[(Reason, u64)],
    ) {
        if let Some(a) = self.account(source) {
            a.records.taken += 1;
            a.records.pending += 1;
            a.tokens.taken += pending + truncated + dropped.iter().map(|(_, n)| n).sum::<u64>();
            a.tokens.pending = a.tokens.pending.saturating_add_unsigned(pending);
            a.tokens.truncated += truncated;
            for &(reason, tokens) in dropped {
                a.tokens.drop(reason, tokens);
            }
        }
    }

    /// Books a piece of so many tokens that left a pool in a row; `last`: it is its record's last one.
    pub(crate) fn delivered(&mut self, source: u32, tokens: u64, last: bool) {
        if let Some(a) = self.account(source) {
            let records = u64::from(last);
            for (count, amount) in [(&mut a.tokens, tokens), (&mut a.records, records)] {
                // Taken stays: a rank that goes on may deliver what another process took.
                count.pending = count.pending.saturating_sub_unsigned(amount);
                count.delivered += amount;
            }
        }
    }

    /// Books a piece that left the pool in a row that another rank books.
    pub(crate) fn left(&mut self, source: u32, tokens: u64, last: bool) {
        if let Some(a) = self.account(source) {
            let records = u64::from(last);
            for (count, amount) in [(&mut a.tokens, tokens), (&mut a.records, records)] {
                count.pending = count.pending.saturating_sub_unsigned(amount);
                count.taken = count.taken.saturating_sub(amount);
            }
        }
    }

    /// Books a piece in a row, of a pool that another rank books.
    pub(crate) fn passed(&mut self, source: u32, tokens: u64, last: bool) {
        if let Some(a) = self.account(source) {
            let records = u64::from(last);
            for (count, amount) in [(&mut a.tokens, tokens), (&mut a.records, records)] {
                count.taken += amount;
                count.delivered += amount;
            }
        }
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

    #[test]
    fn what_another_process_took_is_delivered_and_balances() {
        let mut ledger = Ledger::new(["a"]);
        ledger.delivered(0, 10, true);
        let account = &ledger.sources[0].1;
        assert_eq!((account.tokens.taken, account.tokens.pending), (0, -10));
        assert!(ledger.balanced());
    }

    #[test]
    fn is_an_object_by_name_in_the_recipes_order() {
        let mut ledger = Ledger::new(["z", "a"]);
        ledger.kept(0, 10, 2, &[(Reason::NoTrainedToken, 3)]);
        ledger.dropped(1, Reason::BadRecord, 0);
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(
            text,
            r#"{"z":{"records":{"in":1,"delivered":0,"truncated":0,"dropped":{},"pending":1},"tokens":{"in":15,"delivered":0,"truncated":2,"dropped":{"no_trained_token":3},"pending":10},"unreadable":{"blocks":0,"bytes":0}},"a":{"records":{"in":1,"delivered":0,"truncated":0,"dropped":{"bad_record":1},"pending":0},"tokens":{"in":0,"delivered":0,"truncated":0,"dropped":{},"pending":0},"unreadable":{"blocks":0,"bytes":0}}}"#
        );
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
        assert!(ledger.balanced());
    }
}
