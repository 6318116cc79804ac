//! Where a run spent its time, stage by stage.

use super::number::{bytes, duration, exact, percent, short};
use super::report::{lines_of, table};
use std::time::Duration;

/// What a stage's threads did, their times added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StageStats<'a> {
    /// The stage, as the pipeline names it.
    pub(crate) stage: &'a str,
    /// Items that left it.
    pub(crate) items: u64,
    /// Bytes of them, where they have any.
    pub(crate) bytes: u64,
    /// Threads that can work on it at once, at least 1.
    pub(crate) threads: u32,
    /// Working.
    pub(crate) busy: Duration,
    /// Waiting for the stage before.
    pub(crate) blocked_in: Duration,
    /// Waiting for the stage after.
    pub(crate) blocked_out: Duration,
}

impl StageStats<'_> {
    /// The least time in which its threads could have done this work: the longest of all stages limits the pipeline.
    fn at_least(&self) -> Duration {
        self.busy / self.threads.max(1)
    }

    /// What one core does in a second of work: bytes where they are counted, else items.
    fn speed(&self) -> String {
        let seconds = self.busy.as_secs_f64();
        match self.bytes {
            _ if seconds == 0.0 => "–".to_owned(),
            0 => format!("{}/s", short((self.items as f64 / seconds).round() as u64)),
            some => format!("{}/s", bytes((some as f64 / seconds).round() as u64)),
        }
    }
}

/// A table of the stages and a line that names the slowest. Ends with a line break.
pub(crate) fn stage_table(stages: &[StageStats<'_>]) -> String {
    let mut table = table(
        &[
            "stage",
            "threads",
            "items",
            "bytes",
            "busy",
            "blocked in",
            "blocked out",
            "share",
            "a busy core",
        ],
        &[1, 2, 3, 4, 5, 6, 7, 8],
    );
    let all: Duration = stages.iter().map(|stage| stage.busy).sum();
    for stage in stages {
        table.add_row([
            stage.stage.to_owned(),
            stage.threads.to_string(),
            exact(stage.items),
            match stage.bytes {
                0 => "–".to_owned(),
                some => bytes(some),
            },
            duration(stage.busy),
            duration(stage.blocked_in),
            duration(stage.blocked_out),
            percent(stage.busy.as_secs_f64(), all.as_secs_f64()),
            stage.speed(),
        ]);
    }
    let mut text = lines_of(&table);
    // The first of equals: waiting begins there.
    let slowest = stages.iter().rev().max_by_key(|stage| stage.at_least());
    if let Some(slowest) = slowest.filter(|stage| !stage.busy.is_zero()) {
        text += &format!(
            "slowest: {}, {} of work for {} {}\n",
            slowest.stage,
            duration(slowest.busy),
            slowest.threads,
            if slowest.threads == 1 {
                "thread"
            } else {
                "threads"
            },
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, threads: u32, busy: u64) -> StageStats<'_> {
        StageStats {
            stage: name,
            items: 4_000,
            bytes: if name == "pack" { 0 } else { 3 << 20 },
            threads,
            busy: Duration::from_millis(busy),
            blocked_in: Duration::from_millis(3),
            blocked_out: Duration::from_micros(250),
        }
    }

    #[test]
    fn names_the_stage_that_limits_the_others() {
        let stages = [
            stage("read", 1, 30),
            stage("tokenize", 4, 100),
            stage("pack", 1, 4),
        ];
        insta::assert_snapshot!(stage_table(&stages), @r#"
         stage      threads   items      bytes      busy   blocked in   blocked out   share   a busy core
        ──────────────────────────────────────────────────────────────────────────────────────────────────
         read             1   4,000   3.00 MiB   30.0 ms      3.00 ms        250 µs   22.4%     100 MiB/s
         tokenize         4   4,000   3.00 MiB    100 ms      3.00 ms        250 µs   74.6%    30.0 MiB/s
         pack             1   4,000          –   4.00 ms      3.00 ms        250 µs    3.0%      1.00 M/s
        slowest: read, 30.0 ms of work for 1 thread
        "#);
        let wide = [stage("read", 1, 30), stage("tokenize", 2, 100)];
        assert!(stage_table(&wide).ends_with("slowest: tokenize, 100 ms of work for 2 threads\n"));
        assert!(!stage_table(&[stage("read", 1, 0)]).contains("slowest"));
    }
}
