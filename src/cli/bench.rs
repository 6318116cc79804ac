//! `packmill bench`: where the time goes.

use crate::Stage;
use crate::cli::args;
use crate::cli::show::number::{duration, rate};
use crate::cli::show::plot::{self, Kind, Part, Threads};
use crate::cli::show::{self, StageStats, stage_table};
use crate::cli::stdio;
use crate::cli::stream::{Plan, Run, drive, limit};
use crate::stats;
use anyhow::{Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &args::Bench, started: Instant) -> Result<()> {
    let mut recipe = crate::cli::recipe(&args.source)?;
    limit(&mut recipe, None, args.steps)?;
    let (run, error) = drive(recipe, Plan::to(args.steps), started)?;
    if let Some(error) = error {
        return Err(error.into());
    }
    if let Some(file) = &args.plot {
        std::fs::write(file, picture(&run))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let busy = run.stats.iter().map(|stage| stage.busy).sum();
    let tokens = run.progress.tokens;
    if args.json {
        let mut all = json(&run);
        all["feeds"] = show::feeds_json(tokens, busy, args.rate);
        stdio::print(format_args!("{all}\n"))
    } else {
        let report = run.report().to_text();
        let feeds = show::feeds(tokens, busy, args.rate);
        stdio::print(format_args!("{report}\n{}\n{feeds}", stages(&run)))
    }
}

fn json(run: &Run) -> serde_json::Value {
    let stages: Vec<_> = run
        .stats
        .iter()
        .map(|s| {
            json!({
                "stage": s.stage.to_string(),
                "items": s.items,
                "bytes": s.bytes,
                "busy_s": s.busy.as_secs_f64(),
                "blocked_in_s": s.blocked_in.as_secs_f64(),
                "blocked_out_s": s.blocked_out.as_secs_f64(),
            })
        })
        .collect();
    let mut all = run.json();
    all["workers"] = json!(run.workers);
    all["stages"] = json!(stages);
    all
}

fn stages(run: &Run) -> String {
    let names: Vec<String> = run.stats.iter().map(|s| s.stage.to_string()).collect();
    let stages: Vec<StageStats<'_>> = run
        .stats
        .iter()
        .zip(&names)
        .map(|(s, stage)| StageStats {
            stage,
            items: s.items,
            bytes: s.bytes,
            threads: match s.stage {
                Stage::Pack | Stage::Batch | Stage::Channel => 1,
                _ => u32::try_from(run.workers).unwrap_or(u32::MAX),
            },
            busy: s.busy,
            blocked_in: s.blocked_in,
            blocked_out: s.blocked_out,
        })
        .collect();
    stage_table(&stages)
}

/// What the workers did, and what the threads did that pack rows and fill batches.
fn picture(run: &Run) -> String {
    let stage = |wanted: Stage| run.stats.iter().find(|stats| stats.stage == wanted);
    let time = |wanted: Stage, of: fn(&stats::StageStats) -> Duration| {
        stage(wanted).map_or(Duration::ZERO, of)
    };
    let work = |name, wanted| Part {
        name,
        time: time(wanted, |stats| stats.busy),
        kind: Kind::Work,
    };
    let waiting = |name, time| Part {
        name,
        time,
        kind: Kind::Waiting,
    };
    let workers = u32::try_from(run.workers).unwrap_or(u32::MAX);
    let threads = [
        Threads {
            name: match workers {
                1 => "1 worker".to_owned(),
                many => format!("{many} workers"),
            },
            time: run.elapsed * workers,
            parts: vec![
                work("read", Stage::Read),
                work("render", Stage::Render),
                work("tokenize", Stage::Tokenize),
                work("mask", Stage::Mask),
                waiting(
                    "waiting for work",
                    time(Stage::Read, |stats| stats.blocked_in),
                ),
            ],
        },
        Threads {
            name: "the thread that draws and packs".to_owned(),
            time: run.elapsed,
            parts: vec![
                work("pack", Stage::Pack),
                waiting(
                    "waiting for workers",
                    time(Stage::Pack, |stats| stats.blocked_in),
                ),
                waiting(
                    "waiting for batches to be filled",
                    time(Stage::Pack, |stats| stats.blocked_out),
                ),
            ],
        },
        Threads {
            name: "the thread that fills batches".to_owned(),
            time: run.elapsed,
            parts: vec![
                work("batch", Stage::Batch),
                waiting(
                    "waiting for rows",
                    time(Stage::Batch, |stats| stats.blocked_in),
                ),
                waiting(
                    "waiting for the trainer",
                    time(Stage::Channel, |stats| stats.blocked_out),
                ),
            ],
        },
    ];
    let heading = format!(
        "{} over {}",
        rate(run.progress.tokens, "tokens", run.elapsed),
        duration(run.elapsed)
    );
    plot::svg(&heading, &threads)
}
