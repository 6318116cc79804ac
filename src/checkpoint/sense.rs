//! Whether the numbers of a state make sense: what no stream of its fingerprint could have reached is refused,
//! before anything is computed from it.

use super::run;
use super::state::{LaneState, Phase, Pooled, State};
use crate::ledger::{Account, Count};
use std::collections::BTreeSet;

/// Counts stay where every reader of JSON has them exactly, and where a few of them can be added.
const MOST: u64 = 1 << 53;

impl State {
    /// `Err` says, as a clause, the first thing that cannot be.
    pub(super) fn check(&self) -> Result<(), String> {
        let global = self.fingerprint.is_global();
        // One plan of all rows, which any number of ranks may share out.
        let lanes = if global {
            Some(1)
        } else {
            self.fingerprint.lanes()
        };
        let Some(lanes) = lanes else {
            return Err("the fingerprint does not say how many lanes there are".to_owned());
        };
        if !self.fingerprint.is_sound() {
            return Err(
                "the fingerprint's groups of shards are not as many as there must be".to_owned(),
            );
        }
        let (rank, world) = (self.rank, self.world_size);
        if rank >= world || !(global || lanes.is_multiple_of(world)) {
            return Err(format!(
                "rank {rank} of {world} with {lanes} lanes makes no sense"
            ));
        }
        let step_rows = self.step_rows.unwrap_or(0);
        for (what, count) in [
            ("step", self.step),
            ("rows", self.rows),
            ("step_rows", step_rows),
        ] {
            at_most(what, count)?;
        }
        if self.since > self.rows {
            return Err(format!("since is {}, past row {}", self.since, self.rows));
        }
        let own = (rank..lanes).step_by(world as usize);
        if !own.eq(self.lanes.iter().map(|lane| lane.lane)) {
            return Err(format!(
                "the lanes are not those of rank {rank} of {world}, with {lanes} in all"
            ));
        }
        match global {
            true => self.check_plan()?,
            false => self.check_rows(lanes)?,
        }
        self.check_ledger()?;
        self.lanes.iter().try_for_each(|lane| {
            self.check_lane(lane, lanes)
                .map_err(|wrong| format!("lane {}: {wrong}", lane.lane))
        })
    }

    /// The first rank says where the plan stands, which is the same for all.
    fn check_plan(&self) -> Result<(), String> {
        let ended = self
            .lanes
            .iter()
            .any(|lane| lane.ended || lane.rows != self.rows);
        if ended || self.phase != Phase::Lanes {
            return Err(format!("the plan does not stand at row {}", self.rows));
        }
        Ok(())
    }

    /// Lanes are in turn until one ends, which takes a finite stream and so a single rank.
    fn check_rows(&self, lanes: u32) -> Result<(), String> {
        let last_pool = match self.phase {
            Phase::Lanes => None,
            Phase::LastPool { rows } => Some(rows),
        };
        if last_pool.is_some() && !self.lanes.iter().all(|lane| lane.ended) {
            return Err("the last pool packs before all lanes have ended".to_owned());
        }
        let endless = !self.lanes.iter().any(|lane| lane.ended);
        let wrong = |of: String| Err(format!("{of} do not add up to row {}", self.rows));
        if endless {
            let turns = |lane: u32| {
                let (lanes, lane) = (u64::from(lanes), u64::from(lane));
                self.rows / lanes + u64::from(self.rows % lanes > lane)
            };
            match self.lanes.iter().find(|lane| lane.rows != turns(lane.lane)) {
                Some(lane) => wrong(format!("lane {}'s {} rows", lane.lane, lane.rows)),
                None => Ok(()),
            }
        } else if self.world_size > 1 {
            Err("a lane has ended, which takes a single rank".to_owned())
        } else {
            let rows = self.lanes.iter().map(|lane| u128::from(lane.rows));
            let sum = rows.sum::<u128>() + u128::from(last_pool.unwrap_or(0));
            match sum == u128::from(self.rows) {
                true => Ok(()),
                false => wrong("the lanes' and the last pool's rows".to_owned()),
            }
        }
    }

