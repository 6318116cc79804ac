//! What is left of an example that was partly delivered when its recipe was changed.
//!
//! Pieces of an example follow from its tokens and the recipe, so a pool's entries name only where each begins. That
//! holds no longer where the recipe changed between two of its pieces: what was pending then is a run of tokens that is
//! fitted to rows as if it were an example of its own. The text is a pooled entry's, `-` and the run's end, and `!` where
//! the record is delivered with the run: `3@4096-5000!`.

use super::pooled;
use super::state::{LaneState, Pooled, StreamState};

/// A run of an example's tokens that a fork carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where the example comes from; `first` is the run's first token.
    pub of: Pooled,
    /// The token after its last one.
    pub end: u32,
    /// Whether the record is delivered with the run's last piece.
    pub last: bool,
}

impl Run {
    /// Whether a pooled piece lies in it.
    pub fn holds(&self, piece: &Pooled) -> bool {
        let first = self.of.first;
        Pooled { first, ..*piece } == self.of && (first..self.end).contains(&piece.first)
    }
}

pub(super) fn write(runs: &[Run], streams: &[StreamState]) -> String {
    let texts = runs.iter().map(|run| {
        let mut text = String::new();
        pooled::entry(&mut text, &run.of, streams);
        let last = if run.last { "!" } else { "" };
        format!("{text}-{}{last}", run.end)
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// Reads what [`write`] writes; `Err` names the first run that makes no sense.
pub(super) fn read(text: &str, streams: &[StreamState]) -> Result<Vec<Run>, String> {
    let run = |text: &str| {
        let (run, last) = match text.strip_suffix('!') {
            Some(run) => (run, true),
            None => (text, false),
        };
        let (of, end) = run.split_once('-')?;
        Some(Run {
            of: pooled::pooled(of, streams)?,
            end: u32::try_from(pooled::number(end)?).ok()?,
            last,
        })
    };
    text.split_terminator(' ')
        .map(|text| run(text).ok_or_else(|| format!("carried run `{text}`")))
        .collect()
}

/// Each holds something of the lane's pool, and no two the same piece.
pub(super) fn check(lane: &LaneState) -> Result<(), String> {
    let all = || lane.pool.iter().chain(&lane.waiting);
    for run in &lane.carried {
        if !all().any(|piece| run.holds(piece)) {
            return Err("a carried run of which nothing is pooled".to_owned());
        }
    }
    let holders = |piece: &Pooled| lane.carried.iter().filter(|run| run.holds(piece)).count();
    match all().find(|piece| holders(piece) > 1) {
        Some(_) => Err("carried runs overlap".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let streams = [StreamState {
            position: 10,
            ..StreamState::default()
        }];
        let of = |position, first| Pooled {
            position,
            first,
            ..Pooled::default()
        };
        let runs = [
            Run {
                of: of(7, 4096),
                end: 5000,
                last: true,
            },
            Run {
                of: of(9, 0),
                end: 12,
                last: false,
            },
        ];
        let text = write(&runs, &streams);
        assert_eq!(text, "3@4096-5000! 1-12");
        assert_eq!(read(&text, &streams), Ok(runs.to_vec()));
        assert_eq!(read("", &streams), Ok(Vec::new()));
        for wrong in [
            "3",
            "3-",
            "-5",
            "3-5!!",
            "3--5",
            "11-5",
            "3-5 ",
            "3-4294967296",
        ] {
            let alone = format!("1-12 {wrong}");
            let read = read(&alone, &streams);
            assert!(read.is_err() || wrong.ends_with(' '), "{wrong:?} is taken");
        }
    }
}
