//! A state as text: JSON, one lane a line, ended by a line that proves that the file is whole.
//!
//! ```text
//! {"version": 1,
//! "step": 20, "rank": 0, …                                      `step_rows` where it is known
//! "fingerprint": {…},
//! "history": [{"step": …, "rows": …, "fingerprint": {…}}],      where it was forked, of rank 0
//! "ledger": {…},
//! "lanes": [
//! {"lane": 0, …, "streams": [[position, place, drawn, barren records, barren blocks]], "pool": "3 2 1", …},
//! …],
//! "hash": "XXH3-128 of all bytes before this line"}
//! ```

use super::account;
use super::fingerprint::Fingerprint;
use super::history::Fork;
use super::pooled;
use super::run;
use super::state::{LaneState, Phase, State, StreamState};
use crate::batch::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::ledger::Ledger;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// Version of the form. A later one must keep the last line, so that it can be told from a damaged file.
const VERSION: u64 = 1;

const HASH: &str = "\"hash\": \"";
const END: &str = "\"}\n";
/// Length of the last line.
const LAST_LINE: usize = HASH.len() + 32 + END.len();

/// What is wrong with a text.
#[derive(Debug)]
pub(super) enum Flaw {
    /// Cut short, edited, or not of this form.
    Damaged(String),
    /// Whole, but of a later form.
    Newer(u64),
}

impl Flaw {
    pub(super) fn in_file(self, origin: &Path) -> Error {
        let (message, remedy) = match self {
            Flaw::Damaged(message) => (
                message,
                "resume from another step, or restore the file from a copy",
            ),
            Flaw::Newer(version) => (
                format!(
                    "the checkpoint is of version {version}, and this packmill knows only {VERSION}"
                ),
                "resume with the packmill that wrote it, or a later one",
            ),
        };
        Error::new(Kind::Checkpoint, Stage::Checkpoint, message)
            .remedy(remedy)
            .in_shard(origin.display())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[allow(dead_code, reason = "looked at before the rest is read")]
    version: u64,
    step: u64,
    rank: u32,
    world_size: u32,
    rows: u64,
    since: u64,
    #[serde(default)]
    step_rows: Option<u64>,
    digest: Digest,
    engine: String,
    phase: Phase,
    fingerprint: Fingerprint,
    #[serde(default)]
    history: Vec<Fork>,
    #[serde(deserialize_with = "account::deserialize")]
    ledger: Ledger,
    lanes: Vec<Lane>,
    #[allow(dead_code, reason = "compared before the rest is read")]
    hash: String,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    lane: u32,
    rows: u64,
    ended: bool,
    weights: u32,
    streams: Vec<[u64; 5]>,
    bad: Vec<(u64, u64)>,
    pool: String,
    waiting: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    carried: String,
}

impl State {
    /// The text of a checkpoint file.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let history = match self.history.is_empty() {
            true => String::new(),
            false => format!("\"history\": {},\n", json(&self.history)),
        };
        let step_rows = self
            .step_rows
            .map_or(String::new(), |rows| format!(" \"step_rows\": {rows},"));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{{\"version\": {VERSION},\n\"step\": {}, \"rank\": {}, \"world_size\": {}, \"rows\": {}, \"since\": {},{}\n\
             \"digest\": \"{}\",\n\"engine\": {},\n\"phase\": {},\n\"fingerprint\": {},\n{}\"ledger\": {},\n\"lanes\": [",
            self.step,
            self.rank,
            self.world_size,
            self.rows,
            self.since,
            step_rows,
            self.digest,
            json(&self.engine),
            json(&self.phase),
            json(&self.fingerprint),
            history,
            account::text(&self.ledger),
        );
        for (index, lane) in self.lanes.iter().enumerate() {
            text.push_str(if index > 0 { ",\n" } else { "\n" });
            text.push_str(&json(&Lane::of(lane)));
        }
        text.push_str("],\n");
        let hash = xxh3_128(text.as_bytes());
        let _ = write!(text, "{HASH}{hash:032x}{END}");
        text
    }

    /// Reads the text of a checkpoint file. `origin` is the file, for errors.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`]: the text is cut short, was edited, is of a newer version, or its numbers make no
    /// sense.
    pub fn parse(text: &str, origin: &Path) -> Result<State> {
        read(text).map_err(|flaw| flaw.in_file(origin))
    }
}

pub(super) fn read(text: &str) -> Result<State, Flaw> {
    let damaged = |message: &str| Flaw::Damaged(message.to_owned());
    let body = text
        .len()
        .checked_sub(LAST_LINE)
        .and_then(|end| text.get(..end));
    let (Some(body), true) = (body, text.ends_with(END)) else {
        return Err(damaged(
            "the file is cut short: its last line, the hash, is missing",
        ));
    };
    let last = format!("{HASH}{:032x}{END}", xxh3_128(body.as_bytes()));
    if text.get(body.len()..) != Some(&last) {
        return Err(damaged(
            "the file was edited or damaged: its last line is not the hash of what stands before it",
        ));
    }
    let wrong = |error: serde_json::Error| Flaw::Damaged(format!("not a checkpoint: {error}"));
    let Version { version } = serde_json::from_str(text).map_err(wrong)?;
    if version > VERSION {
        return Err(Flaw::Newer(version));
    }
    if version < VERSION {
        return Err(Flaw::Damaged(format!("there is no version {version}")));
    }
    let file: File = serde_json::from_str(text).map_err(wrong)?;
    let state = file.state().map_err(Flaw::Damaged)?;
    state.check().map_err(Flaw::Damaged)?;
    Ok(state)
}

impl File {
    fn state(self) -> Result<State, String> {
        Ok(State {
            fingerprint: self.fingerprint,
            rank: self.rank,
            world_size: self.world_size,
            step: self.step,
            rows: self.rows,
            since: self.since,
            step_rows: self.step_rows,
            digest: self.digest,
            ledger: self.ledger,
            phase: self.phase,
            lanes: self
                .lanes
                .into_iter()
                .map(Lane::state)
                .collect::<Result<_, _>>()?,
            engine: self.engine,
            history: self.history,
        })
    }
}

impl Lane {
    fn of(lane: &LaneState) -> Lane {
        Lane {
            lane: lane.lane,
            rows: lane.rows,
            ended: lane.ended,
            weights: lane.weights,
            streams: lane
                .streams
                .iter()
                .map(|s| [s.position, s.place, s.drawn, s.barren.0, s.barren.1])
                .collect(),
            bad: lane.bad.clone(),
            pool: pooled::write(&lane.pool, &lane.streams),
            waiting: pooled::write(&lane.waiting, &lane.streams),
            carried: run::write(&lane.carried, &lane.streams),
        }
    }

    fn state(self) -> Result<LaneState, String> {
        let streams: Vec<StreamState> = self
            .streams
            .iter()
            .map(|&[position, place, drawn, records, blocks]| StreamState {
                position,
                place,
                drawn,
                barren: (records, blocks),
            })
            .collect();
        let pooled = |text: &str| {
            pooled::read(text, &streams)
                .map_err(|wrong| format!("lane {}: {wrong} makes no sense", self.lane))
        };
        Ok(LaneState {
            lane: self.lane,
            rows: self.rows,
            ended: self.ended,
            weights: self.weights,
            pool: pooled(&self.pool)?,
            waiting: pooled(&self.waiting)?,
            carried: run::read(&self.carried, &streams)
                .map_err(|wrong| format!("lane {}: {wrong} makes no sense", self.lane))?,
            streams,
            bad: self.bad,
        })
    }
}

/// Plain structs of texts and numbers: they have no way to fail, and whoever saves a state reads it back first.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