    fn check_ledger(&self) -> Result<(), String> {
        let sources = self.fingerprint.source_names().count();
        let booked = || self.ledger.sources.iter().map(|(name, _)| name.as_str());
        // Behind the recipe's own, those that a fork removed: nothing of them is pending any more.
        let settled = |(_, account): &(String, Account)| {
            let counts = [&account.records, &account.examples, &account.tokens];
            counts.into_iter().all(|count| count.pending == 0)
        };
        let unique: BTreeSet<&str> = booked().collect();
        if !booked().take(sources).eq(self.fingerprint.source_names())
            || unique.len() != self.ledger.sources.len()
            || !self.ledger.sources.iter().skip(sources).all(settled)
        {
            return Err("the ledger's sources are not those of the fingerprint".to_owned());
        }
        for (name, account) in &self.ledger.sources {
            if !within_bounds(account) {
                return Err(format!("the ledger of source {name} has impossible counts"));
            }
        }
        if !self.ledger.balanced() {
            return Err("the ledger does not balance".to_owned());
        }
        Ok(())
    }

    fn check_lane(&self, lane: &LaneState, lanes: u32) -> Result<(), String> {
        let sources = self.fingerprint.source_names().count();
        let streams = lane.streams.len();
        if (streams != 1 && streams != sources) || lane.bad.len() != sources {
            return Err(format!(
                "{streams} streams and {} counts of bad records for {sources} sources",
                lane.bad.len()
            ));
        }
        for stream in &lane.streams {
            let position = stream.position.checked_mul(u64::from(lanes));
            at_most("a cursor", position.unwrap_or(u64::MAX))?;
            at_most("a place in a block", stream.place)?;
            at_most("tokens drawn", stream.drawn)?;
            at_most("records without an example", stream.barren.0)?;
            at_most("blocks without an example", stream.barren.1)?;
        }
        for &(records, bad) in &lane.bad {
            at_most("records read", records)?;
            if bad > records {
                return Err(format!("{bad} bad records of {records}"));
            }
        }
        check_pool(lane)?;
        run::check(lane)
    }
}

/// Everything pooled was taken before the cursor; a stream's examples come in order and only once.
fn check_pool(lane: &LaneState) -> Result<(), String> {
    let mut last: Vec<Option<Pooled>> = vec![None; lane.streams.len()];
    for pooled in lane.pool.iter().chain(&lane.waiting) {
        let stream = pooled.stream as usize;
        let (Some(cursor), Some(last)) = (lane.streams.get(stream), last.get_mut(stream)) else {
            return Err(format!("a pooled example of stream {stream}"));
        };
        if (pooled.position, pooled.place) >= (cursor.position, cursor.place) {
            return Err("a pooled example lies past the cursor".to_owned());
        }
        if last.is_some_and(|last| coordinates(&last) >= coordinates(pooled)) {
            return Err("pooled examples are out of order".to_owned());
        }
        *last = Some(*pooled);
    }
    Ok(())
}

fn coordinates(pooled: &Pooled) -> (u64, u64, u32, u32) {
    (pooled.position, pooled.place, pooled.example, pooled.first)
}

fn within_bounds(account: &Account) -> bool {
    let bounded = |count: &Count| {
        let booked = [count.taken, count.delivered, count.truncated];
        let mut all = booked.iter().chain(count.dropped.values());
        all.all(|&n| n <= MOST) && count.pending.unsigned_abs() <= MOST
    };
    let unreadable = &account.unreadable;
    bounded(&account.records)
        && bounded(&account.examples)
        && bounded(&account.tokens)
        && unreadable.blocks <= MOST
        && unreadable.bytes <= MOST
}

fn at_most(what: &str, count: u64) -> Result<(), String> {
    match count <= MOST {
        true => Ok(()),
        false => Err(format!("{what}: {count} is more than there can be")),
    }
}
