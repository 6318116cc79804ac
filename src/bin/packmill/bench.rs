//! `packmill bench`: where the time goes.

use crate::args;
use crate::show::{StageStats, stage_table};
use crate::stdio;
use crate::stream::{Plan, Run, drive, limit};
use anyhow::Result;
use packmill::Stage;
use serde_json::json;
use std::time::Instant;

pub(crate) fn run(args: &args::Bench, started: Instant) -> Result<()> {
    let mut recipe = crate::recipe(&args.source)?;
    limit(&mut recipe, None, args.steps)?;
    let (run, error) = drive(recipe, Plan::to(args.steps), started)?;
    if let Some(error) = error {
        return Err(error.into());
    }
    if args.json {
        stdio::print(format_args!("{}\n", json(&run)))
    } else {
        let report = run.report().to_text();
        stdio::print(format_args!("{report}\n{}", stages(&run)))
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
