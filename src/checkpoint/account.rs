//! The ledger as a checkpoint has it: what `--json` shows, but for what follows from the rest.
//!
//! Zeroes are left out, and what came in where it is the sum of what became of it. So a source stays below 1 KiB. Files
//! that have all of it are read too.

use crate::ledger::{Account, Count, Ledger, Reason, Unreadable, in_order};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Short {
    records: ShortCount,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    examples: Option<ShortCount>,
    tokens: ShortCount,
    #[serde(default, skip_serializing_if = "is_default")]
    unreadable: Unreadable,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShortCount {
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    taken: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    delivered: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    truncated: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    dropped: BTreeMap<Reason, u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pending: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl From<&Count> for ShortCount {
    fn from(count: &Count) -> Self {
        ShortCount {
            taken: (!count.balanced()).then_some(count.taken),
            delivered: count.delivered,
            truncated: count.truncated,
            dropped: count.dropped.clone(),
            pending: count.pending,
        }
    }
}

impl From<ShortCount> for Count {
    fn from(short: ShortCount) -> Self {
        let mut count = Count {
            taken: 0,
            delivered: short.delivered,
            truncated: short.truncated,
            dropped: short.dropped,
            pending: short.pending,
        };
        // A sum that no count can be is 0, which does not balance.
        let sum = || u64::try_from(count.became()).unwrap_or(0);
        count.taken = short.taken.unwrap_or_else(sum);
        count
    }
}

impl From<&Account> for Short {
    fn from(account: &Account) -> Self {
        let examples = account.own_examples();
        Short {
            records: (&account.records).into(),
            examples: examples.map(ShortCount::from),
            tokens: (&account.tokens).into(),
            unreadable: account.unreadable.clone(),
        }
    }
}

impl From<Short> for Account {
    fn from(short: Short) -> Self {
        Account::of(
            short.records.into(),
            short.examples.map(Count::from),
            short.tokens.into(),
            short.unreadable,
        )
    }
}

pub(super) fn serialize<S: Serializer>(ledger: &Ledger, to: S) -> Result<S::Ok, S::Error> {
    let accounts = ledger.sources.iter();
    to.collect_map(accounts.map(|(name, account)| (name, Short::from(account))))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Ledger, D::Error> {
    in_order::<Short, D>(from)
}

/// The ledger's text.
pub(super) fn text(ledger: &Ledger) -> String {
    #[derive(Serialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(serialize_with = "serialize")] &'a Ledger);

    // Names and numbers have no way to fail.
    serde_json::to_string(&Text(ledger)).unwrap_or_default()
}
